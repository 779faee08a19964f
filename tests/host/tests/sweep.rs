//! A sample of `hack/sweep`: whenever the runtime or its init dies, and whatever call fails,
//! nothing is left.

use std::process::Command;

use rt_tests::{done, need, need_host, need_shim};

/// Strikes at one call in a few of each command; the steps are primes, so as not to keep pace with
/// a loop.
fn sweep(options: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
    command.args(options);
    let done = done(command);
    assert_eq!(done.code, 0, "sweep {options:?}:\n{}{}", done.out, done.err);
}

/// Engines that time out kill the runtime, at any moment.
#[test]
fn a_killed_runtime_leaves_nothing() {
    need_host!();
    sweep(&["--every", "23"]);
}

/// The kernel's out-of-memory killer may take init before it is the container's program.
#[test]
fn a_killed_init_leaves_nothing() {
    need_host!();
    sweep(&["--every", "31", "--init"]);
}

/// rt's shim, its start and its server: whenever they die, containerd's `delete` leaves nothing.
#[test]
fn a_killed_shim_leaves_nothing() {
    need_host!();
    need_shim!();
    sweep(&["--shim", "--every", "7"]);
    sweep(&["--shim", "--init", "--every", "23"]);
}

/// The same for what CRIU works on meanwhile: a container that is saved runs on, or has ended.
#[test]
fn a_killed_or_failed_checkpoint_leaves_nothing() {
    need_host!();
    need!(std::env::var_os("RT_CRIU").is_some(), "needs RT_CRIU");
    sweep(&["--every", "7", "checkpoint", "restore"]);
    sweep(&["--every", "23", "--fail", "checkpoint", "restore"]);
}

/// A failed call is one clear error, or makes no difference, and leaves nothing.
#[test]
fn a_failed_call_is_one_error() {
    need_host!();
    sweep(&["--every", "23", "--fail"]);
    sweep(&["--every", "31", "--fail", "--init"]);
}
