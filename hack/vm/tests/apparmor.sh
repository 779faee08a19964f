# AppArmor, which the development host lacks: rt puts the program under the profile, at the moment it is executed.
. "$here/oci-lib.sh"
eval "$(declare -f setup | sed '1s/setup/oci_setup/')"

setup() {
  oci_setup
  local name
  for name in rt-test rt-test-exec; do
    cat <<EOF | apparmor_parser -r
profile $name flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, unix, mount, umount, pivot_root,
  deny /etc/passwd r,
}
EOF
  done
}
teardown() { apparmor_parser -R <<< 'profile rt-test {} profile rt-test-exec {}'; }

test_confined() {
  bundle aa '.process.apparmorProfile = "rt-test"' sh -c 'cat /proc/self/attr/current; cat /etc/passwd; cat /etc/group | wc -l'
  rt run --bundle "$T/aa" aa > "$T/out" 2>&1 || fail "$(cat "$T/out")"
  eq "$(head -1 "$T/out")" "rt-test (enforce)" profile
  has "$(cat "$T/out")" "/etc/passwd.*Permission denied" "what the profile denies"
}

# The new label holds with no_new_privs, too.
test_confined_with_no_new_privileges() {
  bundle nnp '.process.apparmorProfile = "rt-test" | .process.noNewPrivileges = true' cat /proc/self/attr/current
  status 0 rt run --bundle "$T/nnp" nnp
  eq "$out" "rt-test (enforce)" profile
}

# exec: the container's profile, or the one that was asked for.
test_exec() {
  up aax '.process.apparmorProfile = "rt-test"' sleep 1000
  eq "$(rt exec aax cat /proc/self/attr/current)" "rt-test (enforce)" "profile of exec"
  eq "$(rt exec --apparmor rt-test-exec aax cat /proc/self/attr/current)" "rt-test-exec (enforce)" "profile of exec --apparmor"
}

test_missing_profile() {
  bundle miss '.process.apparmorProfile = "no-such-profile"' true
  fails rt run --bundle "$T/miss" miss
  has "$out" no-such-profile message
}
