# Podman with --runtime /usr/local/bin/rt, for root and for an ordinary user, with both cgroup managers:
# variants root-systemd, root-cgroupfs, user-systemd, user-cgroupfs. A user's limits need systemd.

pod() { podman --runtime /usr/local/bin/rt --cgroup-manager "${variant#*-}" "$@"; }
pod_run() { pod run --rm --network none "$@"; }

setup() {
  [[ $variant == root-* ]] || systemctl --user is-active default.target > /dev/null || :
  pod image exists bb || tar -C $bb -c . | pod import - bb > /dev/null
}
cleanup() { pod pod rm -f -a -t 0 > /dev/null; pod rm -f -a -t 0 > /dev/null; }

# up NAME OPTION... -- CMD...
up() {
  local name=$1 options=(); shift
  while [[ $1 != -- ]]; do options+=("$1"); shift; done; shift
  pod run -d --name "$name" --network none "${options[@]}" bb "$@" > /dev/null
  pid=$(inspect "$name" State.Pid)
  cg=$(cgroup_of "$pid")
}
inspect() { pod inspect -f "{{.$2}}" "$1"; }
# limits WHAT...: can this variant set them?
with_limits() { [[ $variant != user-cgroupfs ]] || exit $NOT_HERE; }

test_run() {
  status 42 pod_run -i bb sh -c 'echo out; exit 42'
  eq "$out" out output
  status 127 pod_run bb /no/such/program
  status 126 pod_run bb /etc/passwd
  eq "$(pod info -f '{{.Host.OCIRuntime.Path}} {{.Host.CgroupManager}} {{.Host.CgroupsVersion}}')" "/usr/local/bin/rt ${variant#*-} v2" info
}

test_detached() {
  up det -- sh -c 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
  soon eval 'pod logs det | grep -q ready'
  status 9 pod exec -u 1000 -w /tmp -e A=b det sh -c '[ "$(id -u) $(pwd) $A" = "1000 /tmp b" ] && exit 9'
  pod stop det > /dev/null
  eq "$(inspect det State.ExitCode)" 5 "exit status"
  has "$(pod logs det)" bye logs
  pod rm det > /dev/null
  [[ ! -e $cg ]]
}

test_limits() {
  with_limits
  up lim --memory 64m --cpus 0.5 --pids-limit 50 -- sleep 1000
  limit "$cg" memory.max 67108864
  limit "$cg" cpu.max "50000 100000"
  limit "$cg" pids.max 50
  [[ $variant != *-systemd ]] || { property "$(unit_of $pid)" MemoryMax 67108864; property "$(unit_of $pid)" TasksMax 50; }
  pod update --memory 48m lim > /dev/null
  limit "$cg" memory.max 50331648
}

# A pod with a limit of its own, and a container in it.
test_pod() {
  with_limits
  pod pod create --name p --memory 96m --share ipc,uts --infra-name p-infra > /dev/null
  up inpod --pod p --memory 64m -- sleep 1000
  limit "$cg" memory.max 67108864
  # libpod_parent or the pod's slice, some directories up
  local dir=$cg; while [[ $dir != /sys/fs/cgroup && $(cat "$dir/memory.max" 2> /dev/null) != 100663296 ]]; do dir=${dir%/*}; done
  [[ $dir != /sys/fs/cgroup ]] || fail "no cgroup above $cg has the pod's limit"
  pod pod stop -t 0 p > /dev/null
  pod pod rm p > /dev/null
}

test_pause() {
  with_limits
  up ps -- sh -c 'while :; do sleep 0.1; done'
  pod pause ps > /dev/null
  limit "$cg" cgroup.freeze 1
  pod unpause ps > /dev/null
  eq "$(inspect ps State.Status)" running status
}

test_options() {
  only root-systemd user-systemd
  mkdir "$T/volume"; echo data > "$T/volume/file"; chmod 711 "$T"
  pod_run -v "$T/volume:/data:ro" --read-only --tmpfs /scratch --hostname box --cap-drop ALL --security-opt no-new-privileges bb sh -ec '
    grep -q data /data/file; ! touch /data/x; touch /scratch/x; ! touch /x; [ $(hostname) = box ]
    grep -qE "CapEff:.0+$" /proc/self/status; grep -qE "Seccomp:.2" /proc/self/status; grep -qE "NoNewPrivs:.1" /proc/self/status'
  eq "$(pod_run -t bb tty | tr -d '\r')" /dev/pts/0 terminal
  eq "$(pod_run --init --user 1000:1000 bb sh -c 'id -u; cat /proc/1/comm' | tr '\n' ' ')" "1000 podman-init " init
  eq "$(pod_run --log-driver none --ulimit nofile=77:88 bb sh -c 'ulimit -n; ulimit -Hn' | tr '\n' ' ')" "77 88 " limits
}

test_user_namespace() {
  only root-systemd user-systemd
  case $variant in
    root-*)
      eq "$(echo $(pod_run --uidmap 0:100000:5000 --gidmap 0:100000:5000 bb cat /proc/self/uid_map))" "0 100000 5000" uid_map
      # A volume whose files keep their owners: an id-mapped mount.
      mkdir "$T/idmap"; touch "$T/idmap/mine"; chown 7:8 "$T/idmap/mine"; chmod 711 "$T"
      eq "$(pod_run --uidmap 0:100000:5000 --gidmap 0:100000:5000 -v "$T/idmap:/v:idmap" bb sh -c 'touch /v/made; stat -c %u:%g /v/mine')" 7:8 "owner inside"
      eq "$(stat -c %u:%g "$T/idmap/made")" 0:0 "owner of what was made"
      ;;
    user-*)
      eq "$(echo $(pod_run bb cat /proc/self/uid_map))" "0 1000 1 1 100000 65536" uid_map
      eq "$(pod_run --userns keep-id bb id -u)" 1000 "keep-id"
      eq "$(pod_run --userns keep-id --group-add keep-groups -v "$T:/mine" bb sh -c 'touch /mine/made; id -u')" 1000 "keep-groups"
      eq "$(stat -c %u "$T/made")" $UID "the owner of what was made"
      ;;
  esac
}

# Podman lets the container say READY=1 to the manager that called Podman, which rt passes on and waits for.
test_notify() {
  only root-systemd user-systemd
  cat > "$T/manager.py" <<'EOF'
import os, socket, subprocess, sys
path = sys.argv[1] + "/manager"
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(path); os.chmod(path, 0o777); s.settimeout(60)
child = subprocess.Popen(sys.argv[2:], env=dict(os.environ, NOTIFY_SOCKET=path))
said = ""
def receive():
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    for fd in fds: os.close(fd)
    return data.decode() + "\n"
while "READY=1" not in said: said += receive()
s.settimeout(1)
try:
    while True: said += receive()
except TimeoutError: pass
print(said); sys.exit(child.wait())
EOF
  local program='import os, socket, time; time.sleep(1); socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"]); time.sleep(5)'
  python3 "$T/manager.py" "$T" podman --runtime /usr/local/bin/rt --cgroup-manager systemd run -d --name ntf --network none --sdnotify container \
    -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro bb /usr/bin/python3 -Sc "$program" > "$T/said"
  has "$(cat "$T/said")" "READY=1" "what the manager was told"
  has "$(cat "$T/said")" "MAINPID=[0-9]+" "what the manager was told"
}

# Containers of a pod share the namespaces that the pod says, and no others.
test_pod_namespaces() {
  only root-systemd user-systemd
  pod pod create --name q --share ipc,uts,net --network none --infra-name q-infra --hostname podname > /dev/null
  local seen
  seen=$(pod run --rm --pod q bb sh -c 'hostname; for n in ipc uts net pid; do readlink /proc/self/ns/$n; done' | tr '\n' ' ')
  local infra; infra=$(inspect q-infra State.Pid)
  eq "${seen% pid:*}" "podname $(for n in ipc uts net; do readlink /proc/$infra/ns/$n; done | tr '\n' ' ' | sed 's/ $//')" "namespaces of the pod"
  hasnt "$seen" "$(readlink /proc/$infra/ns/pid | tr -d '[]')" "the pod's processes"
  pod pod rm -f -t 0 q > /dev/null
}

test_network() {
  only user-systemd
  pod run --rm --network pasta bb ip addr > "$T/out"
  has "$(cat "$T/out")" 10.9.9.2 "the address pasta gives"
}
