//! seccomp(2): attaching a filter program.

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall3};

/// Asks for a descriptor on which system calls are notified (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
pub const NEW_LISTENER: u32 = 1 << 3;

/// Filters all threads of the process (`SECCOMP_FILTER_FLAG_TSYNC`).
pub const TSYNC: u32 = 1 << 0;

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const u8,
}

/// Attaches `program`, a sequence of 8-byte `struct sock_filter`, to the calling thread.
///
/// Needs CAP_SYS_ADMIN or no_new_privs. Returns the listener if `flags` has [`NEW_LISTENER`].
/// EINVAL: no program, longer than 65535 instructions, or refused by the kernel's checker.
pub fn attach(program: &[u8], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    if program.is_empty() || !program.len().is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let prog = Program { len: u16::try_from(program.len() / 8).map_err(|_| Errno::INVAL)?, filter: program.as_ptr() };
    // SAFETY: `prog` and the instructions it points to are live; the kernel copies them.
    let ret = unsafe { syscall3(nr::SECCOMP, SECCOMP_SET_MODE_FILTER, flags as usize, &raw const prog as usize) }?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the return value is a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(ret as i32) }))
}
