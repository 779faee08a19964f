# containerd's ctr with rt as the binary of its runc shim, with and without --runc-systemd-cgroup; and with rt's own shim, which
# finds out by itself that the cgroup is a unit of systemd.

setup() {
  systemctl start containerd.service
  python3 "$host/tests/image.py" test.invalid/bb:1 $bb > "$work/image.tar"
  ctr image import "$work/image.tar" > /dev/null
}
teardown() { systemctl stop containerd.service; }
cleanup() {
  local c
  for c in $(ctr container ls -q); do ctr task rm -f "$c" > /dev/null 2>&1 || :; ctr container rm "$c" > /dev/null; done
  # containerd's own: it unpacks a checkpoint there and forgets it.
  rm -rf /tmp/ctrd-checkpoint*
}

# run OPTION... -- ID CMD...
run() {
  local options=() cgroup; while [[ $1 != -- ]]; do options+=("$1"); shift; done; shift
  cgroup=/rt-ctr/$1
  if [[ $variant != cgroupfs ]]; then cgroup=system.slice:rt-ctr:$1; fi
  case $variant in
    shim) options+=(--runtime io.containerd.rt.v1) ;;
    systemd) options+=(--runc-binary /usr/local/bin/rt --runc-systemd-cgroup) ;;
    cgroupfs) options+=(--runc-binary /usr/local/bin/rt) ;;
  esac
  ctr run --cgroup "$cgroup" "${options[@]}" test.invalid/bb:1 "$@"
}
up() {
  local options=() name; while [[ $1 != -- ]]; do options+=("$1"); shift; done
  name=$2
  run -d "${options[@]}" "$@"
  pid=$(ctr task ls | awk -v n="$name" '$1 == n { print $2 }')
  cg=$(cgroup_of "$pid")
}

test_run() {
  status 42 run --rm -- r sh -c 'echo out; exit 42'
  eq "$out" out output
  eq "$(ctr container ls -q)" "" "containers left"
}

# No signal is blocked or ignored, whatever the daemons above do.
test_signals() {
  local want=$'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000'
  eq "$(run --rm -- s grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" run
  up -- signals sleep 1000
  eq "$(ctr task exec --exec-id e signals grep -E '^Sig(Blk|Ign)' /proc/self/status)" "$want" exec
}

test_limits() {
  up --memory-limit 67108864 --cpus 0.5 -- lim sleep 1000
  limit "$cg" memory.max 67108864
  limit "$cg" cpu.max "50000 100000"
  case $variant in
    systemd | shim) property rt-ctr-lim.scope MemoryMax 67108864; property rt-ctr-lim.scope CPUQuotaPerSecUSec 500ms ;;
    cgroupfs) eq "$cg" /sys/fs/cgroup/rt-ctr/lim cgroup ;;
  esac
}

test_exec_signals_metrics() {
  up -- ex sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  status 8 ctr task exec --exec-id e1 ex sh -c 'echo inside; exit 8'
  eq "$out" inside "output of exec"
  has "$(ctr task ps ex)" "$pid" ps
  has "$(ctr task metrics ex)" 'memory.usage' metrics
  ctr task pause ex
  limit "$cg" cgroup.freeze 1
  eq "$(ctr task ls | awk '$1 == "ex" { print $3 }')" PAUSED status
  ctr task resume ex
  ctr task kill -s TERM ex
  soon eval 'ctr task ls | grep -q STOPPED'
  has "$(ctr task rm ex 2>&1)" 'exit code 3' "exit status"
  [[ ! -e $cg ]]
}

# The shim asks for memory.events of the cgroup that the runtime made.
test_oom() {
  status 137 run --rm --memory-limit 33554432 -- oom dd if=/dev/zero of=/dev/null bs=100M count=1
}

# containerd's client has --image-path for its own runtimes only. With others a checkpoint becomes an image, and the image a
# container that goes on.
checkpoint_to_an_image() {
  ctr container checkpoint --task --rw --image chk test.invalid/chk:1
  eq "$(ctr task ls | awk '$1 == "chk" { print $3 }')" RUNNING "after a checkpoint"
  local before; before=$(ctr task exec --exec-id b chk cat /dev/shm/n)
  ctr task rm -f chk > /dev/null 2>&1 || :
  ctr container rm chk
  ctr container restore --live --rw chk2 test.invalid/chk:1
  soon eval "((\$(ctr task exec --exec-id c\$RANDOM chk2 cat /dev/shm/n) > $before))"
  ctr task rm -f chk2 > /dev/null 2>&1 || :
  ctr container rm chk2
  ctr image rm test.invalid/chk:1 > /dev/null
}

test_checkpoint() {
  up -- chk sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.2; done'
  soon eval '(($(ctr task exec --exec-id a$RANDOM chk cat /dev/shm/n) > 3))'
  if [[ $variant == shim ]]; then checkpoint_to_an_image; return; fi
  ctr task checkpoint --image-path "$T/running" chk || fail "$(cat "$T"/running/*.log)"
  eq "$(ctr task ls | awk '$1 == "chk" { print $3 }')" RUNNING "after a checkpoint without --exit"
  ctr task checkpoint --exit --image-path "$T/image" chk || fail "$(cat "$T"/image/*.log)"
  soon eval 'ctr task ls | grep -q STOPPED'
}

# attach: what a running task prints from then on, and its exit status.
test_attach() {
  run -d --fifo-dir "$T/fifos" -- att sh -c 'trap "echo bye; exit 4" TERM; while :; do echo tick; sleep 0.2; done' > "$T/first"
  local status=0
  timeout 60 ctr task attach att > "$T/second" & local attached=$!
  soon grep -q tick "$T/second"
  ctr task kill att
  wait $attached || status=$?
  eq $status 4 "status of attach"
  has "$(cat "$T/second")" bye "what the task printed last"
}

# What a file of options says is done: another program, another directory of states, no unit of systemd though the path names none,
# a cgroup for the shim, an owner for the pipes. A key that is misspelt is named.
test_options() {
  only shim
  with_options() {
    ctr run --runtime io.containerd.rt.v1 --runtime-config-path "$T/rt.json" --cgroup /rt-ctr/opt "$@"
  }
  printf '#!/bin/sh\necho "$*" >> %s/calls\nexec /usr/local/bin/rt "$@"\n' "$T" > "$T/wrapper"
  chmod 755 "$T/wrapper"
  mkdir -p /sys/fs/cgroup/rt-ctr/shim
  jq -n --arg dir "$T" '{BinaryName: "\($dir)/wrapper", Root: "\($dir)/states", ShimCgroup: "/rt-ctr/shim", IoUid: 1000, IoGid: 1000}' > "$T/rt.json"
  with_options -d test.invalid/bb:1 opt sleep 1000
  local shim; shim=$(pgrep -f '^[^ ]*containerd-shim-rt-v1 .*-id opt ')
  eq "$(sed -n 's/^0:://p' "/proc/$shim/cgroup")" /rt-ctr/shim "the shim's cgroup"
  has "$(cat "$T/calls")" "^--root $T/states/default .* create .* opt$" "the program and its states"
  hasnt "$(cat "$T/calls")" systemd-cgroup "the driver"
  ctr task rm -f opt > /dev/null 2>&1 || :
  ctr container rm opt
  rmdir /sys/fs/cgroup/rt-ctr/shim
  echo '{"BinryName": "x"}' > "$T/rt.json"
  fails with_options --rm test.invalid/bb:1 opt2 true
  has "$out" 'unknown key "BinryName"' "a misspelt key"
  ctr container rm opt2 2> /dev/null || :
}

# The error that reaches ctr's user names the cause, where runc's does.
test_broken_containers() {
  only cgroupfs shim
  local n=0
  broken() { # TEXT OPTION... -- CMD...
    local text=$1 options=(); shift
    while [[ $1 != -- ]]; do options+=("$1"); shift; done; shift
    fails run --rm "${options[@]}" -- "bad$((n += 1))" "$@"
    has "$out" "OCI runtime create failed: rt create failed: $text" "${options[*]} $*"
  }
  broken 'exec: "/etc/passwd": permission denied' -- /etc/passwd
  broken '/mounts/[0-9]+: bind mount of "/nosuch" on "/x": open the source: no such file or directory' --mount type=bind,src=/nosuch,dst=/x,options=rbind -- true
  broken "/mounts/[0-9]+: mount of tmpfs .*Unknown parameter 'bogus'.: invalid argument" --mount type=tmpfs,src=tmpfs,dst=/x,options=bogus=1 -- true
  broken '.*memory limit too low' --memory-limit 4096 -- true
}
