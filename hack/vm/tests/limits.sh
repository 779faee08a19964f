# Limits on cgroup v2, as they are kept: under both cgroup drivers (variants cgroupfs and systemd). The host tests do it on v1.
. "$here/oci-lib.sh"

# within GOT WANTED PERCENT WHAT
within() { awk -v got="$1" -v wanted="$2" -v percent="$3" 'BEGIN { exit !(got >= wanted * (1 - percent / 100) && got <= wanted * (1 + percent / 100)) }' || fail "$4: got $1, wanted $2 within $3 %"; }
now() { date +%s%N; }

# Every limit that config.json names, changed by update, and what update does not name left alone.
test_set_and_changed() {
  up set '.linux.resources = {memory: {limit: 67108864, swap: 67108864, reservation: 16777216},
    cpu: {shares: 1024, quota: 50000, period: 100000, cpus: "0", mems: "0"}, pids: {limit: 33},
    unified: {"memory.high": "50331648", "io.weight": "default 250", "memory.oom.group": "1"}}' sleep 1000
  limit "$cg" memory.max 67108864
  limit "$cg" memory.low 16777216
  limit "$cg" memory.high 50331648
  limit "$cg" memory.oom.group 1
  limit "$cg" cpu.max "50000 100000"
  limit "$cg" cpuset.cpus 0
  limit "$cg" pids.max 33
  [[ ! -e $cg/io.weight ]] || eq "$(head -1 "$cg/io.weight")" "default 250" io.weight
  rt update --memory 96M --memory-swap 96M --cpu-quota 20000 --cpu-share 512 --pids-limit -1 set
  limit "$cg" memory.max 100663296
  limit "$cg" memory.low 16777216
  limit "$cg" memory.high 50331648
  limit "$cg" cpu.max "20000 100000"
  limit "$cg" cpu.weight "20|59"
  limit "$cg" pids.max max
}

# A container whose limit the kernel refuses is an error at once, and systemd does not wait for its process to heed a SIGTERM.
test_refused_create() {
  bundle refused '.linux.resources = {cpu: {quota: 1, period: 100000}}' sleep 1000
  local start=$SECONDS
  fails rt create --bundle "$T/refused" refused
  has "$out" 'rt create failed: /linux/resources/cpu/quota: write "1 100000" to [^ ]*/cpu.max: invalid argument' error
  ((SECONDS - start < 10)) || fail "it took $((SECONDS - start)) s"
}

# A refused change changes nothing, and names the field, the file and the value.
test_refused_update() {
  up refused '.linux.resources = {memory: {limit: 67108864}, pids: {limit: 33}}' sleep 1000
  fails rt update --pids-limit 44 --cpuset-cpus 4000 refused
  has "$out" "/linux/resources/cpu/cpus.*cpuset.cpus.*4000|/linux/resources/cpu/cpus.*4000" "error"
  limit "$cg" pids.max 33
  [[ $variant != systemd ]] || property "$(unit_of $pid)" TasksMax 33
}

# usage of the processor in microseconds
used() { sed -n 's/^usage_usec //p' "$cg/cpu.stat"; }
# gets_share PERCENT: in five seconds, within ten percent.
gets_share() {
  local before start
  before=$(used) start=$(now)
  sleep 5
  within "$((($(used) - before) * 100000 / ($(now) - start)))" "$1" 10 "percent of a processor"
}
# A program that never rests gets its quota and no more, and another one as soon as that is changed.
test_burner() {
  up burner '.linux.resources.cpu = {quota: 20000, period: 100000}' sh -c 'while :; do :; done'
  gets_share 20
  rt update --cpu-quota 50000 burner
  gets_share 50
}

# A writer gets the bytes per second that it may have, and more when it may have more.
test_writer() {
  modprobe loop 2> /dev/null || [[ -e /dev/loop-control ]] || skip "this kernel has no loop devices"
  truncate -s 256M "$T/disk"
  local disk; disk=$(losetup --find --show "$T/disk") || skip "no loop device: $disk"
  local id=7:${disk#/dev/loop}
  up writer '.linux.resources = {devices: [{allow: false, access: "rwm"}, {allow: true, type: "b", major: 7, minor: '"${id#7:}"', access: "rw"}],
      blockIO: {throttleWriteBpsDevice: [{major: 7, minor: '"${id#7:}"', rate: 2097152}]}}
    | .linux.devices = [{path: "/dev/disk", type: "b", major: 7, minor: '"${id#7:}"'}]' sleep 1000
  limit "$cg" io.max "$id rbps=max wbps=2097152 riops=max wiops=max"
  local start
  start=$(now)
  rt exec writer dd if=/dev/zero of=/dev/disk bs=256k count=32 oflag=direct
  within $((8388608 * 1000 / (($(now) - start) / 1000000))) 2097152 20 "bytes per second"
  jq -n '{blockIO: {throttleWriteBpsDevice: [{major: 7, minor: '"${id#7:}"', rate: 4194304}]}}' | rt update --resources - writer
  limit "$cg" io.max "$id rbps=max wbps=4194304 riops=max wiops=max"
  start=$(now)
  rt exec writer dd if=/dev/zero of=/dev/disk bs=256k count=64 oflag=direct
  within $((16777216 * 1000 / (($(now) - start) / 1000000))) 4194304 20 "bytes per second after update"
  rt delete --force writer
  losetup --detach "$disk"
}

# events tells of an OOM when it happens; afterwards state, and the error of exec, name the limit. A unit that ends takes its
# counters along, so under systemd only what is told while it runs.
test_oom_is_told() {
  up oom '.linux.resources.memory = {limit: 33554432, swap: 33554432}' sleep 1000
  rt events --interval 1h oom > "$T/events" &
  local events=$!
  soon grep -q '"type":"stats"' "$T/events"
  status 137 rt exec oom dd if=/dev/zero of=/dev/null bs=100M count=1
  has "$out" "it reached its memory limit of 33554432 bytes" "warning of exec"
  soon grep -q '"type":"oom"' "$T/events"
  eq "$(grep '"type":"oom"' "$T/events" | jq -r .data.limit)" 33554432 "limit in the event"
  rt kill oom KILL
  soon stopped oom
  wait $events || fail "events ended with $?"
  if [[ $variant == cgroupfs ]]; then
    eq "$(rt state oom | jq -r '.reachedLimits[0] | "\(.resource) \(.limit)"')" "memory 33554432" "state"
    fails rt exec oom true
    has "$out" "stopped container: it reached its memory limit of 33554432 bytes" "error of exec"
  fi
}

# Pressure above a threshold is told by the kernel, not looked for.
test_pressure() {
  up pressure '.linux.resources.cpu = {quota: 10000, period: 100000}' sleep 1000
  [[ -e $cg/cpu.pressure ]] || skip "this kernel keeps no count of pressure"
  rt events --interval 1h --pressure cpu:some:100ms:1s pressure > "$T/events" &
  local events=$!
  soon grep -q '"type":"stats"' "$T/events"
  rt exec --detach pressure sh -c 'while :; do :; done'
  rt exec --detach pressure sh -c 'while :; do :; done'
  soon grep -q '"type":"pressure"' "$T/events"
  eq "$(grep -m1 '"type":"pressure"' "$T/events" | jq -r '.data | "\(.resource) \(.kind) \(.stall)"')" "cpu some 100000" "event"
  rt delete --force pressure
  wait $events || fail "events ended with $?"
}

# A device opens exactly when the config allows it: before and after systemd reloads, before and after update.
try_loop='mknod /mnt/d c 10 237; (: < /mnt/d) 2>&1 && echo opened; rm -f /mnt/d'
test_device_after_reload() {
  only systemd
  up reload '.process.capabilities[] += ["CAP_MKNOD"] | .mounts += [{destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["dev"]}]
    | .linux.resources = {devices: [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 10, minor: 237, access: "rwm"}]}' sleep 1000
  bundle other '.linux.resources = {devices: [{allow: false, access: "rwm"}]} | .process.capabilities[] += ["CAP_MKNOD"]
    | .mounts += [{destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["dev"]}]' sleep 1000
  create other
  rt start other
  local step
  for step in "create" "daemon-reload" "update" "daemon-reload after update"; do
    case $step in
      daemon-reload*) systemctl daemon-reload ;;
      update) rt update --pids-limit 50 reload; rt update --pids-limit 50 other ;;
    esac
    eq "$(rt exec reload sh -c "$try_loop")" opened "the allowed device, after $step"
    has "$(rt exec other sh -c "$try_loop" || :)" "Operation not permitted" "the other container's device, after $step"
  done
}

# runs_with RUNTIME BYTES: whether a container with this memory limit runs /bin/true.
runs_with() {
  jq --argjson limit "$2" '.linux.resources.memory = {limit: $limit, swap: $limit}' "$T/small/config.json.all" > "$T/small/config.json"
  local name=small-$2 options=()
  [[ $variant != systemd ]] || options=(--systemd-cgroup)
  timeout 60 "$1" --root "$state_root" "${options[@]}" run --bundle "$T/small" "$name" > /dev/null 2>&1 < /dev/null
  local status=$?
  timeout 60 "$1" --root "$state_root" "${options[@]}" delete --force "$name" > /dev/null 2>&1
  return $status
}
# least RUNTIME: the smallest limit in KiB, by steps of 64, with which it runs three times in a row.
least() {
  local kib
  for ((kib = 64; kib <= 8192; kib += kib < 1024 ? 64 : 512)); do
    if runs_with "$1" $((kib * 1024)) && runs_with "$1" $((kib * 1024)) && runs_with "$1" $((kib * 1024)); then echo $kib; return; fi
  done
  echo "more than 8192"
}
# What a container costs of its own memory limit before its program runs: at most 256 KiB, less than with runc.
test_smallest_memory() {
  bundle small 'del(.linux.cgroupsPath)' /bin/true
  mv "$T/small/config.json" "$T/small/config.json.all"
  local ours; ours=$(least rt)
  note "least memory limit in KiB: rt $ours, runc $(least runc), crun $(least crun)"
  ((ours <= 256)) || fail "rt needs $ours KiB"
}

# Below that, creation fails in words: the kernel kills init, and not rt, whose memory init shares until it is executed.
test_too_little_memory() {
  local bytes # the kernel counts in pages
  for bytes in 1 4096 16384; do
    bundle tiny ".linux.resources = {memory: {limit: $bytes}}" /bin/true
    fails rt create --bundle "$T/tiny" tiny
    has "$out" "^rt create failed: .*memory limit too low?.* ($bytes|0) bytes" "error with $bytes bytes"
    fails rt state tiny
  done
}

# Programs that read runc's `events --stats` find the same keys in ours, and the same limits. Counters that are 0 are left out
# by both, what the kernel counts by itself differs from one moment to the next, and pressure is in runc since 1.2.
test_stats_as_runc() {
  local filter='.linux.resources = {memory: {limit: 67108864}, pids: {limit: 9}}' stats options=()
  [[ $variant != systemd ]] || options=(--systemd-cgroup)
  up ours "$filter" sleep 1000
  bundle theirs "$filter" sleep 1000
  runc --root "$T/runc" "${options[@]}" run --detach --bundle "$T/theirs" theirs > /dev/null 2>&1 < /dev/null
  stats=$(runc --root "$T/runc" "${options[@]}" events --stats theirs)
  runc --root "$T/runc" "${options[@]}" delete --force theirs
  local keys='[paths | map(select(type == "string")) | join("/")] | unique | map(select(test("raw|cache|failcnt|throttl|Recursive|/total$|periods|psi|hugetlb") | not)) | .[]'
  diff <(jq -r "$keys" <<< "$stats") <(rt events --stats ours | jq -r "$keys") || fail "keys differ: runc <, rt >"
  local limits='.data | "\(.memory.usage.limit) \(.pids.limit) \(.pids.current)"'
  eq "$(rt events --stats ours | jq -r "$limits")" "$(jq -r "$limits" <<< "$stats")" "limits"
}
