# For the groups that call rt by hand; sourced. The variant "systemd" adds --systemd-cgroup to every call.

state_root=${XDG_RUNTIME_DIR:-/run}/rt-test
rt() {
  if [[ $variant == systemd ]]; then set -- --systemd-cgroup "$@"; fi
  command rt --root "$state_root" "$@"
}

# bundle ID FILTER CMD...: makes the bundle $T/ID, whose program is CMD; FILTER is a jq program that changes its config.
bundle() {
  local id=$1 filter=$2 cgroup=/rt-test/$1; shift 2
  if [[ $variant == systemd ]]; then cgroup=system.slice:rt-test:$id; fi
  mkdir -p "$T/$id"
  jq --arg root $bb --arg cgroup "$cgroup" '.root.path = $root | .process.terminal = false | .process.args = $ARGS.positional
    | .linux.cgroupsPath = $cgroup | '"$filter" "$work/base.json" --args -- "$@" > "$T/$id/config.json"
}

# create ID: from $T/ID; sets $pid and $cg, the directory of its cgroup. What it prints goes to $T/ID.log.
create() {
  rt create --bundle "$T/$1" --pid-file "$T/$1.pid" "$1" > "$T/$1.log" 2>&1 < /dev/null || fail "create $1: $(cat "$T/$1.log")"
  pid=$(cat "$T/$1.pid")
  cg=$(cgroup_of "$pid")
}
# up ID FILTER CMD...: a running container.
up() {
  bundle "$@"
  create "$1"
  rt start "$1"
}
# state_is ID STATUS
state_is() { eq "$(rt state "$1" | jq -r .status)" "$2" "status of $1"; }
stopped() { [[ $(rt state "$1" | jq -r .status) == stopped ]]; }

setup() {
  mkdir -p "$T/spec"
  (cd "$T/spec"; rt spec)
  cp "$T/spec/config.json" "$work/base.json"
}

cleanup() {
  local dir
  for dir in "$state_root"/*/; do
    [[ -d $dir ]] || continue
    dir=${dir%/}
    rt delete --force "${dir##*/}" > /dev/null 2>&1 || echo "rt cannot delete ${dir##*/}"
  done
  if [[ -d /sys/fs/cgroup/rt-test/used ]]; then
    echo 1 > /sys/fs/cgroup/rt-test/used/cgroup.kill
    soon rmdir /sys/fs/cgroup/rt-test/used
  fi
}
