# The OCI validation suite, where it has been built: an executable "run" in target/oci-validation, which takes the runtime's
# path and ends with an error when it finds an unexpected one.

test_suite() {
  [[ -x $host/oci-validation/run ]] || skip "target/oci-validation has not been built"
  "$host/oci-validation/run" /usr/local/bin/rt
}
