//! The system calls that the shim makes by itself, because no safe function does.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rt_sys::process::set_signal_mask;
use rustix::process::{Pid, Signal, set_parent_process_death_signal};

use crate::error::{Context, Error};

/// Makes a child that goes on here with a copy of everything; `None` in the child.
pub fn fork() -> Result<Option<Pid>, Error> {
    // SAFETY: the shim has no second thread when it calls this, so that the child has all that its
    // copy of the memory speaks of.
    let forked = unsafe { nix::unistd::fork() }.doing("fork the server")?;
    Ok(match forked {
        nix::unistd::ForkResult::Parent { child } => Pid::from_raw(child.as_raw()),
        nix::unistd::ForkResult::Child => None,
    })
}

/// The life of a child whose only use is its user namespace: it says on `ready` when it has one, and
/// ends when the other side of `wait` does.
pub fn idle_in_a_user_namespace(ready: &OwnedFd, wait: &OwnedFd) -> ! {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_ok() {
        let _ = rustix::io::write(ready, &[1]);
        let _ = rustix::io::read(wait, &mut [0_u8; 1]);
    }
    rt_sys::exec::exit(0)
}

/// Has the kernel kill the command when the shim is killed: a `create` must not go on while the
/// shim's `delete` cleans up. The signals that the shim takes from a descriptor are not blocked in
/// the command.
pub fn end_with_the_shim(command: &mut Command) {
    let before_exec = || {
        set_signal_mask(0)?;
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
    };
    // SAFETY: the closure makes system calls between fork and exec, and touches no memory.
    unsafe { command.pre_exec(before_exec) };
}

/// Gives the command these descriptors as 3, 4 and 5.
pub fn pass_from_3(command: &mut Command, fds: [OwnedFd; 3]) {
    let before_exec = move || {
        set_signal_mask(0)?;
        // None of them may lie where another one goes.
        let mut above = [None, None, None];
        for (fd, above) in fds.iter().zip(&mut above) {
            *above = Some(rustix::io::fcntl_dupfd_cloexec(fd, 6)?);
        }
        for (number, fd) in (3..).zip(above.iter().flatten()) {
            // SAFETY: the child executes a program next, so nothing else of it uses these numbers.
            let mut place = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
            rustix::io::dup2(fd, &mut place)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls between fork and exec, and allocates nothing.
    unsafe { command.pre_exec(before_exec) };
}

/// Gives the process and its later children a core-scheduling cookie of their own (prctl(2),
/// PR_SCHED_CORE_CREATE for the process group).
pub fn own_core_scheduling_group() -> Result<(), Error> {
    const PR_SCHED_CORE: i32 = 62;
    const CREATE: usize = 1;
    const PROCESS_GROUP: usize = 2;
    // SAFETY: numbers only; the address that the fifth argument would be is none.
    let done = unsafe { nix::libc::prctl(PR_SCHED_CORE, CREATE, 0_usize, PROCESS_GROUP, 0_usize) };
    nix::errno::Errno::result(done).map(drop).doing("make a core-scheduling group")
}
