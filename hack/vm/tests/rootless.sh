# rt called by hand by an ordinary user, from what `rt spec --rootless` writes. The variant "systemd" adds --systemd-cgroup,
# which makes the user's own systemd the one to ask, and limits possible.
. "$here/oci-lib.sh"

setup() {
  mkdir -p "$T/spec"
  (cd "$T/spec"; rt spec --rootless)
  cp "$T/spec/config.json" "$work/base.json"
}
# Without systemd no cgroup is asked for: an ordinary user has none to give.
rootless() {
  local id=$1 filter=$2; shift 2
  case $variant in
    systemd) bundle "$id" ".linux.cgroupsPath = \"user.slice:rt-test:$id\" | $filter" "$@" ;;
    *) bundle "$id" "del(.linux.cgroupsPath) | $filter" "$@" ;;
  esac
}

test_run() {
  rootless run . sh -c 'id -u; cat /proc/self/uid_map; exit 42'
  status 42 rt run --bundle "$T/run" run
  eq "$(echo $out)" "0 0 1000 1" "user and map"
}

test_lifecycle() {
  rootless life . sleep 1000
  create life
  rt start life
  state_is life running
  eq "$(stat -c %u /proc/$pid)" 1000 "user outside"
  status 7 rt exec life sh -c 'exit 7'
  rt kill life KILL
  soon stopped life
  rt delete life
  fails rt state life
}

test_delete_force() {
  rootless force . sleep 1000
  create force
  rt start force
  rt delete --force force
  # Reaping it is for its new parent, in its own time.
  soon test ! -d "/proc/$pid"
}

# Flags of a mount that an ordinary user may not take off stay, whatever the mount is made of it.
test_locked_flags() {
  rootless lock ".mounts += [{destination: \"/mnt\", type: \"bind\", source: \"$XDG_RUNTIME_DIR\", options: [\"bind\", \"ro\"]}]" grep ' /mnt ' /proc/mounts
  status 0 rt run --bundle "$T/lock" lock
  has "$out" " /mnt tmpfs ro,nosuid,nodev," "flags"
}

# A map of many ids needs newuidmap and newgidmap.
test_subordinate_ids() {
  rootless sub '.linux.uidMappings = [{containerID: 0, hostID: 1000, size: 1}, {containerID: 1, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
    | .process.user = {uid: 33, gid: 33}' sh -c 'id -u; cat /proc/self/gid_map'
  status 0 rt run --bundle "$T/sub" sub
  eq "$(echo $out)" "33 0 1000 1 1 100000 65536" "user and map"
}

# Without a cgroup namespace the host's part of the tree is all that can be shown, and not for writing: not even where the
# user may (CVE-2023-25809).
test_cgroups_read_only() {
  rootless ro '.linux.namespaces |= map(select(.type != "cgroup"))
    | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"]}]' \
    sh -c 'for dir in $(find /sys/fs/cgroup -type d); do mkdir "$dir/made" 2> /dev/null && echo "made $dir/made"; done; grep " /sys/fs/cgroup " /proc/mounts'
  status 0 rt run --bundle "$T/ro" ro
  hasnt "$out" "^made" "directories made in the host's cgroups"
  has "$out" " /sys/fs/cgroup [^ ]+ ro[, ]" "mount"
}

test_limits() {
  only systemd
  rootless lim '.linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}}' sleep 1000
  create lim
  rt start lim
  limit "$cg" memory.max 67108864
  limit "$cg" pids.max 20
  property rt-test-lim.scope MemoryMax 67108864
  rt update --memory 50331648 lim
  limit "$cg" memory.max 50331648
  rt pause lim
  limit "$cg" cgroup.freeze 1
  rt resume lim
}

# exec into a limited container is limited too, though its caller's session is elsewhere and the user may not move processes
# from there by hand: systemd has to.
test_exec_in_cgroup() {
  only systemd
  rootless ex '.linux.resources = {memory: {limit: 67108864}}' sleep 1000
  create ex
  rt start ex
  rt exec --detach --pid-file "$T/exec.pid" ex sleep 1001
  eq "$(cgroup_of "$(cat "$T/exec.pid")")" "$cg" "cgroup of the exec'd process"
}
