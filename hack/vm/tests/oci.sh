# rt called by hand, as root, under both cgroup drivers (variants cgroupfs and systemd).
. "$here/oci-lib.sh"

# The smallest promise: output, standard input and exit status of the program come through.
test_run() {
  bundle run . sh -c 'read line; echo "got $line"; echo err >&2; exit 42'
  local got=0
  echo hello | rt run --bundle "$T/run" run > "$T/stdout" 2> "$T/stderr" || got=$?
  eq $got 42 "exit status"
  eq "$(cat "$T/stdout")" "got hello" stdout
  eq "$(cat "$T/stderr")" err stderr
  fails rt state run
}

# create, start, kill, delete, each seen in `state`, in the way in which engines call them.
test_lifecycle() {
  bundle life . sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  create life
  state_is life created
  eq "$(rt state life | jq -r .pid)" "$pid" pid
  rt start life
  state_is life running
  fails rt start life
  fails rt delete life
  rt kill life TERM
  soon stopped life
  rt delete life
  fails rt state life
  [[ ! -e $cg ]] || fail "$cg is still there"
}

# A created container that nobody starts goes without force.
test_delete_created() {
  bundle never . true
  create never
  rt delete never
  fails rt state never
  soon test ! -d "/proc/$pid"
}

# Deleting a running container by force takes every process of it along.
test_delete_force() {
  up forced '.linux.namespaces |= map(select(.type != "pid"))' sh -c 'sleep 1000 & sleep 1001 & wait'
  soon test "$(wc -l < "$cg/cgroup.procs")" -ge 1
  rt delete --force forced
  [[ ! -e $cg ]] || fail "$cg is still there"
  fails pgrep -f 'sleep 100[01]'
  rt delete --force forced
}

# exec: its status, user, environment and directory; in the container's cgroup.
test_exec() {
  up ex . sleep 1000
  status 7 rt exec ex sh -c 'exit 7'
  eq "$(rt exec --user 1000:1000 --env A=b --cwd /tmp ex sh -c 'echo "$(id -u):$(id -g) $A $(pwd)"')" "1000:1000 b /tmp" exec
  status 255 rt exec ex /no/such/program
  has "$out" "no such file or directory" "message"
  rt exec --detach --pid-file "$T/exec.pid" ex sleep 1001
  grep -qx "$(cat "$T/exec.pid")" "$cg/cgroup.procs" || fail "the exec'd process is not in $cg but in $(cgroup_of "$(cat "$T/exec.pid")")"
  fails rt exec nobody true
}

# An init that hands controllers down has to leave its cgroup, which then takes no process: exec goes to where init is.
test_exec_beside_init() {
  up below '.linux.resources.memory = {limit: 67108864} | .linux.namespaces += [{type: "cgroup"}] | .linux.namespaces |= unique
    | .mounts |= map(select(.type != "cgroup")) + [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"]}]' \
    sh -c 'cd /sys/fs/cgroup && mkdir own && echo 0 > own/cgroup.procs && echo +pids > cgroup.subtree_control && exec sleep 1000'
  soon grep -q pids "$cg/cgroup.subtree_control"
  eq "$(rt exec below cat /proc/self/cgroup)" 0::/own "cgroup of what exec runs"
  limit "$cg" memory.max 67108864
}

# exec with a file and a pid-file: what shims and conmon do.
test_exec_process_file() {
  up exf . sleep 1000
  jq '.process | .args = ["sh", "-c", "echo $X; exit 9"] | .env += ["X=from the file"]' "$T/exf/config.json" > "$T/process.json"
  status 9 rt exec --process "$T/process.json" --pid-file "$T/exec.pid" exf
  eq "$out" "from the file" output
}

# Each memory limit, as the kernel has it and as systemd believes it to be.
test_memory() {
  up mem '.linux.resources.memory = {limit: 67108864, swap: 134217728, reservation: 33554432}' sleep 1000
  limit "$cg" memory.max 67108864
  limit "$cg" memory.low 33554432
  [[ ! -e $cg/memory.swap.max ]] || limit "$cg" memory.swap.max 67108864
  [[ $variant != systemd ]] || { property "$(unit_of $pid)" MemoryMax 67108864; property "$(unit_of $pid)" MemoryLow 33554432; }
}

# Quota and shares; two formulas for shares are in use, the old and the one that keeps 1024 at 100.
test_cpu() {
  up cpu '.linux.resources.cpu = {shares: 1024, quota: 50000, period: 100000}' sleep 1000
  limit "$cg" cpu.max "50000 100000"
  limit "$cg" cpu.weight "39|100"
  [[ $variant != systemd ]] || { property "$(unit_of $pid)" CPUQuotaPerSecUSec 500ms; property "$(unit_of $pid)" CPUWeight "39|100"; }
}

test_cpuset() {
  up set '.linux.resources.cpu = {cpus: "0", mems: "0"}' sleep 1000
  limit "$cg" cpuset.cpus 0
  limit "$cg" cpuset.mems 0
  [[ $variant != systemd ]] || property "$(unit_of $pid)" AllowedCPUs 0
}

test_pids() {
  up pids '.linux.resources.pids = {limit: 20}' sleep 1000
  limit "$cg" pids.max 20
  [[ $variant != systemd ]] || property "$(unit_of $pid)" TasksMax 20
}

# linux.resources.unified: files of cgroup v2 by their names.
test_unified() {
  up uni '.linux.resources.unified = {"memory.high": "50331648", "memory.max": "67108864", "pids.max": "33"}' sleep 1000
  limit "$cg" memory.high 50331648
  limit "$cg" memory.max 67108864
  limit "$cg" pids.max 33
}

# The limit holds before the program's first instruction, not a moment later.
test_limits_at_first_instruction() {
  bundle first '.linux.resources.memory = {limit: 67108864} | .linux.resources.pids = {limit: 21}
    | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"]}]' \
    sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /proc/self/cgroup'
  status 0 rt run --bundle "$T/first" first
  eq "$(echo $out)" "67108864 21 0::/" "limits as the program sees them"
}

# A program that wants more than its memory limit dies; its container, and the machine, do not.
test_oom_kill() {
  up oom '.linux.resources.memory = {limit: 33554432, swap: 33554432}' sleep 1000
  status 137 rt exec oom dd if=/dev/zero of=/dev/null bs=100M count=1
  has "$(cat "$cg/memory.events")" '^oom_kill [1-9]' memory.events
  sleep 1
  state_is oom running
}

# An init killed for want of memory ends the container with 137.
test_oom_kill_init() {
  bundle oominit '.linux.resources.memory = {limit: 33554432, swap: 33554432}' dd if=/dev/zero of=/dev/null bs=100M count=1
  status 137 rt run --bundle "$T/oominit" oominit
}

# A fork bomb meets the limit, and can be removed.
test_fork_bomb() {
  up bomb '.linux.resources.pids = {limit: 20}' sh -c 'b() { b | b & }; b; sleep 1000'
  soon grep -q '^max [1-9]' "$cg/pids.events"
  (($(cat "$cg/pids.peak" 2> /dev/null || cat "$cg/pids.current") <= 20)) || fail "more than 20 processes"
  rt delete --force bomb
  [[ ! -e $cg ]] || fail "$cg is still there"
}

# update by flags: the kernel's files and systemd's properties both change.
test_update() {
  up upd '.linux.resources.memory = {limit: 67108864} | .linux.resources.pids = {limit: 20}' sleep 1000
  rt update --memory 50331648 --memory-swap 50331648 --pids-limit 30 --cpu-quota 25000 --cpu-period 50000 upd
  limit "$cg" memory.max 50331648
  limit "$cg" pids.max 30
  limit "$cg" cpu.max "25000 50000"
  if [[ $variant == systemd ]]; then
    property "$(unit_of $pid)" MemoryMax 50331648
    property "$(unit_of $pid)" TasksMax 30
    property "$(unit_of $pid)" CPUQuotaPerSecUSec 500ms
  fi
}

# update as containerd and Podman do it, from JSON; what is not named stays as it was.
test_update_json() {
  up updj '.linux.resources.memory = {limit: 67108864} | .linux.resources.pids = {limit: 20}' sleep 1000
  echo '{"memory": {"limit": 41943040}}' | rt update --resources - updj
  limit "$cg" memory.max 41943040
  limit "$cg" pids.max 20
  echo '{"cpu": {"shares": 2, "quota": 30000, "period": 100000}}' > "$T/resources.json"
  rt update --resources "$T/resources.json" updj
  limit "$cg" cpu.max "30000 100000"
  limit "$cg" cpu.weight 1
  limit "$cg" memory.max 41943040
}

# A paused container does nothing at all, and goes on after that.
test_pause() {
  up pause . sh -c 'while :; do echo x; sleep 0.1; done'
  soon test -s "$T/pause.log"
  rt pause pause
  state_is pause paused
  limit "$cg" cgroup.freeze 1
  fails rt exec pause true
  local before after
  before=$(stat -c %s "$T/pause.log"); sleep 1; after=$(stat -c %s "$T/pause.log")
  eq "$after" "$before" "bytes written while paused"
  rt resume pause
  state_is pause running
  soon test "$(stat -c %s "$T/pause.log")" -gt 0
}

# A container can be killed and removed while it is paused.
test_delete_paused() {
  up pd . sleep 1000
  rt pause pd
  rt delete --force pd
  [[ ! -e $cg ]] || fail "$cg is still there"
}

# Opens the device loop-control, which no container has by itself, without any capability of its own being in the way.
try_loop='mknod /mnt/d c 10 237; (: < /mnt/d) 2>&1 && echo opened; head -c1 /dev/zero | wc -c'
own_dev='.process.capabilities[] += ["CAP_MKNOD"] | .mounts += [{destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["dev"]}]'

# Without a rule a device cannot be opened, with one it can; the ones every container has always can.
test_devices() {
  bundle dev "$own_dev"' | .linux.resources.devices = [{allow: false, access: "rwm"}]' sh -c "$try_loop"
  rt run --bundle "$T/dev" dev > "$T/out" 2>&1
  eq "$(grep -c "Operation not permitted" "$T/out") $(tail -1 "$T/out")" "1 1" "without a rule: refused, and bytes of /dev/zero"
  bundle dev "$own_dev"' | .linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 10, minor: 237, access: "rwm"}]' sh -c "$try_loop"
  rt run --bundle "$T/dev" dev > "$T/out" 2>&1
  eq "$(echo $(cat "$T/out"))" "opened 1" "with a rule: opened, and bytes of /dev/zero"
}

# systemd re-applies what it knows when it reloads; it must know everything. (Lost device filters were a CVE elsewhere.)
test_daemon_reload() {
  only systemd
  up reload "$own_dev"' | .linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}, cpu: {quota: 50000, period: 100000}, devices: [{allow: false, access: "rwm"}]}' sleep 1000
  systemctl daemon-reload
  limit "$cg" memory.max 67108864
  limit "$cg" pids.max 20
  limit "$cg" cpu.max "50000 100000"
  eq "$(rt exec reload sh -c "$try_loop" | grep -c "Operation not permitted")" 1 "device refused after a reload"
}

# The cgroup is where the config wants it, and systemd knows it as a scope that is delegated to us.
test_placement() {
  up place . sleep 1000
  case $variant in
    cgroupfs) eq "$cg" /sys/fs/cgroup/rt-test/place "cgroup" ;;
    systemd)
      eq "$cg" /sys/fs/cgroup/system.slice/rt-test-place.scope cgroup
      property rt-test-place.scope ActiveState active
      property rt-test-place.scope Slice system.slice
      property rt-test-place.scope Delegate yes
      ;;
  esac
}

# slice:prefix:name with a slice inside another one, as kubelet names them.
test_nested_slice() {
  only systemd
  bundle nest '.linux.cgroupsPath = "rttest-pod.slice:cri:nest" | .linux.resources.memory = {limit: 67108864}' sleep 1000
  create nest
  eq "$cg" /sys/fs/cgroup/rttest.slice/rttest-pod.slice/cri-nest.scope cgroup
  limit "$cg" memory.max 67108864
  rt delete --force nest
  systemctl stop rttest-pod.slice rttest.slice
}

# Properties of the unit by annotation, as the engines' users set them.
test_systemd_property() {
  only systemd
  up prop '.annotations = {"org.systemd.property.TimeoutStopUSec": "uint64 123456789", "org.systemd.property.CollectMode": "'"'inactive-or-failed'"'"}' sleep 1000
  property rt-test-prop.scope CollectMode inactive-or-failed
  property rt-test-prop.scope TimeoutStopUSec "2min 3.456789s"
}

# A unit whose cgroup is not where cgroupsPath says: by annotation, which is refused, and by a slice that is not in the slice that is
# named (create hung for as long as systemd waits for a SIGTERM to be heeded). No unit stays.
test_unit_in_another_place() {
  only systemd
  bundle other '.annotations = {"org.systemd.property.Slice": "'"'user.slice'"'"}' sleep 1000
  status 1 rt create --bundle "$T/other" other
  has "$out" "/annotations/org.systemd.property.Slice: .*the slice is the first part of /linux/cgroupsPath" error
  bundle slice '.linux.cgroupsPath = "system.slice:rt:rttest-astray.slice"' sleep 1000
  local start=$SECONDS
  status 1 rt create --bundle "$T/slice" slice
  has "$out" "/sys/fs/cgroup/system.slice/rttest-astray.slice: no such file or directory" error
  ((SECONDS - start < 30)) || fail "it took $((SECONDS - start)) s"
  status 3 systemctl is-active rttest-astray.slice
  systemctl stop rttest.slice
}

# systemd ends the scope, say at shutdown: the container is stopped, and can be deleted.
test_stopped_by_systemd() {
  only systemd
  up sd . sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
  systemctl stop rt-test-sd.scope
  soon stopped sd
  rt delete sd
}

# The unit's name is free again at once: no failed unit of an earlier container is in the way.
test_same_name_again() {
  local i
  for i in 1 2 3; do
    bundle again . false
    status 1 rt run --bundle "$T/again" again
  done
}

# No cgroupsPath: rt chooses, and never takes the caller's own cgroup.
test_no_path() {
  bundle nopath 'del(.linux.cgroupsPath) | .linux.resources.memory = {limit: 67108864}' sleep 1000
  create nopath
  limit "$cg" memory.max 67108864
  [[ $cg != "$(cgroup_of $$)" ]] || fail "it is the caller's: $cg"
}

# A cgroup with processes in it belongs to somebody.
test_refuses_a_used_cgroup() {
  only cgroupfs
  mkdir -p /sys/fs/cgroup/rt-test/used
  sleep 1000 & local sleeper=$!
  echo $sleeper > /sys/fs/cgroup/rt-test/used/cgroup.procs
  bundle used . true
  status 1 rt create --bundle "$T/used" used # (runc before 1.2 only warns)
  has "$out" "not empty" message
}

# kill with a signal by name and by number; kill of all without a PID namespace.
test_kill() {
  up k . sh -c 'trap "echo usr1" USR1; trap "echo hup" 1; while :; do sleep 0.1; done'
  sleep 0.5
  rt kill k SIGUSR1
  soon grep -q usr1 "$T/k.log"
  rt kill k 1
  soon grep -q hup "$T/k.log"
  rt kill k KILL
  soon stopped k
  fails rt kill k TERM
}

test_ps_list_stats() {
  up see '.linux.resources.memory = {limit: 67108864}' sh -c 'sleep 1000 & sleep 1001'
  eq "$(rt list --quiet)" see list
  eq "$(rt list --format json | jq -r '.[0].id + " " + .[0].status')" "see running" "list --format json"
  has "$(rt ps --format json see)" "$pid" "ps --format json"
  has "$(rt ps see)" "sleep 1001" ps
  eq "$(rt events --stats see | jq '.data.memory.usage.limit')" 67108864 "memory limit in events --stats"
  (($(rt events --stats see | jq '.data.cpu.usage.total') > 0)) || fail "no processor time in events --stats"
}

# What the development host may not do: raise hard limits, and lower oom_score_adj.
test_privileged_process() {
  bundle priv '.process.rlimits = [{type: "RLIMIT_NOFILE", hard: 2000000, soft: 1500000}] | .process.oomScoreAdj = -500' \
    sh -c 'ulimit -Hn; ulimit -Sn; cat /proc/self/oom_score_adj'
  echo 2000000 > /proc/sys/fs/nr_open
  status 0 rt run --bundle "$T/priv" priv
  eq "$(echo $out)" "2000000 1500000 -500" "limits"
}

# The base of new mount namespaces is made once, on a host whose mounts are shared, too, and by a service that has its own.
test_base_mounts() {
  rt gc --all > /dev/null
  bundle base . true
  status 0 rt run --bundle "$T/base" base-1
  local made; made=$(stat -L -f -c %T /run/rt-mounts/base)-$(stat -L -c %i /run/rt-mounts/base)
  has "$made" nsfs- "the base's file"
  status 0 rt run --bundle "$T/base" base-2
  eq "$(stat -L -f -c %T /run/rt-mounts/base)-$(stat -L -c %i /run/rt-mounts/base)" "$made" "the base of a second start"
  for property in PrivateMounts=yes ProtectSystem=strict; do
    systemd-run --quiet --wait --pipe -p "$property" -p ReadWritePaths="$T" "$(command -v rt)" --root "$T/service" run --bundle "$T/base" base-3 ||
      { echo "a service with $property runs no container"; return 1; }
  done
  eq "$(stat -L -f -c %T /run/rt-mounts/base)-$(stat -L -c %i /run/rt-mounts/base)" "$made" "the base after a service's start"
  eq "$(grep -c ' /run/rt-mounts' /proc/self/mountinfo)" 2 "mounts of the base"
}

# On a host whose mounts are shared (systemd makes them so), nothing mounted inside gets out, and with rslave what is mounted outside gets in.
test_mount_propagation() {
  local before; before=$(grep -vc ' /run/rt-mounts' /proc/self/mountinfo)
  mkdir -p /run/vm-tests/prop
  trap 'umount -q /run/vm-tests/prop/in; rm -r /run/vm-tests/prop' EXIT
  up mounts '.linux.rootfsPropagation = "rslave" | .mounts += [{destination: "/mnt", type: "none", source: "/run/vm-tests/prop", options: ["rbind", "rslave"]}]' sleep 1000
  eq "$(grep -vc ' /run/rt-mounts' /proc/self/mountinfo)" "$before" "mounts of the host"
  mkdir -p /run/vm-tests/prop/in
  mount -t tmpfs late /run/vm-tests/prop/in
  has "$(rt exec mounts cat /proc/self/mountinfo)" " /mnt/in " "mounts inside"
}

# A user namespace of its own: the ids, and that its root cannot change the limits that it can see.
test_user_namespace() {
  chmod 755 /run/vm-tests
  bundle userns '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
    | .linux.resources.memory = {limit: 67108864}' sleep 1000
  create userns
  rt start userns
  eq "$(echo $(cat /proc/$pid/uid_map))" "0 100000 65536" uid_map
  limit "$cg" memory.max 67108864
  eq "$(rt exec userns id -u)" 0 "user inside"
  eq "$(stat -c %u /proc/$pid)" 100000 "user outside"
}

# Both processes are in the namespace: init, also where exec did not enter one yet (before Linux 6.2), and an exec'd one.
test_time_namespace() {
  only cgroupfs
  up tns '.linux.namespaces += [{"type": "time"}] | .linux.timeOffsets = {"boottime": {"secs": 5000000}}' \
    sh -c 'cut -d. -f1 /proc/uptime; sleep 1000'
  soon grep -q . "$T/tns.log"
  (($(cat "$T/tns.log") > 5000000)) || fail "init's uptime: $(cat "$T/tns.log")"
  (($(rt exec tns cut -d. -f1 /proc/uptime) > 5000000)) || fail "uptime of an executed process"
  eq "$(rt exec tns readlink /proc/self/ns/time)" "$(readlink "/proc/$pid/ns/time")" "namespace of an executed process"
}

# An interface of the host becomes the container's, with its address.
test_network_device() {
  only cgroupfs
  ip link add rt-test0 type dummy
  ip addr add 10.11.12.13/24 dev rt-test0
  up nic '.linux.netDevices = {"rt-test0": {"name": "eth0"}}' sleep 1000
  has "$(rt exec nic ip addr show dev eth0)" "10.11.12.13/24" "address"
  [[ ! -e /sys/class/net/rt-test0 ]]
}

# Saved to a directory and started again from it, by CRIU.
test_checkpoint() {
  bundle chk . sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.2; done'
  rt create --bundle "$T/chk" chk < /dev/null > /dev/null 2>&1
  rt start chk
  soon eval 'rt exec chk grep -qxE "[5-9]|..+" /dev/shm/n'
  rt checkpoint --image-path "$T/image" chk || fail "$(grep -h Error "$T"/image/*.log)"
  fails rt state chk
  rt restore --detach --image-path "$T/image" --bundle "$T/chk" --pid-file "$T/chk.pid" chk < /dev/null > /dev/null 2>&1
  state_is chk running
  (($(rt exec chk cat /dev/shm/n) >= 5)) || fail "it began anew"
}

test_doctor() {
  rt doctor --json > "$T/doctor.json"
  eq "$(jq -r '.ok, (.findings[] | select(.about == "cgroups") | .level)' "$T/doctor.json" | xargs)" "true ok" "cgroup v2, with all controllers"
  eq "$(jq -r '.findings[] | select(.about == "systemd") | .message' "$T/doctor.json")" "runs; rt --systemd-cgroup works"
}

# What the first kernel of this machine can do and the host's cannot: memory in rounds, another user.
test_checkpoint_rounds() {
  only cgroupfs
  bundle rounds '.process.user = {uid: 1000, gid: 1000}' sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.2; done'
  rt create --bundle "$T/rounds" rounds < /dev/null > /dev/null 2>&1
  rt start rounds
  soon eval 'rt exec rounds grep -qxE "[5-9]|..+" /dev/shm/n'
  eq "$(rt checkpoint --pre-dump --image-path "$T/1" rounds 2>&1)" "" "what CRIU prints after a round"
  rt checkpoint --pre-dump --parent-path ../1 --image-path "$T/2" rounds
  rt checkpoint --parent-path ../2 --image-path "$T/3" rounds
  (($(stat -c %s "$T/3/pages-1.img") < $(stat -c %s "$T/1/pages-1.img"))) || fail "the last round is no shorter"
  rt restore --detach --image-path "$T/3" --bundle "$T/rounds" rounds < /dev/null > /dev/null 2>&1
  (($(rt exec rounds cat /dev/shm/n) >= 5)) || fail "it began anew"
  eq "$(rt exec rounds id -u)" 1000 user
}

# The restored container runs before its memory is there; the first one ends when all of it has been fetched.
test_checkpoint_lazily() {
  only cgroupfs
  bundle lazy . sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.1; done'
  bundle copy . sh
  rt create --bundle "$T/lazy" lazy < /dev/null > /dev/null 2>&1
  rt start lazy
  soon eval 'rt exec lazy grep -qxE "[5-9]|..+" /dev/shm/n'
  mkfifo "$T/status"
  rt checkpoint --lazy-pages --page-server 127.0.0.1:27654 --status-fd 9 --image-path "$T/image" lazy 9> "$T/status" > "$T/server" 2>&1 &
  local server=$!
  eq "$(head -c 1 "$T/status" | wc -c)" 1 "bytes over the status descriptor: $(cat "$T/server")"
  criu lazy-pages --page-server --address 127.0.0.1 --port 27654 -D "$T/image" -W "$T/image" > /dev/null 2>&1 &
  local client=$!
  soon test -S "$T/image/lazy-pages.socket"
  rt restore --detach --lazy-pages --image-path "$T/image" --bundle "$T/copy" copy < /dev/null > /dev/null 2>&1 || fail "$(grep -h Error "$T"/image/*.log)"
  wait $client || fail "not all memory was fetched: $(tail -3 "$T/image"/*lazy*.log)"
  wait $server || fail "$(cat "$T/server")"
  fails rt state lazy
  state_is copy running
  local seen; seen=$(rt exec copy cat /dev/shm/n)
  ((seen >= 5)) || fail "it began anew"
  soon eval "(( \$(rt exec copy cat /dev/shm/n) > $seen ))"
}

# In a user namespace of its own, with a read-only rootfs and a volume.
test_checkpoint_userns() {
  mkdir -m 777 "$T/volume"
  bundle userns '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
    | .root.readonly = true | .mounts += [{destination: "/dev/vol", type: "bind", source: "'"$T/volume"'", options: ["bind"]}]' \
    sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.1; done'
  chmod 755 /run/vm-tests "$T"
  rt create --bundle "$T/userns" userns < /dev/null > /dev/null 2>&1
  rt start userns
  soon eval 'rt exec userns grep -qxE "[5-9]|..+" /dev/shm/n'
  rt checkpoint --image-path "$T/image" userns || fail "$(grep -h Error "$T"/image/*.log)"
  rt restore --detach --image-path "$T/image" --bundle "$T/userns" --pid-file "$T/userns.pid" userns < /dev/null > /dev/null 2>&1 || fail "$(grep -h Error "$T"/image/*.log)"
  pid=$(cat "$T/userns.pid")
  eq "$(echo $(cat /proc/$pid/uid_map))" "0 100000 65536" uid_map
  eq "$(stat -c %u /proc/$pid)" 100000 "user outside"
  (($(rt exec userns cat /dev/shm/n) >= 5)) || fail "it began anew"
  fails rt exec userns touch /x
  rt exec userns touch /dev/vol/file
  [[ -e $T/volume/file ]]
}

# moves NAME CRIU: a container of this name moves, in rounds, to another rootfs. Sets $said to what migrate printed.
moves() {
  bundle "$1" . sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.1; done'
  rt create --bundle "$T/$1" "$1" < /dev/null > /dev/null 2>&1
  rt start "$1"
  soon eval "rt exec $1 grep -qxE '[5-9]|..+' /dev/shm/n"
  mkdir "$T/target"
  cp -a "$(jq -r .root.path "$T/$1/config.json")" "$T/target/rootfs"
  jq '.root.path = "rootfs" | .linux.cgroupsPath = "/rt-test/moved"' "$T/$1/config.json" > "$T/target/config.json"
  status 0 rt --criu "$2" migrate --to "/usr/local/bin/rt --root $state_root receive --bundle $T/target --as moved" "$1"
  said=$out
  has "$said" "round 2: .*" "rounds"
  has "$said" "downtime: [0-9]+ ms" "downtime"
  fails rt state "$1"
  state_is moved running
  (($(rt exec moved cat /dev/shm/n) >= 5)) || fail "it began anew"
}

test_migrate() {
  only cgroupfs
  moves plain criu
}

# A round that cannot be saved against the round before is saved whole.
test_migrate_without_the_round_before() {
  only cgroupfs
  # What is left of the first round's list of pages is its head.
  cat > "$T/criu" << 'END'
#!/bin/sh
for list in /var/tmp/rt-migrate-damaged-*/1/pagemap-1.img; do [ -e "$list" ] && truncate -s 14 "$list"; done
exec criu "$@"
END
  chmod +x "$T/criu"
  moves damaged "$T/criu"
  has "$said" "a round is saved whole, because it failed against the round before: .*in parent pagemap" "warning"
}
