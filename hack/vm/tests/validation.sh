# The OCI validation suite on cgroup v2, under systemd, with rt's cgroupfs driver; hack/vm/test has it built on the host.
# What only knows cgroup v1 is left out: that it fails on v2 with every runtime, tests/oci-validation/run --unified shows.
# In parts, for the time limit of a test.

suite=/var/tmp/oci-validation

setup() {
  # Programs that run from the shared directory crash: now and then a page that is mapped from there is not the file's.
  cp -r "$host/oci-validation" $suite
}
teardown() { rm -rf $suite; }

# programs PATTERN: the suite's programs whose names match (with -v: do not).
programs() { find $suite/suite/programs -type f -printf '%f\n' | grep -E ${2-} -- "$1" | sort; }
run() {
  local list
  list=$(programs "$@")
  [[ $list ]]
  # shellcheck disable=SC2086 # names without spaces
  $suite/run --runtime /usr/local/bin/rt --suite $suite/suite --brief $list
}

test_linux() { run '^linux_'; }
test_hooks() { run '^(hooks|prestart|poststart|poststop)'; }
test_lifecycle() { run '^(config|create|delete|kill|pidfile|start|state)'; }
# Their names, process_user or mounts, have nothing else in common.
test_process() { run '^(linux_|hooks|prestart|poststart|poststop|config|create|delete|kill|pidfile|start|state)' -v; }
