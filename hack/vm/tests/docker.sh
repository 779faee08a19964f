# Docker with rt as its default runtime, set up as the manual says: daemon.json and the units of the distribution.
# Variants: the cgroup driver. The whole list runs under systemd's, the part that meets cgroups under cgroupfs. The variant "shim" is
# rt's own shim with systemd's driver: the part that meets a shim.
# --network none spares the emulated processor a bridge and its firewall rules; one test has both.

runtime='"path": "/usr/local/bin/rt"' driver=$variant
if [[ $variant == shim ]]; then driver=systemd runtime='"runtimeType": "io.containerd.rt.v1"'; fi

setup() {
  start_docker <<EOF
{"runtimes": {"rt": {$runtime}}, "default-runtime": "rt", "experimental": true, "exec-opts": ["native.cgroupdriver=$driver"]}
EOF
}
teardown() { stop_docker; }
cleanup() {
  local all; all=$(docker ps -aq)
  [[ -z $all ]] || docker rm -f $all > /dev/null
  # Docker's own: dockerd unpacks a checkpoint there and forgets it.
  rm -rf /tmp/ctrd-checkpoint*
}

run() { docker run --rm --network none "$@"; }
# up NAME OPTION... -- CMD...: a running container; sets $pid and $cg.
up() {
  local name=$1 options=(); shift
  while [[ $1 != -- ]]; do options+=("$1"); shift; done; shift
  docker run -d --name "$name" --network none "${options[@]}" bb "$@" > /dev/null
  pid=$(docker inspect -f '{{.State.Pid}}' "$name")
  cg=$(cgroup_of "$pid")
}
inspect() { docker inspect -f "{{.$2}}" "$1"; }

test_info() {
  eq "$(docker info -f '{{.DefaultRuntime}} {{.CgroupDriver}} {{.CgroupVersion}}')" "rt $driver 2" info
  [[ $(docker info 2>&1) != *WARNING*runtime* ]]
}

# Output, input, exit status, and the two statuses that Docker makes of the runtime's error text.
test_run() {
  status 42 run -i bb sh -c 'echo out; exit 42'
  eq "$out" out output
  eq "$(echo hello | run -i bb cat)" hello "input"
}
# Docker's hook for the network does not keep a start from being independent of the host's mounts.
test_start_without_the_hosts_mounts() {
  only systemd
  docker run -d --name flat bb sleep 1000 > /dev/null
  local config; config=/run/containerd/io.containerd.runtime.v2.task/moby/$(docker inspect -f '{{.Id}}' flat)/config.json
  has "$(cat "$config")" libnetwork-setkey "docker's hook"
  has "$(rt plan -f "$config")" "make a mount namespace with nothing in it" "the plan"
  eq "$(stat -L -f -c %T /run/rt-mounts/base)" nsfs "the base"
}
# No signal is blocked or ignored, whatever the daemons above do.
test_signals() {
  only systemd
  local want=$'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000'
  eq "$(run bb grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" run
  up signals -- sleep 1000
  eq "$(docker exec signals grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" exec
}
# A directory of the host in the place of /proc would feign all that is in it.
test_proc_is_proc() {
  only systemd
  mkdir "$T/dir"
  status 125 run -v "$T/dir:/proc" bb true
  has "$out" 'cannot be mounted because it is not of type proc' "a directory on /proc"
}
test_run_errors() {
  only systemd shim
  status 127 run bb /no/such/program
  status 126 run bb /etc/passwd
  status 125 docker run --rm --runtime nobody bb true
}

# The error that reaches Docker's user names the cause, and the exit code is the one that it is with runc. Here is what needs this
# machine's cgroups and AppArmor; tests/host/tests/docker_errors.rs has the rest, beside runc.
test_broken_containers() {
  only systemd
  status 125 run --cpus 0.00001 bb true
  has "$out" 'rt create failed: /linux/resources/cpu/quota: write "1 100000" to [^ ]*/cpu.max: invalid argument' "a quota that is too small"
  # AppArmor's word comes when the program is about to be executed, so it is start that fails.
  status 127 run --security-opt apparmor=nosuch bb true
  has "$out" 'OCI runtime start failed: /process/apparmorProfile: write "exec nosuch" to .*: no such file or directory' "profile that is not loaded"
  up fine -- sleep 1000
  status 126 docker exec -w /nosuch fine true
  has "$out" 'OCI runtime exec failed: exec failed: /process/cwd: chdir to "/nosuch": no such file or directory' "working directory of exec"
}

# Saved, and started again from the checkpoint; the network is made anew by Docker's hook.
test_checkpoint() {
  docker run -d --name chk --memory 64m bb sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.1; done' > /dev/null
  soon eval '(($(docker exec chk cat /dev/shm/n) > 5))'
  local before address
  address=$(inspect chk NetworkSettings.IPAddress)
  docker checkpoint create --leave-running chk first > /dev/null
  before=$(docker exec chk cat /dev/shm/n)
  soon eval '(($(docker exec chk cat /dev/shm/n) > before + 3))'
  docker checkpoint create chk second > /dev/null
  eq "$(docker checkpoint ls chk | awk 'NR > 1 { print $1 }' | sort | tr '\n' ' ')" "first second " checkpoints
  # Docker tells only containerd's own shim to end the container.
  if [[ $variant == shim ]]; then docker kill chk > /dev/null; fi
  soon eval '[[ $(inspect chk State.Status) == exited ]]'
  # dockerd fails while containerd has not yet collected the content of "checkpoint create" as garbage
  # (moby issue 42900).
  local error end=$((SECONDS + 60))
  until error=$(docker start --checkpoint second chk 2>&1 > /dev/null); do
    if [[ $error != *'content sha256:'*': already exists'* ]] || ((SECONDS > end)); then fail "$error"; fi
    sleep 0.5
  done
  (($(docker exec chk cat /dev/shm/n) >= before)) || fail "it began anew"
  pid=$(inspect chk State.Pid)
  limit "$(cgroup_of "$pid")" memory.max 67108864
  has "$(docker exec chk ip -o addr)" "eth0 +inet ${address%.*}" "its network"
}

# attach, cp, stats, and restart.
test_attach_cp_stats_restart() {
  only systemd shim
  up many --memory 64m -- sh -c 'trap "echo bye; exit 4" TERM; echo start; while :; do echo tick; sleep 0.2; done'
  local status=0
  timeout 60 docker attach --no-stdin many > "$T/attached" & local attached=$!
  soon grep -q tick "$T/attached"
  echo outside > "$T/in"
  docker cp "$T/in" many:/tmp/in > /dev/null
  eq "$(docker exec many cat /tmp/in)" outside "a file copied in"
  docker cp many:/etc/hostname "$T/out" > /dev/null
  eq "$(cat "$T/out")" "$(docker exec many hostname)" "a file copied out"
  has "$(docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' many)" '(KiB|MiB) / 64MiB [1-9]' stats
  docker stop many > /dev/null
  wait $attached || status=$?
  eq $status 4 "status of attach"
  has "$(cat "$T/attached")" bye "what attach saw last"
  docker restart -t 0 many > /dev/null
  eq "$(inspect many State.Status) $(docker logs many | grep -c start)" "running 2" "after a restart"
}

# Restart policies, health checks, and a daemon that is restarted while containers run (live-restore).
test_policies_health_and_live_restore() {
  only systemd shim
  cp /etc/docker/daemon.json "$T/daemon.json"
  jq '. + {"live-restore": true}' "$T/daemon.json" > /etc/docker/daemon.json
  systemctl reload docker.service
  soon eval "[[ \$(docker info -f '{{.LiveRestoreEnabled}}') == true ]]"
  # A program that fails is started so many times again.
  docker run -d --name fails --network none --restart on-failure:2 bb sh -c 'echo run; exit 3' > /dev/null
  docker run -d --name lives --network none --restart always --health-cmd 'test ! -e /tmp/ill' --health-interval 1s --health-retries 1 --health-start-period 0s bb sleep 1000 > /dev/null
  soon eval '[[ $(inspect fails RestartCount) == 2 && $(inspect fails State.Status) == exited ]]'
  eq "$(inspect fails State.ExitCode) $(docker logs fails | wc -l)" "3 3" "a program that fails three times"
  soon eval '[[ $(inspect lives State.Health.Status) == healthy ]]'
  docker exec lives touch /tmp/ill
  soon eval '[[ $(inspect lives State.Health.Status) == unhealthy ]]'
  local pid; pid=$(inspect lives State.Pid)
  systemctl restart docker.service
  eq "$(inspect lives State.Pid) $(docker exec lives echo inside)" "$pid inside" "after a restart of dockerd"
  # A daemon without live-restore ends what it finds, and the policy starts it again.
  cp "$T/daemon.json" /etc/docker/daemon.json
  systemctl restart docker.service
  soon eval '[[ $(inspect lives State.Status) == running && $(inspect lives State.Pid) != $pid ]]'
  eq "$(docker exec lives echo inside)" inside "after the policy has started it again"
}

# Compose: two services, one after the other is healthy, on a network of their own.
test_compose() {
  only systemd
  cat > "$T/compose.yaml" <<'END'
name: pair
services:
  web:
    image: bb
    runtime: rt
    command: httpd -f -h /etc
    mem_limit: 32m
    healthcheck: {test: [CMD, wget, -qO, /dev/null, "http://localhost/passwd"], interval: 1s, retries: 20}
    stop_grace_period: 1s
  client:
    image: bb
    runtime: rt
    command: wget -qO - http://web/hostname
    depends_on: {web: {condition: service_healthy}}
END
  compose() { docker compose -f "$T/compose.yaml" "$@"; }
  compose up --quiet-pull --exit-code-from client > "$T/log" 2>&1 || fail "$(cat "$T/log")"
  compose start web > /dev/null 2>&1
  eq "$(compose exec -T web cat /sys/fs/cgroup/memory.max)" 33554432 "a service's limit"
  compose down -t 0 > /dev/null 2>&1
  eq "$(docker ps -aq)" "" "containers left"
}

test_detached() {
  up det -- sh -c 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
  soon eval 'docker logs det | grep -q ready'
  eq "$(docker exec det sh -c 'echo inside; cat /proc/1/comm' | tr '\n' ' ')" "inside sh " exec
  status 9 docker exec -u 1000 -w /tmp -e A=b det sh -c '[ "$(id -u) $(pwd) $A" = "1000 /tmp b" ] && exit 9'
  status '126|127' docker exec det /no/such/program
  docker stop det > /dev/null
  eq "$(inspect det State.ExitCode)" 5 "exit status"
  has "$(docker logs det)" bye logs
  docker start det > /dev/null
  eq "$(inspect det State.Status)" running "after a second start"
  docker rm -f det > /dev/null
  [[ ! -e $cg ]]
}

# --memory, --cpus, --pids-limit: in the cgroup, and in systemd's unit.
test_limits() {
  up lim --memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 1024 --pids-limit 50 --cpuset-cpus 0 -- sleep 1000
  limit "$cg" memory.max 67108864
  limit "$cg" memory.low 33554432
  limit "$cg" cpu.max "50000 100000"
  limit "$cg" cpu.weight "39|100"
  limit "$cg" pids.max 50
  limit "$cg" cpuset.cpus 0
  case $driver in
    systemd)
      eq "$(unit_of $pid)" "docker-$(inspect lim Id).scope" unit
      property "$(unit_of $pid)" MemoryMax 67108864
      property "$(unit_of $pid)" CPUQuotaPerSecUSec 500ms
      property "$(unit_of $pid)" TasksMax 50
      ;;
    cgroupfs) eq "$cg" "/sys/fs/cgroup/docker/$(inspect lim Id)" cgroup ;;
  esac
}

test_update() {
  up upd --memory 64m -- sleep 1000
  docker update --memory 48m --memory-swap 48m --cpus 0.25 --pids-limit 40 upd > /dev/null
  limit "$cg" memory.max 50331648
  limit "$cg" cpu.max "25000 100000"
  limit "$cg" pids.max 40
  [[ $driver != systemd ]] || property "$(unit_of $pid)" MemoryMax 50331648
}

test_oom() {
  status 137 docker run --name oom --network none --memory 32m --memory-swap 32m bb dd if=/dev/zero of=/dev/null bs=100M count=1
  eq "$(inspect oom State.OOMKilled)" true OOMKilled
}

test_pause_kill_top() {
  up pk -- sh -c 'trap "exit 6" USR1; while :; do sleep 0.1; done'
  has "$(docker top pk)" "trap" top
  docker pause pk > /dev/null
  limit "$cg" cgroup.freeze 1
  eq "$(inspect pk State.Status)" paused status
  docker unpause pk > /dev/null
  docker kill -s USR1 pk > /dev/null
  eq "$(docker wait pk)" 6 "exit status"
}

test_mounts() {
  only systemd
  mkdir "$T/volume"; echo data > "$T/volume/file"
  run -v "$T/volume:/data" bb sh -c 'grep -q data /data/file && echo new > /data/new'
  eq "$(cat "$T/volume/new")" new "file made inside"
  fails run -v "$T/volume:/data:ro" bb touch /data/x
  has "$out" "Read-only file system" "writing to a read-only volume"
  run --read-only --tmpfs /tmp:size=1m -v named:/vol bb sh -c 'touch /tmp/x /vol/x && ! touch /x'
  docker volume rm named > /dev/null
}

# Read-only with all below: Docker asks the runtime's features whether it can, and refuses to start the container if not.
test_recursive_read_only() {
  only systemd
  mkdir -p "$T/volume/below"
  mount -t tmpfs below "$T/volume/below"
  local mount="type=bind,src=$T/volume,dst=/m,readonly,bind-propagation=rprivate"
  fails run --mount "$mount,bind-recursive=readonly" bb touch /m/below/x
  has "$out" "Read-only file system" "writing below a recursively read-only mount"
  run --mount "$mount,bind-recursive=writable" bb touch /m/below/x
  umount "$T/volume/below"
}

# A daemon whose containers' root is an ordinary user of the host.
test_userns_remap() {
  only systemd
  cp /etc/docker/daemon.json "$T/daemon.json"
  useradd --system --no-create-home rtremap
  echo rtremap:300000:65536 | tee -a /etc/subuid >> /etc/subgid
  jq '. + {"userns-remap": "rtremap"}' "$T/daemon.json" > /etc/docker/daemon.json
  systemctl restart docker.service
  tar -C $bb -c . | docker import - bb > /dev/null
  eq "$(echo $(run --memory 64m bb sh -c 'cat /proc/self/uid_map; id -u; echo x > /dev/null && echo wrote'))" "0 300000 65536 0 wrote" "inside"
  up remap -- sleep 1000
  eq "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" 300000 "uid on the host"
  eq "$(docker exec -u 1000 remap id -u)" 1000 "uid of exec"
  docker rm -f remap > /dev/null
  eq "$(echo $(run --userns host bb cat /proc/self/uid_map))" "0 0 4294967295" "--userns host"
  cp "$T/daemon.json" /etc/docker/daemon.json
  sed -i '/^rtremap:/d' /etc/subuid /etc/subgid
  userdel rtremap
  systemctl restart docker.service
}

test_capabilities() {
  only systemd
  eq "$(run --cap-drop ALL bb grep CapEff /proc/self/status | cut -f2)" 0000000000000000 "no capabilities"
  eq "$(run --cap-drop ALL --cap-add NET_ADMIN bb grep CapEff /proc/self/status | cut -f2)" 0000000000001000 "one capability"
  eq "$(run bb grep -E 'CapEff|CapInh' /proc/self/status | cut -f2 | tr '\n' ' ')" "0000000000000000 00000000a80425fb " "the usual ones"
  eq "$(run -u 1000 bb grep CapEff /proc/self/status | cut -f2)" 0000000000000000 "an ordinary user's"
}

# The default profile is in force, and can be left out.
test_seccomp() {
  only systemd
  eq "$(run bb grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | cut -f2 | tr '\n' ' ')" "0 2 " "Seccomp"
  fails run bb unshare -U true
  has "$out" "Operation not permitted" "unshare"
  eq "$(run --security-opt seccomp=unconfined --security-opt no-new-privileges bb grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | cut -f2 | tr '\n' ' ')" "1 0 " "unconfined"
}

# A profile's listenerPath reaches rt, and the agent behind it answers for the container's program and for docker exec.
test_seccomp_agent() {
  only systemd
  python3 "$host/tests/agent.py" "$T/agent" "$T/messages" &
  soon test -S "$T/agent"
  cat > "$T/profile.json" <<EOF
{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "$T/agent",
 "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}
EOF
  up asks --security-opt "seccomp=$T/profile.json" -- sh -c 'mkdir /tmp/x; echo $?; exec sleep 1000'
  soon eval '[[ $(docker logs asks 2> /dev/null) == 1 ]]'
  has "$(docker logs asks 2>&1)" "No medium found" "the agent's answer"
  fails docker exec asks mkdir /tmp/y
  has "$out" "No medium found" "the agent's answer to exec"
  eq "$(jq -r .state.id "$T/messages" | uniq)" "$(inspect asks Id)" "whom the agent was told of"
  eq "$(head -1 "$T/messages" | jq .pid)" "$pid" "the pid it was told"
}

# Docker loads its own AppArmor profile, and asks for it by name.
test_apparmor() {
  only systemd
  eq "$(run bb cat /proc/self/attr/current)" "docker-default (enforce)" "profile"
  eq "$(run --security-opt apparmor=unconfined bb cat /proc/self/attr/current)" unconfined "profile"
}

test_user_and_names() {
  only systemd
  eq "$(run -u 1000:1000 --group-add 7 --hostname box -e A=b --init --shm-size 3m --ulimit nofile=77:88 --sysctl net.ipv4.ip_forward=1 bb \
    sh -c 'echo "$(id -u):$(id -g):$(id -G) $(hostname) $A $(cat /proc/1/comm) $(ulimit -n) $(ulimit -Hn) $(cat /proc/sys/net/ipv4/ip_forward)"; df -m /dev/shm | tail -1 | tr -s " " | cut -d" " -f2' | tr '\n' ' ')" \
    "1000:1000:1000 7 box b docker-init 77 88 1 3 " "what the program sees"
}

test_terminal() {
  only systemd shim
  eq "$(docker run --rm -t --network none bb tty | tr -d '\r')" /dev/pts/0 terminal
  up term -- sleep 1000
  eq "$(python3 -c 'import pty, sys; pty.spawn(["docker", "exec", "-t", "term", "tty"])' | tr -d '\r')" /dev/pts/0 "terminal of exec"
}

# With the right to everything: what needs CAP_SYS_RESOURCE and friends.
test_privileged() {
  only systemd
  run --privileged bb sh -c 'mkdir /m && mount -t tmpfs x /m && [ -e /dev/loop-control ]'
  up pv -- sleep 1000
  eq "$(docker exec --privileged pv grep CapEff /proc/self/status | cut -f2)" "$(grep CapEff /proc/self/status | cut -f2)" "capabilities of a privileged exec"
}

test_device_and_namespaces() {
  only systemd
  run --device /dev/fuse bb sh -c 'test -c /dev/fuse && : < /dev/fuse'
  up shared --ipc shareable -- sh -c 'echo a > /dev/shm/f; while :; do sleep 0.5; done'
  soon docker exec shared test -s /dev/shm/f
  eq "$(run --pid container:shared --ipc container:shared bb sh -c 'cat /proc/1/comm /dev/shm/f' | tr '\n' ' ')" "sh a " "shared namespaces"
  eq "$(run --pid host --cgroupns host bb cat /proc/1/comm)" systemd "the host's processes"
  run --cgroupns private bb grep -qx 0::/ /proc/self/cgroup
  eq "$(run --uts host bb hostname)" "$(hostname)" "the host's name"
  eq "$(run --ipc host bb readlink /proc/self/ns/ipc)" "$(readlink /proc/self/ns/ipc)" "the host's IPC"
  fails run --device /dev/fuse:/dev/fuse:r bb sh -c ': > /dev/fuse'
  has "$out" "Operation not permitted" "writing to a device given to be read"
}

# Propagation of volumes: what the host mounts later reaches a slave, and no private one.
test_propagation() {
  only systemd
  mkdir -p "$T/shared/late"; mount --bind "$T/shared" "$T/shared"; mount --make-shared "$T/shared"
  up prop --mount "type=bind,src=$T/shared,dst=/s,bind-propagation=rslave" --mount "type=bind,src=$T/shared,dst=/p" -- sleep 1000
  mount -t tmpfs late "$T/shared/late"
  docker exec prop grep -q ' /s/late ' /proc/mounts
  fails docker exec prop grep -q ' /p/late ' /proc/mounts
  docker rm -f prop > /dev/null
  umount "$T/shared/late" "$T/shared"
}

# A bridge, an address, a name; the runtime's hook (libnetwork) has made them.
test_network() {
  only systemd shim
  docker network create net > /dev/null
  docker run -d --name web --network net bb httpd -f -h /etc > /dev/null
  soon docker run --rm --network net bb wget -qO /dev/null "http://web/passwd"
  docker rm -f web > /dev/null
  docker network rm net > /dev/null
}
