# Podman with --runtime /usr/local/bin/rt, for root and for an ordinary user, with both cgroup managers:
# variants root-systemd, root-cgroupfs, user-systemd, user-cgroupfs. A user's limits need systemd.

pod() { podman --runtime /usr/local/bin/rt --cgroup-manager "${variant#*-}" "$@"; }
pod_run() { pod run --rm --network none "$@"; }
# The user's own manager, for the user.
manager() { systemctl $([[ $UID == 0 ]] || echo --user) "$@"; }

setup() {
  [[ $variant == root-* ]] || systemctl --user is-active default.target > /dev/null || :
  pod image exists bb || tar -C $bb -c . | pod import - bb > /dev/null
}
cleanup() {
  pod pod rm -f -a -t 0 > /dev/null; pod rm -f -a -t 0 > /dev/null
  pod volume rm -f -a > /dev/null; pod secret rm -a > /dev/null
  if [[ -e $T/quadlet ]]; then
    rm -f "$(cat "$T/quadlet")"
    [[ $UID != 0 ]] || rm /run/systemd/system-generators/podman-system-generator
    manager stop rt-quadlet.service 2> /dev/null || :
    manager daemon-reload
    manager reset-failed
  fi
}

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

# conmon ignores SIGPIPE: a program in the container must not (crun#2058).
test_signals() {
  local want=$'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000'
  eq "$(pod_run bb grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" run
  status 0 pod_run bb sh -c 'yes | head -1'
  eq "$out" y "a pipe that is closed ends its writer without a word"
  up signals -- sleep 1000
  eq "$(pod exec signals grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" exec
  eq "$(grep -E '^Sig(Blk|Ign)' /proc/$pid/status)" "$want" detached
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

# What a container that will not end by itself gets: TERM, and KILL when its time is up; a restart is a new process.
test_stop_and_kill() {
  only root-systemd user-systemd
  up stubborn -- sh -c 'trap "" TERM; trap "echo hup" HUP; while :; do sleep 0.1; done'
  pod kill -s HUP stubborn > /dev/null
  soon eval 'pod logs stubborn | grep -q hup'
  local before=$pid
  pod restart -t 0 stubborn > /dev/null
  pid=$(inspect stubborn State.Pid)
  [[ $pid != "$before" && ! -d /proc/$before ]] || fail "the process $before outlived a restart"
  pod stop -t 1 stubborn > /dev/null 2>&1
  eq "$(inspect stubborn State.Status) $(inspect stubborn State.ExitCode)" "exited 137" "after stop"
  pod start stubborn > /dev/null
  pid=$(inspect stubborn State.Pid)
  pod rm -f -t 0 stubborn > /dev/null
  soon test ! -d "/proc/$pid"
}

# What shows a running container from outside, and carries files in and out of it.
test_watch() {
  only root-systemd user-systemd
  up watched --memory 64m -i -- cat
  has "$(pod top watched pid args)" '^1 +cat' top
  has "$(pod stats --no-stream --format '{{.MemUsage}}, {{.PIDs}}' watched)" '/ 67.11MB, 1$' "limit and processes in stats"
  echo data > "$T/in"
  pod cp "$T/in" watched:/tmp/file
  eq "$(pod exec watched cat /tmp/file)" data "the file inside"
  pod cp watched:/tmp/file "$T/back"
  eq "$(cat "$T/back")" data "the file that came back"
  # Its standard input ends with the one of attach, and so does it.
  eq "$(echo hello | pod attach watched)" hello "what attach shows"
  eq "$(pod wait watched)" 0 "exit status"
  eq "$(pod logs watched)" hello logs
}

# Health checks are exec calls: by a timer of systemd's, and by hand.
test_healthcheck() {
  only root-systemd user-systemd
  # A check takes seconds here, and with a shorter interval systemd would begin the next one before the last has ended, for ever.
  up health --health-cmd 'test ! -e /tmp/bad' --health-interval 20s --health-retries 1 -- sleep 1000
  status 0 pod healthcheck run health
  eq "$(inspect health State.Health.Status)" healthy "status"
  pod exec health touch /tmp/bad
  # By the timer: nobody else asks.
  patiently eval '[[ $(inspect health State.Health.Status) == unhealthy ]]'
  status 1 pod healthcheck run health
}

# Two containers of a Kubernetes pod share a volume; one has a limit. Down takes all of it away.
test_play_kube() {
  only root-systemd user-systemd
  cat > "$T/pod.yaml" <<'EOF'
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {key: "from the map\n"}
---
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  containers:
  - name: one
    image: localhost/bb:latest
    command: [sh, -c, 'cp /settings/key /shared/new; mv /shared/new /shared/out; sleep 1000']
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: settings, mountPath: /settings}]
  - name: two
    image: localhost/bb:latest
    command: [sh, -c, 'until [ -e /shared/out ]; do sleep 0.1; done; cat /shared/out; sleep 1000']
    volumeMounts: [{name: shared, mountPath: /shared}]
EOF
  pod kube play --network none "$T/pod.yaml" > /dev/null
  pid=$(inspect kube-one State.Pid)
  limit "$(cgroup_of "$pid")" memory.max 67108864
  soon eval 'pod logs kube-two | grep -q "from the map"'
  pod kube down "$T/pod.yaml" > /dev/null 2>&1
  eq "$(pod ps -aq; pod pod ps -q)" "" "containers and pods left"
  [[ ! -d /proc/$pid ]] || fail "a process of the pod is left"
}

# A container whose init is systemd: it needs a cgroup of its own to write to, hands controllers down in it, and is stopped
# by SIGRTMIN+3. Where it has moved to is where exec has to go.
test_systemd() {
  only root-systemd user-systemd
  local image=$T/image
  mkdir -p "$image"/{usr,tmp,root,run,proc,sys,dev,var/log,etc/systemd/system}
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$image/"
  cp /etc/passwd /etc/group "$image/etc/"
  : > "$image/etc/machine-id"
  # What this machine masks, for the same reason, with a target of the test's own.
  find /etc/systemd/system -maxdepth 1 -lname /dev/null -exec cp -P -t "$image/etc/systemd/system" {} +
  cat > "$image/etc/systemd/system/default.target" <<'EOF'
[Unit]
Requires=basic.target limited.service
After=basic.target limited.service
EOF
  cat > "$image/etc/systemd/system/limited.service" <<'EOF'
[Service]
Type=notify
NotifyAccess=all
MemoryMax=20M
ExecStart=/bin/sh -c "systemd-notify --ready; exec sleep 1000"
EOF
  tar -C "$image" -c . | pod import - sd > /dev/null
  pod run -d --name sd --network none --memory 128m --systemd always -v /usr:/usr:ro sd /usr/lib/systemd/systemd > /dev/null
  eq "$(pod exec sd systemctl is-system-running --wait)" running "the system inside"
  eq "$(pod exec sd systemctl show -P ActiveState limited.service)" active "its service"
  eq "$(pod exec sd cat /sys/fs/cgroup/system.slice/limited.service/memory.max)" 20971520 "the service's limit"
  eq "$(pod exec sd sed -n s/^0:://p /proc/self/cgroup)" /init.scope "cgroup of what exec runs"
  cg=$(cgroup_of "$(inspect sd State.Pid)")
  eq "${cg##*/}" init.scope "init's cgroup"
  cg=${cg%/*}
  limit "$cg" memory.max 134217728
  eq "$(pod exec sd sh -c 'tr "\0" "\n" < /proc/1/environ | grep ^container=')" container=podman environment
  eq "$(pod exec sd stat -f -c %T /run /tmp | tr '\n' ' ')" "tmpfs tmpfs " "file systems"
  pod stop -t 60 sd > /dev/null
  eq "$(inspect sd State.ExitCode)" 0 "exit status of a clean shutdown"
  [[ ! -e $cg ]] || fail "$cg is left"
  pod rm sd > /dev/null
  pod rmi sd > /dev/null
}

# A .container file: systemd starts Podman, and takes the service for started when the container says READY=1.
test_quadlet() {
  only root-systemd user-systemd
  local units=/run/containers/systemd
  if [[ $UID == 0 ]]; then
    # The machine has no generators, for a faster boot.
    mkdir -p /run/systemd/system-generators
    ln -s /usr/libexec/podman/quadlet /run/systemd/system-generators/podman-system-generator
  else
    units=$XDG_RUNTIME_DIR/containers/systemd
  fi
  mkdir -p "$units"
  echo "$units/rt-quadlet.container" > "$T/quadlet"
  cat > "$units/rt-quadlet.container" <<'EOF'
[Container]
Image=localhost/bb:latest
ContainerName=quadlet
Network=none
Notify=true
GlobalArgs=--runtime /usr/local/bin/rt
PodmanArgs=--memory 64m --init
Volume=/usr:/usr:ro
Volume=/lib:/lib:ro
@LIB64@
Exec=sh -c 'sleep 1; touch /before; /usr/bin/systemd-notify --ready; exec sleep 1000'
EOF
  if [[ -e /lib64 ]]; then sed -i 's|^@LIB64@$|Volume=/lib64:/lib64:ro|' "$units/rt-quadlet.container"; else sed -i /^@LIB64@$/d "$units/rt-quadlet.container"; fi
  manager daemon-reload
  manager start rt-quadlet.service
  pod exec quadlet test -e /before
  eq "$(manager show -P Type rt-quadlet.service) $(manager show -P ActiveState rt-quadlet.service)" "notify active" "the service"
  pid=$(inspect quadlet State.Pid)
  cg=$(cgroup_of "$pid")
  has "$cg" "/rt-quadlet.service/libpod-payload-" "the container's cgroup"
  limit "$cg" memory.max 67108864
  manager stop rt-quadlet.service
  soon test ! -d "/proc/$pid"
  eq "$(pod ps -aq)" "" "containers left"
}

# A container that cannot start tells its user why, and with the exit status that it has with runc and crun.
test_errors() {
  only root-systemd user-systemd
  local exit options text
  touch "$T/file"
  while IFS='|' read -r exit options text; do
    # For an ordinary user a sample will do.
    [[ $variant == root-* || $options =~ nosuch|ulimit|:/etc|cpuset ]] || continue
    status "$exit" pod_run ${options//DIR/$T}
    has "$out" "$text" "the message of \"$options\""
  done <<'EOF'
127|bb /no/such/program|exec: "/no/such/program": stat /no/such/program: no such file or directory
127|bb nosuch|exec: "nosuch": executable file not found in \$PATH
126|bb /etc/passwd|exec: "/etc/passwd": permission denied
126|bb /etc|exec: "/etc": is a directory
125|-v /no/such/dir:/data bb true|/no/such/dir: no such file or directory
126|-v DIR/file:/etc bb true|/mounts/[0-9]+: bind mount of ".*/file" on "/etc": attach the mount: not a directory
126|--tmpfs /x:size=bogus bb true|/mounts/[0-9]+: mount of tmpfs "tmpfs" on "/x": mount option .tmpfs: Bad value for 'size'
126|-w /no/such bb true|"/no/such" does not exist
126|--ulimit nofile=99999999999:99999999999 bb true|/process/rlimits/[0-9]+: set RLIMIT_NOFILE to 99999999999: operation not permitted
126|--sysctl kernel.shmmax=x bb true|/linux/sysctl/kernel.shmmax: write "x" to /proc/sys/kernel/shmmax: write: invalid argument
126|--cpuset-cpus 77 bb true|/linux/resources/cpu/cpus: .*numerical result out of range
EOF
  up errors -- sleep 1000
  status 127 pod exec errors nosuch
  has "$out" 'exec: "nosuch": executable file not found in \$PATH' "exec of nothing"
  status 126 pod exec errors /etc/passwd
  status 127 pod exec -w /no/such errors true
  has "$out" 'chdir to "/no/such": no such file or directory' "exec in no directory"
}

# count NAME: how far the counter of a container is.
count() { pod exec "$1" cat /dev/shm/n; }
counter='i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.1; done'

test_checkpoint() {
  if [[ $variant == user-* ]]; then
    up chk -- sleep 1000
    status 125 pod container checkpoint chk
    eq "$out" "Error: checkpointing a container requires root" "of an ordinary user"
    return
  fi
  local before
  up chk --memory 64m -v "$T:/volume" --user 1000:1000 -- sh -c "$counter"
  soon eval '(($(count chk) > 5))'
  before=$(count chk)
  pod container checkpoint chk > /dev/null
  eq "$(inspect chk State.Status) $(inspect chk State.Checkpointed)" "exited true" "after the checkpoint"
  pod container restore chk > /dev/null
  (($(count chk) >= before)) || fail "it began anew"
  eq "$(pod exec chk id -u)" 1000 user
  pid=$(inspect chk State.Pid); cg=$(cgroup_of "$pid")
  limit "$cg" memory.max 67108864
  limit "$cg" cgroup.freeze 0
  before=$(count chk)
  soon eval '(($(count chk) > before + 3))'
  # It runs on.
  pod container checkpoint --leave-running chk > /dev/null
  before=$(count chk)
  soon eval '(($(count chk) > before + 3))'
}

# To a file and back under another name, several times, with the rootfs's changes.
test_checkpoint_export() {
  only root-systemd
  local before
  up exported -- sh -c "echo changed > /changed; $counter"
  soon eval '(($(count exported) > 5))'
  before=$(count exported)
  local with=() previous=()
  # The kernel tracks no changes of memory on arm64, which the error says.
  if [[ $(uname -m) == aarch64 ]]; then
    fails pod container checkpoint --pre-checkpoint --export "$T/pre.tar.gz" exported
    has "$out" "lacks memory tracking"
  else
    pod container checkpoint --pre-checkpoint --export "$T/pre.tar.gz" exported > /dev/null
    with=(--with-previous) previous=(--import-previous "$T/pre.tar.gz")
  fi
  pod container checkpoint "${with[@]}" --export "$T/image.tar.gz" exported > /dev/null
  pod rm -f exported > /dev/null
  pod container restore "${previous[@]}" --import "$T/image.tar.gz" --name first > /dev/null
  (($(count first) >= before)) || fail "it began anew"
  pod rm -f -t 0 first > /dev/null
  up again -- sh -c "echo changed > /changed; $counter"
  soon eval '(($(count again) > 5))'
  before=$(count again)
  pod container checkpoint --export "$T/again.tar.gz" again > /dev/null
  local name
  for name in one two; do
    pod container restore --import "$T/again.tar.gz" --name "$name" > /dev/null
    (($(count "$name") >= before)) || fail "$name began anew"
    eq "$(pod exec "$name" cat /changed)" changed "the rootfs of $name"
  done
}

# Out of one pod and into another, whose namespaces it joins.
test_checkpoint_pod() {
  only root-systemd
  local before name
  for name in from into; do pod pod create --name "$name" --network none > /dev/null; done
  pod run -d --pod from --name inside bb sh -c "$counter" > /dev/null
  soon eval '(($(count inside) > 5))'
  before=$(count inside)
  pod container checkpoint --export "$T/pod.tar.gz" inside > /dev/null
  pod container restore --import "$T/pod.tar.gz" --name moved --pod into > /dev/null
  (($(count moved) >= before)) || fail "it began anew"
  local infra; infra=$(pod inspect -f '{{.State.Pid}}' "$(pod pod inspect -f '{{.InfraContainerID}}' into)")
  eq "$(readlink "/proc/$(inspect moved State.Pid)/ns/net")" "$(readlink "/proc/$infra/ns/net")" "the network of the pod"
}

# A TCP connection of the container with itself goes on.
test_checkpoint_tcp() {
  only root-systemd root-cgroupfs
  up tcp -- sh -c 'nc -l -p 99 -e cat & sleep 0.5; (i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done) | nc 127.0.0.1 99 > /dev/shm/n'
  soon eval '(($(pod exec tcp tail -n 1 /dev/shm/n) > 3))'
  status 125 pod container checkpoint tcp
  has "$out" 'established TCP connections' "the reason"
  eq "$(inspect tcp State.Status)" running "status after that"
  pod container checkpoint --tcp-established tcp > /dev/null
  pod container restore --tcp-established tcp > /dev/null
  local before; before=$(pod exec tcp tail -n 1 /dev/shm/n)
  soon eval '(($(pod exec tcp tail -n 1 /dev/shm/n) > before + 3))'
}

# A terminal, which conmon holds.
test_checkpoint_terminal() {
  only root-systemd
  up tty -t -- sh -c "$counter"
  soon eval '(($(count tty) > 3))'
  local before; before=$(count tty)
  pod container checkpoint tty > /dev/null
  pod container restore tty > /dev/null
  (($(count tty) >= before)) || fail "it began anew"
  eq "$(pod exec tty readlink /proc/1/fd/0)" /dev/pts/0 "its terminal"
}

# A limit too small for anything still starts the container, and what it kills is told by the exit status.
test_small_limits() {
  only root-systemd user-systemd
  status 137 pod_run --memory 1m bb dd if=/dev/zero of=/dev/null bs=64M count=1
  status 0 pod_run --memory 256k bb true
  status 0 pod_run --pids-limit 1 bb true
}

test_options() {
  only root-systemd user-systemd
  mkdir "$T/volume"; echo data > "$T/volume/file"; chmod 711 "$T"
  pod_run -v "$T/volume:/data:ro" --read-only --tmpfs /scratch --hostname box --cap-drop ALL --security-opt no-new-privileges bb sh -ec '
    grep -q data /data/file; ! touch /data/x; touch /scratch/x; ! touch /x; [ $(hostname) = box ]
    grep -qE "CapEff:.0+$" /proc/self/status; grep -qE "Seccomp:.2" /proc/self/status; grep -qE "NoNewPrivs:.1" /proc/self/status'
  eq "$(pod_run -t bb tty | tr -d '\r')" /dev/pts/0 terminal
  eq "$(pod_run --init --user 1000:1000 bb sh -c 'id -u; cat /proc/1/comm' | tr '\n' ' ')" "1000 podman-init " init
  printf secret | pod secret create s - > /dev/null
  eq "$(pod_run --secret s --secret s,type=env,target=S bb sh -c 'cat /run/secrets/s; echo " $S"')" "secret secret" secrets
  # The mode of what is covered, unless it is given; as with runc and crun.
  eq "$(pod_run --tmpfs /root --tmpfs /run:mode=700 --tmpfs /new bb stat -c %a /root /run /new | tr '\n' ' ')" "755 700 1777 " "modes of tmpfs"
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
      # Ids that Podman chooses, and a volume that it gives to them.
      cp /etc/subuid /etc/subgid "$T/"
      echo containers:200000:65536 | tee -a /etc/subuid >> /etc/subgid
      mkdir "$T/owned"
      pod_run --userns auto -v "$T/owned:/v:U" bb sh -c 'touch /v/made; cat /proc/self/uid_map' > "$T/map"
      cp "$T/subuid" "$T/subgid" /etc/
      eq "$(echo $(cat "$T/map"))" "0 200000 1024" "uid_map of userns=auto"
      eq "$(stat -c %u:%g "$T/owned" "$T/owned/made" | tr '\n' ' ')" "200000:200000 200000:200000 " "owner of a volume with U"
      ;;
    user-*)
      eq "$(echo $(pod_run bb cat /proc/self/uid_map))" "0 1000 1 1 100000 65536" uid_map
      eq "$(pod_run --userns keep-id bb id -u)" 1000 "keep-id"
      eq "$(pod_run --userns keep-id --group-add keep-groups -v "$T:/mine" bb sh -c 'touch /mine/made; id -u')" 1000 "keep-groups"
      eq "$(stat -c %u "$T/made")" $UID "the owner of what was made"
      # A user below, to whom not even the caller is mapped.
      eq "$(echo $(pod_run --userns nomap bb cat /proc/self/uid_map))" "0 1 65536" "nomap"
      eq "$(echo $(pod_run --userns auto bb cat /proc/self/uid_map))" "0 1 1024" "auto"
      mkdir "$T/owned"
      pod_run --user 33:33 -v "$T/owned:/v:U" bb touch /v/made
      eq "$(stat -c %u:%g "$T/owned/made")" 100032:100032 "owner of a volume with U"
      podman unshare chown -R 0:0 "$T/owned"
      # The kernel lets an ordinary user map the ids of no file system of the host's.
      status 126 pod_run --userns keep-id -v "$T/owned:/v:idmap" bb true
      has "$out" 'bind mount of ".*/owned" on "/v": map ids: operation not permitted' "an id-mapped mount"
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
    -v /usr:/usr:ro -v /lib:/lib:ro $([[ ! -e /lib64 ]] || echo -v /lib64:/lib64:ro) bb /usr/bin/python3 -Sc "$program" > "$T/said"
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
