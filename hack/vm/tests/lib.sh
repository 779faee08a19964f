# What the tests inside the machine share; sourced. Tests are functions test_NAME; the ids use "-" for "_".
# $T is a test's own directory, $variant the variant of its group, $work the directory of its group.

NOT_HERE=78 SKIP=77
host=${VM_HOST:-/mnt/host}
bb=/srv/bb # a root file system of busybox, not to be written to

# report ID STATUS SECONDS LOG [NOTE]
report() {
  local word=FAIL why=
  why=$(awk -v id="$1" '$1 == id { $1 = ""; sub(/^ +/, ""); print; exit }' "$host/expected-failures" 2> /dev/null)
  case $2 in
    0) word=ok; if [[ $why ]]; then word=XPASS; else why=${5-}; fi ;;
    "$SKIP") word=skip why=$(tail -1 "$4") ;;
    *) [[ -z $why ]] || word=xfail ;;
  esac
  {
    printf '%-5s %s (%d s)%s\n' $word "$1" "$3" "${why:+: $why}"
    case $word in FAIL | xfail) tail -n 40 "$4" | cut -c1-600 | sed 's/^/| /' ;; esac
  }
}

# ---- for use in tests

# note TEXT: a number worth knowing, told with the result of a test that passes.
note() { echo "$*" > "$work/note"; }
# fail TEXT: ends the test.
fail() { echo "$*"; exit 1; }
# skip WHY: the machine lacks something.
skip() { echo "$*"; exit $SKIP; }
# only VARIANT...: the test makes no sense elsewhere, and is not mentioned there.
only() { [[ " $* " == *" $variant "* ]] || exit $NOT_HERE; }

# eq GOT WANTED WHAT; WANTED may be several values, divided by "|".
eq() { [[ "|$2|" == *"|$1|"* ]] || fail "${3:-value}: got \"$1\", wanted \"$2\""; }
# has TEXT PATTERN WHAT: an extended regular expression somewhere in a text.
has() { grep -E -- "$2" <<< "$1" > /dev/null || fail "${3:-text}: no match for \"$2\" in: $1"; }
hasnt() { ! grep -E -- "$2" <<< "$1" > /dev/null || fail "${3:-text}: unwanted \"$2\" in: $1"; }
# status N CMD...: CMD must end with that status; its output goes to $T/out, and is kept in $out.
status() {
  local want=$1 got=0; shift
  "$@" > "$T/out" 2>&1 || got=$?
  out=$(cat "$T/out")
  eq $got "$want" "status of \"$*\" (it printed: $out)"
}
# fails CMD...: any error will do.
fails() {
  if "$@" > "$T/out" 2>&1; then fail "\"$*\" went well, and must not: $(cat "$T/out")"; fi
  out=$(cat "$T/out")
}
# soon CMD...: CMD succeeds within 30 seconds.
soon() { retry 30 "$@"; }
# patiently CMD...: CMD succeeds within two minutes; for what waits for a timer, on a machine that others keep busy.
patiently() { retry 120 "$@"; }
# retry SECONDS CMD...: CMD succeeds within that time.
retry() {
  local end=$((SECONDS + $1)) seconds=$1; shift
  while ((SECONDS < end)); do
    if "$@" > "$T/soon" 2>&1; then return 0; fi
    sleep 0.2
  done
  fail "not within $seconds seconds: $* ($(tail -3 "$T/soon"))"
}

# cgroup_of PID: the directory of its cgroup.
cgroup_of() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")"; }
# unit_of PID: the innermost unit of its cgroup.
unit_of() { sed -n 's/^0:://p' "/proc/$1/cgroup" | tr / '\n' | grep -E '\.(scope|service)$' | tail -1; }
# limit CGROUP FILE WANTED
limit() { eq "$(cat "$1/$2")" "$3" "$2 of $1"; }
# property UNIT NAME WANTED: as systemd sees it. The user's manager, for the user.
property() { eq "$(systemctl $([[ $UID == 0 ]] || echo --user) show -p "$2" --value "$1")" "$3" "$2 of $1"; }

# ---- the world around the tests

make_rootfs() {
  [[ -e $bb/bin/sh ]] && return
  mkdir -p $bb/{bin,dev,proc,sys,tmp,etc,root,run,usr/bin,mnt,home}
  chmod 1777 $bb/tmp
  cp /bin/busybox $bb/bin/busybox
  chroot $bb /bin/busybox --install -s /bin
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n' > $bb/etc/passwd
  printf 'root:x:0:\nuser:x:1000:\n' > $bb/etc/group
}

end_user_session() {
  loginctl terminate-user user 2> /dev/null
  systemctl stop user@1000.service user-1000.slice 2> /dev/null
  for _ in {1..50}; do pgrep -u user > /dev/null || break; sleep 0.2; done
  rm -rf /run/user/1000/rt* 2> /dev/null
}

# snapshot: all that a container could leave behind, a thing a line. Engines keep a cgroup of their own.
snapshot() {
  find /sys/fs/cgroup -mindepth 1 -type d -printf 'cgroup /%P\n' |
    grep -vE '^cgroup /(init.scope|docker|rt-test|rt-ctr|libpod_parent|user.slice/|(system.slice/)?(docker|containerd|dbus|systemd-[a-z]+|polkit|user-runtime-dir@|vm-command)\.?[^/]*(service|socket|slice))|^cgroup /(user|machine).slice$|/conmon$'
  awk '{ print "mount " $5 " " $4 }' /proc/self/mountinfo | grep -vE '^mount (/run/rt-mounts|/run/user|/run/docker|/run/netns|/run/credentials|/var/lib/docker|/var/lib/containers/storage/overlay)'
  systemctl list-units --all --plain --no-legend --type=scope,slice | awk '$3 != "inactive" { print "unit " $1 }' |
    grep -vE '^unit (init.scope|session-|user|machine.slice|system-)'
  # /proc itself is faster than ps here; kernel threads have no executable.
  local p exe
  for p in /proc/[0-9]*; do
    exe=$(readlink "$p/exe" 2> /dev/null) && [[ $exe ]] && echo "process $exe"
  done | grep -vE '/(bash|find|awk|grep|gawk|mawk|sed|sleep|systemd[a-z-]*|dbus-daemon|dockerd|containerd|runuser|polkitd|catatonit|cat|readlink|sort|python3[^/]*)$'
  find /run/rt-test /run/user/1000/rt-test /run/runc /run/rt -mindepth 1 -maxdepth 1 -printf 'state %p\n' 2> /dev/null
  find /dev/shm /tmp -mindepth 1 -maxdepth 1 -printf 'file %p\n' 2> /dev/null | grep -vE '/(libpod_|systemd-private|snap|\.|containers-user|podman-run|storage-run)'
}

# nothing_left BEFORE: fails and tells what there is now that there was not then. Things may take a moment to go.
nothing_left() {
  local i
  for ((i = 0; i < 8; i++)); do
    snapshot > /run/vm-tests/after
    comm -13 <(sort "$1") <(sort /run/vm-tests/after) > /run/vm-tests/new
    [[ -s /run/vm-tests/new ]] || return 0
    sleep 0.4
  done
  echo "left behind:"
  cat /run/vm-tests/new
  return 1
}

# A group that gives its own function a name from here would change what the functions here do: the shell says so.
readonly -f $(compgen -A function)

# ---- Docker

# start_docker: dockerd with the daemon.json on standard input, and an image bb of busybox.
start_docker() {
  mkdir -p /etc/docker
  cat > /etc/docker/daemon.json
  rm -rf /run/systemd/system/docker.service.d
  systemctl start docker.service
  docker image inspect bb > /dev/null 2>&1 || tar -C $bb -c . | docker import - bb
}
stop_docker() { systemctl stop docker.service docker.socket containerd.service; }
