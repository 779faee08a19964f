# conmon with rt, in the way in which CRI-O runs it: what CRI-O needs of a runtime, without CRI-O, which Debian does not have.
. "$here/oci-lib.sh"

# crio ID OPTION...: as CRI-O's runtime_oci.go calls it. Sets $out to the messages of the sync pipe.
crio() {
  local id=$1; shift
  python3 "$here/conmon.py" run -b "$T/$id" -c "$id" -n "$id" -u "$id" -r /usr/local/bin/rt -l "$T/$id/log" \
    --exit-dir "$T/exits" --socket-dir-path "$T/s" --persist-dir "$T/$id" -P "$T/$id/conmon.pid" --log-level info \
    --runtime-arg "--root=$state_root" -s "$@" > "$T/said" 2>&1
  out=$(cat "$T/said")
}
# made ID: creates and starts it.
made() {
  local id=$1; shift
  mkdir -p "$T/exits" "$T/s"
  crio "$id" -p "$T/$id/pidfile" "$@"
  pid=$(cat "$T/$id/pidfile" 2> /dev/null) || fail "no pid file: $out"
  eq "$out" "{\"pid\": $pid}|{\"pid\":$pid}" "what conmon says of create"
}

# create and start, the log in CRI's format, the attach socket, and the exit file that CRI-O watches.
test_create_attach_exit() {
  bundle life . sh -c 'read line; echo "got $line"; echo err >&2; exit 7'
  made life -i
  state_is life created
  rt start life
  has "$(python3 "$here/conmon.py" attach "$T/s/life/attach" hello)" '^2 got hello$' "what attach shows"
  soon test -e "$T/exits/life"
  eq "$(cat "$T/exits/life")" 7 "exit file"
  has "$(cat "$T/life/log")" '^[^ ]+ stdout F got hello$' log
  has "$(cat "$T/life/log")" '^[^ ]+ stderr F err$' log
  state_is life stopped
  rt delete life
}

# A terminal goes to conmon by the console socket.
test_terminal() {
  bundle term '.process.terminal = true' tty
  made term -t
  rt start term
  soon test -e "$T/exits/term"
  has "$(tr -d '\r' < "$T/term/log")" 'stdout [FP] /dev/pts/0$' log
  eq "$(cat "$T/exits/term")" 0 "exit file"
}

# Exec by conmon: its exit status over the sync pipe, its output in a log, and an error that names the cause, without a pid file.
test_exec() {
  bundle ex . sleep 1000
  made ex
  rt start ex
  jq '.process | .args = ["sh", "-c", "echo inside; exit 9"]' "$T/ex/config.json" > "$T/process.json"
  crio ex -e -p "$T/exec.pid" -l "$T/exec.log" --exec-process-spec "$T/process.json"
  has "$out" '"exit_code": ?9' "what conmon says of exec"
  has "$(cat "$T/exec.log")" 'stdout F inside$' "log of exec"
  jq '.process | .args = ["nosuch"]' "$T/ex/config.json" > "$T/process.json"
  crio ex -e -p "$T/failed.pid" -l "$T/exec.log" --exec-process-spec "$T/process.json"
  has "$out" '"exit_code": ?-1' "what conmon says of an exec that fails"
  has "$out" 'exec failed: exec: .*nosuch.*: executable file not found in \$PATH' "the cause"
  [[ ! -e $T/failed.pid ]] || fail "an exec that failed has a pid file"
  # What CRI-O calls itself: exec with an exit status, and signals by number.
  jq '.process | .args = ["sh", "-c", "exit 5"]' "$T/ex/config.json" > "$T/process.json"
  status 5 rt exec --process "$T/process.json" ex
  rt kill ex 9
  soon test -e "$T/exits/ex"
  eq "$(cat "$T/exits/ex")" 137 "exit file"
  # CRI-O looks for these words, to take the container for gone.
  fails rt kill ex 15
  has "$out" "container not running|no such process" "kill of what has ended"
}

# A container that cannot be made: conmon hands rt's error to CRI-O, and nothing is left of it.
test_broken() {
  bundle broken '.mounts += [{destination: "/data", type: "bind", source: "/no/such", options: ["rbind"]}]' true
  mkdir -p "$T/exits" "$T/s"
  crio broken -p "$T/broken/pidfile" || :
  has "$out" '"pid": ?-1' "what conmon says of create"
  has "$out" 'rt create failed: /mounts/[0-9]+: bind mount of .*/no/such.* on .*/data.*: open the source: no such file or directory' "the cause"
  fails rt state broken
}
