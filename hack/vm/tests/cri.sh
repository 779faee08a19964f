# containerd's CRI plugin with rt as a runtime handler, called over its socket as a kubelet calls it; under containerd's shim, and
# under rt's own.

# The shim of a handler: its type, and its program.
type_of() { if [[ $variant == shim && $1 == rt ]]; then echo io.containerd.rt.v1; else echo io.containerd.runc.v2; fi; }
shim=containerd-shim-$([[ $variant == shim ]] && echo rt-v1 || echo runc-v2)

setup() {
  cp /etc/containerd/config.toml "$work/config.toml"
  cat > /etc/containerd/config.toml <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "test.invalid/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$work/cni"
$(for handler in rt runc; do cat <<HANDLER
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$handler]
    runtime_type = "$(type_of $handler)"
    privileged_without_host_devices = false
HANDLER
[[ $(type_of $handler) == io.containerd.rt.v1 ]] || cat <<HANDLER
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$handler.options]
      BinaryName = "$(command -v $handler)"
      SystemdCgroup = true
HANDLER
done)
END
  # A pair of interfaces per pod, without firewall rules.
  mkdir -p "$work"/{cni,pause,client}
  cat > "$work/cni/10-test.conflist" <<'END'
{"cniVersion": "1.0.0", "name": "test", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.8.0.0/24", "dataDir": "/run/vm-tests/ipam"}}]}
END
  # The program that a pod's first container is for, and does nothing; Podman's.
  cp /usr/bin/catatonit "$work/pause/pause"
  systemctl start containerd.service
  python3 "$host/tests/image.py" test.invalid/pause:1 "$work/pause" /pause -P | ctr -n k8s.io image import - > /dev/null
  python3 "$host/tests/image.py" test.invalid/bb:1 $bb | ctr -n k8s.io image import - > /dev/null
  protoc -I "$host/tests" --python_out="$work/client" cri.proto
  mkfifo "$work/client/in" "$work/client/out"
  systemd-run --quiet --unit rt-cri-client python3 "$host/tests/cri.py" "$work/client" /run/containerd/containerd.sock
}
teardown() {
  systemctl stop rt-cri-client.service containerd.service rttest.slice
  cp "$work/config.toml" /etc/containerd/config.toml
  rm -rf /run/vm-tests/ipam
}
cleanup() {
  local id
  for id in $(cri ListPodSandbox {} | jq -r '.items[].id'); do
    cri StopPodSandbox "{pod_sandbox_id: \"$id\"}" > /dev/null
    cri RemovePodSandbox "{pod_sandbox_id: \"$id\"}" > /dev/null
  done
}

# cri METHOD REQUEST: prints the answer as JSON, or fails with the error. REQUEST is a jq expression.
cri() {
  local word answer
  printf '%s %s' "$1" "$(jq -nc "$2")" > "$work/client/in"
  read -r word answer < "$work/client/out"
  echo "$answer"
  [[ $word == ok ]]
}
# pod NAME [FILTER [HANDLER]]: runs a pod; FILTER changes its config. Sets $pod, and $pod_config.
pod() {
  mkdir -p "$T/logs"
  pod_config=$(jq -nc '{metadata: {name: "'"$1"'", uid: "uid-'"$1"'", namespace: "test"}, hostname: "'"$1"'", log_directory: "'"$T"'/logs",
    linux: {cgroup_parent: "rttest.slice", security_context: {namespace_options: {pid: "CONTAINER"}}}} | '"${2:-.}")
  pod=$(cri RunPodSandbox "{config: $pod_config, runtime_handler: \"${3:-rt}\"}") || fail "$pod"
  pod=$(jq -r .pod_sandbox_id <<< "$pod")
}
# create NAME FILTER CMD...: makes a container in $pod; sets $ctr to its id, or prints the error and fails.
create() {
  local config name=$1 filter=$2; shift 2
  config=$(jq -nc '{metadata: {name: "'"$name"'"}, image: {image: "test.invalid/bb:1"}, command: $ARGS.positional, log_path: "'"$name"'.log",
    linux: {security_context: {namespace_options: {pid: "CONTAINER"}}}} | '"$filter" --args -- "$@")
  ctr=$(cri CreateContainer "{pod_sandbox_id: \"$pod\", config: $config, sandbox_config: $pod_config}") || { echo "$ctr"; return 1; }
  ctr=$(jq -r .container_id <<< "$ctr")
}
# up NAME FILTER CMD...: a running container; sets $ctr, $pid and $cg.
up() {
  create "$@" || fail "no container"
  cri StartContainer "{container_id: \"$ctr\"}" || fail "$1 does not start"
  pid=$(cri ContainerStatus "{container_id: \"$ctr\", verbose: true}" | jq '.info.info | fromjson.pid')
  cg=$(cgroup_of "$pid")
}
# exec_sync CONTAINER CMD...: prints what it prints, and ends as it ends.
exec_sync() {
  local answer id=$1; shift
  answer=$(cri ExecSync "$(jq -nc --arg id "$id" '{container_id: $id, cmd: $ARGS.positional, timeout: 60}' --args -- "$@")") || { echo "$answer"; return 255; }
  jq -r '.stdout, .stderr | @base64d' <<< "$answer" | sed '/^$/d'
  return "$(jq .exit_code <<< "$answer")"
}
# status_of CONTAINER FIELD
status_of() { cri ContainerStatus "{container_id: \"$1\"}" | jq -r ".status.$2"; }
ended() { [[ $(status_of "$1" state) == CONTAINER_EXITED ]]; }

# What a kubelet asks first.
test_status() {
  eq "$(cri Status {} | jq -r '.status.conditions[] | select(.type | test("Ready")) | "\(.type)=\(.status)"' | sort | tr '\n' ' ')" "NetworkReady=true RuntimeReady=true " conditions
}

# A pod with two containers, from the first call to the last.
test_pod_of_two() {
  pod duo '.linux.sysctls = {"net.ipv4.ip_unprivileged_port_start": "80"}'
  eq "$(cri PodSandboxStatus "{pod_sandbox_id: \"$pod\"}" | jq -r '.status | "\(.state) \(.runtime_handler)"')" "SANDBOX_READY rt" pod
  up web . sh -c 'trap "echo bye; exit 5" TERM; httpd -p 127.0.0.1:8080 -h /etc; echo out; echo err >&2; while :; do sleep 0.1; done'
  local web=$ctr web_pid=$pid web_cg=$cg
  up other '.linux.resources = {memory_limit_in_bytes: 67108864, cpu_period: 100000, cpu_quota: 50000, oom_score_adj: 900}' sleep 1000
  local other=$ctr namespace
  # Network, IPC and host name are the pod's, processes and mounts each one's own.
  for namespace in net ipc uts; do eq "$(readlink "/proc/$pid/ns/$namespace")" "$(readlink "/proc/$web_pid/ns/$namespace")" "$namespace namespaces"; done
  for namespace in pid mnt; do [[ $(readlink "/proc/$pid/ns/$namespace") != "$(readlink "/proc/$web_pid/ns/$namespace")" ]] || fail "one $namespace namespace"; done
  eq "$(exec_sync $other wget -qO - http://127.0.0.1:8080/hostname)" duo "what the other container serves"
  exec_sync $web sh -c 'echo shared > /dev/shm/file'
  eq "$(exec_sync $other cat /dev/shm/file /proc/sys/net/ipv4/ip_unprivileged_port_start | tr '\n' ' ')" "shared 80 " "shared memory, and a parameter of the pod"
  has "$(exec_sync $other ip addr show eth0)" "inet 10.8.0." "the pod's address"
  # Limits, and a change of them.
  limit "$cg" memory.max 67108864
  limit "$cg" cpu.max "50000 100000"
  eq "$(cat /proc/$pid/oom_score_adj)" 900 oom_score_adj
  has "$cg" "rttest.slice/cri-containerd-$other.scope" "cgroup"
  cri UpdateContainerResources "{container_id: \"$other\", linux: {memory_limit_in_bytes: 50331648}}"
  limit "$cg" memory.max 50331648
  has "$(cri ContainerStats "{container_id: \"$other\"}" | jq -r '.stats | "\(.cpu.usage_core_nano_seconds.value) \(.memory.usage_bytes.value)"')" '^[1-9][0-9]+ [1-9][0-9]+$' "processor and memory used"
  # exec's status, its output, and its end when the time is up.
  status 7 exec_sync $other sh -c 'echo inside; exit 7'
  eq "$out" inside "output of exec"
  fails cri ExecSync "{container_id: \"$other\", cmd: [\"sleep\", \"999\"], timeout: 1}"
  has "$out" "DEADLINE_EXCEEDED" "exec beyond its time"
  soon eval '! exec_sync $other pgrep -f "sleep 999"'
  # A stop is a signal, and a kill when that does not help; the log has it all.
  cri StopContainer "{container_id: \"$web\", timeout: 30}"
  eq "$(status_of $web state) $(status_of $web exit_code)" "CONTAINER_EXITED 5" "after a stop"
  eq "$(cut -d' ' -f2- "$T/logs/web.log" | sort | tr '\n' ',')" "stderr F err,stdout F bye,stdout F out," log
  cri StopContainer "{container_id: \"$other\", timeout: 1}"
  eq "$(status_of $other exit_code)" 137 "after a kill"
  cri RemoveContainer "{container_id: \"$web\"}"
  [[ ! -e $web_cg && ! -e $cg ]]
  cri StopPodSandbox "{pod_sandbox_id: \"$pod\"}"
  cri RemovePodSandbox "{pod_sandbox_id: \"$pod\"}"
  eq "$(cri ListPodSandbox {} | jq '.items | length') $(cri ListContainers {} | jq '.containers | length')" "0 0" "what is left"
}

# shareProcessNamespace: the pause program is process 1 of all.
test_shared_processes() {
  local shared='.linux.security_context.namespace_options.pid = "POD"'
  pod pids "$shared"
  up one "$shared" sleep 1001
  up two "$shared" sleep 1002
  has "$(exec_sync $ctr cat /proc/1/comm)" pause "process 1"
  has "$(exec_sync $ctr ps -o args)" "sleep 1001" "the other container's process"
}

# hostNetwork, hostPID, hostIPC.
test_host_namespaces() {
  # A kubelet gives such a pod no host name, as it has the host's.
  local host='.linux.security_context.namespace_options = {network: "NODE", pid: "NODE", ipc: "NODE"}'
  pod host ".hostname = \"\" | $host"
  up h "$host" sleep 1000
  for namespace in net pid ipc; do eq "$(readlink "/proc/$pid/ns/$namespace")" "$(readlink "/proc/self/ns/$namespace")" "$namespace"; done
  eq "$(exec_sync $ctr cat /proc/1/comm)" systemd "the host's processes"
  cri StopContainer "{container_id: \"$ctr\"}"
  [[ ! -e $cg ]] || fail "the cgroup is left, without a pid namespace that ends its processes"
}

# hostUsers: false. containerd asks nothing of the runtime's features yet in 1.7, and maps no volumes.
test_user_namespace() {
  local map='{host_id: 200000, container_id: 0, length: 65536}'
  local mapped=".linux.security_context.namespace_options.userns_options = {mode: \"POD\", uids: [$map], gids: [$map]}"
  pod users "$mapped"
  up u "$mapped" sh -c 'echo $(cat /proc/self/uid_map); id -u; touch /made; exec sleep 1000'
  soon grep -q 'F 0$' "$T/logs/u.log"
  eq "$(cut -d' ' -f4- "$T/logs/u.log" | tr '\n' ' ')" "0 200000 65536 0 " "map and user"
  eq "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" 200000 "uid on the host"
  eq "$(stat -c %u "/proc/$pid/root/made")" 200000 "owner of a file that it makes"
  eq "$(exec_sync $ctr id -u)" 0 "uid of exec"
}

# What a pod's security context asks for is in force, for the container's program and for exec.
test_security_context() {
  local context='.linux.security_context'
  seen() { exec_sync "$ctr" grep -E "^($1):" /proc/self/status | cut -f2 | tr '\n' ' '; }
  pod sec
  up default "$context += {seccomp: {profile_type: \"RuntimeDefault\"}, capabilities: {drop_capabilities: [\"ALL\"], add_capabilities: [\"NET_ADMIN\"]},
    no_new_privs: true, run_as_user: {value: 1000}, supplemental_groups: [7], readonly_rootfs: true,
    masked_paths: [\"/proc/timer_list\"], readonly_paths: [\"/proc/sys\"]}" sleep 1000
  eq "$(seen 'Uid|NoNewPrivs|Seccomp|CapBnd' | tr '\t' ' ')" "1000 0000000000001000 1 2 " "user, bounding set, no new privileges, filter"
  has "$(exec_sync $ctr id -G)" 7 "group"
  fails exec_sync $ctr unshare -U true
  has "$out" "Operation not permitted" "a call that the default profile refuses"
  fails exec_sync $ctr touch /x
  has "$out" "Read-only" "the root filesystem"
  eq "$(exec_sync $ctr wc -c /proc/timer_list)" "0 /proc/timer_list" "a masked file"
  echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' > "$T/profile.json"
  up local "$context.seccomp = {profile_type: \"Localhost\", localhost_ref: \"$T/profile.json\"}" sleep 1000
  fails exec_sync $ctr mkdir /x
  has "$out" "No space left" "the profile's own answer"
  cri StopPodSandbox "{pod_sandbox_id: \"$pod\"}"
  pod priv "$context.privileged = true"
  up privileged "$context.privileged = true" sleep 1000
  eq "$(seen 'CapEff|Seccomp')" "$(grep CapEff /proc/self/status | cut -f2) 0 " "a privileged container"
  exec_sync $ctr sh -c 'mount -t tmpfs x /mnt && test -e /dev/loop-control'
}

# The error that a kubelet shows names the cause, as it does with runc; the words are rt's.
test_broken_containers() {
  mkdir "$T/dir"
  echo '{"defaultAction": "SCMP_ACT_ERRNO"}' > "$T/nothing.json"
  pod bad
  broken() { # NAME TEXT FILTER CMD...
    local name=$1 text=$2; shift 2
    create "$name" "$@" || fail "$name: not made"
    fails cri StartContainer "{container_id: \"$ctr\"}"
    has "$out" "OCI runtime create failed: rt create failed: $text: unknown" "$name"
    eq "$(status_of "$ctr" exit_code) $(status_of "$ctr" reason)" "128 StartError" "$name"
    has "$(status_of "$ctr" message)" "$text" "$name"
  }
  local filter=".linux.security_context.seccomp = {profile_type: \"Localhost\", localhost_ref: \"$T/nothing.json\"}"
  broken absent 'exec: "nosuch": executable file not found in \$PATH' . nosuch
  broken mount '/mounts/[0-9]+: bind mount of "[^"]*/dir" on "/etc/passwd": .*not a directory' ".mounts = [{container_path: \"/etc/passwd\", host_path: \"$T/dir\"}]" true
  broken memory '.*memory limit too low.*' '.linux.resources = {memory_limit_in_bytes: 1}' true
  broken filter '/linux/seccomp: the program could not be executed: execve gets SCMP_ACT_ERRNO\(1\), by default action.*' "$filter" true
  # A pod fails in the same words.
  fails cri RunPodSandbox "{config: $(jq -c '.metadata.name = "sysctl" | .linux.sysctls = {"net.ipv4.nosuch": "1"}' <<< "$pod_config"), runtime_handler: \"rt\"}"
  has "$out" '/linux/sysctl/net.ipv4.nosuch: write "1" to /proc/sys/net/ipv4/nosuch: .*no such file or directory' "a pod's parameter"
  up fine . sleep 1000
  fails exec_sync $ctr nosuch
  has "$out" 'OCI runtime exec failed: exec failed: exec: "nosuch": executable file not found in \$PATH' "exec"
}

# Containers outlive containerd, not their shim: what runs under one that is killed is killed and told as ended, as with runc.
test_restart_and_a_killed_shim() {
  pod live
  up l . sleep 1000
  systemctl restart containerd.service
  # Its socket is there a moment before it answers.
  soon eval '[[ "$(exec_sync $ctr echo again)" == again ]]'
  eq "$(status_of $ctr state)" CONTAINER_RUNNING "after a restart of containerd"
  kill -KILL "$(pgrep -f "^[^ ]*$shim .*-id $pod ")"
  soon ended $ctr
  eq "$(status_of $ctr exit_code)" 255 "exit code when the shim was killed"
  soon test ! -e "$cg"
  cri RemoveContainer "{container_id: \"$ctr\"}"
  cri RemovePodSandbox "{pod_sandbox_id: \"$pod\"}"
}
