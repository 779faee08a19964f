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

# The user's own systemd has the controllers that the image delegates; a session beside it has none.
test_doctor() {
  only systemd
  rt doctor --json > "$T/doctor.json"
  jq -e .ok "$T/doctor.json" > "$T/ready" || fail "not ready: $(cat "$T/doctor.json")"
  eq "$(jq -r '.findings[] | select(.about == "ids") | .level' "$T/doctor.json")" ok "further ids"
  jq -r '.findings[] | select(.about == "delegation") | .message' "$T/doctor.json" | grep -q /user.slice/user-1000.slice/ || fail "no word of the user's cgroup"
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

# What looks at a container or changes it: without a cgroup of its own, one clear sentence instead of zeros.
test_watch_and_change() {
  rootless watch . sleep 1000
  create watch
  rt start watch
  eq "$(rt list -f json | jq -r '.[] | "\(.id) \(.status) \(.owner)"')" "watch running user" list
  has "$(rt events --stats watch)" '"type":"stats"|"id":"watch"' events
  local what
  if [[ $variant == systemd ]]; then
    eq "$(rt ps -f json watch)" "[$pid]" ps
    rt pause watch
    state_is watch paused
    rt resume watch
    rt update --pids-limit 20 watch
    limit "$cg" pids.max 20
    has "$(rt stats --no-stream watch)" '^watch ' stats
  else
    for what in "ps watch" "pause watch" "update --pids-limit 20 watch" "stats watch"; do
      status 1 rt $what
      has "$out" "container watch has no cgroup of its own" "$what"
    done
    state_is watch running
  fi
}

# A path in the host's tree that is not the user's to give, and limits that nobody could hold to.
test_cgroups_that_cannot_be() {
  only
  rootless asked '.linux.cgroupsPath = "/rt-test/asked"' true
  status 1 rt run --bundle "$T/asked" asked
  has "$out" "/sys/fs/cgroup/rt-test.*: permission denied" "a cgroup of root's"
  rootless limited '.linux.resources.memory.limit = 67108864' true
  status 1 rt run --bundle "$T/limited" limited
  has "$out" "/linux/resources/memory: rootless needs no limits \\+ no cgrouppath when no permission is granted for cgroups" "a limit"
  eq "$(rt list -q)" "" "containers left"
}

# Where state is kept, by runc's rules: the user's own directory, also for root of a user namespace that is not called root.
test_state_directory() {
  only
  rootless here . sleep 1000
  command rt create --bundle "$T/here" here > "$T/log" 2>&1 < /dev/null
  eq "$(stat -c '%a %U' "$XDG_RUNTIME_DIR/rt")" "700 user" "the directory"
  [[ -e $XDG_RUNTIME_DIR/rt/here/state.json ]]
  eq "$(unshare --user --map-root-user env USER=user rt list -q)" here "root in a user namespace, called user"
  eq "$(unshare --user --map-root-user env USER=root rt list -q 2>&1 | grep -c here || :)" 0 "root in a user namespace, called root"
  command rt delete --force here
  status 1 env -u XDG_RUNTIME_DIR rt create --bundle "$T/here" here
  has "$out" "/run/rt.*: permission denied" "without XDG_RUNTIME_DIR"
}

# What needs no container needs no rights.
test_without_a_container() {
  only
  rootless none . true
  cd "$T/none"
  has "$(command rt plan)" PivotRoot plan
  status 0 rt check
  eq "$(command rt features | jq -r .ociVersionMax)" "$(command rt --version | sed -n 's/^spec: //p')" features
  status 0 rt gc
  status 1 rt spec
  has "$out" "config.json" "spec does not overwrite"
}
