//! A sample of `hack/soak`. It counts what the host has, so it runs alone (.config/nextest.toml).

use std::process::Command;

use rt_tests::{done, need_host};

/// What thousands of containers would pile up shows after a few hundred.
#[test]
fn many_containers_leave_the_host_as_it_was() {
    need_host!();
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(["--cycles", "300", "--at-once", "40"]);
    let done = done(command);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
}
