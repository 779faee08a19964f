//! execveat(2) and exit(2) for children that must not touch a C library.

use core::ffi::{CStr, c_char};

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall3, syscall5};

const AT_EMPTY_PATH: usize = 0x1000;

/// Executes the program open as `fd`. Returns only on failure.
///
/// # Safety
/// `argv` and `envp` must be NULL-terminated arrays of NUL-terminated strings.
pub unsafe fn fexecve(fd: BorrowedFd<'_>, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    // SAFETY: the empty path is a valid string; the arrays are the caller's promise.
    let r = unsafe {
        syscall5(
            nr::EXECVEAT,
            fd.as_raw_fd() as usize,
            c"".as_ptr() as usize,
            argv as usize,
            envp as usize,
            AT_EMPTY_PATH,
        )
    };
    r.err().unwrap_or(Errno::INVAL)
}

/// Executes the program at `path`, looked up in the caller's root. Returns only on failure.
///
/// By execve(2) and not execveat(2): seccomp profiles that list what a program needs have only the
/// former.
///
/// # Safety
/// `argv` and `envp` must be NULL-terminated arrays of NUL-terminated strings.
pub unsafe fn execve(path: &CStr, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    // SAFETY: `path` is a valid string; the arrays are the caller's promise.
    let r = unsafe { syscall3(nr::EXECVE, path.as_ptr() as usize, argv as usize, envp as usize) };
    r.err().unwrap_or(Errno::INVAL)
}

/// Ends the calling process without running anything of the C library; by SIGILL where a seccomp
/// filter forbids to exit.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit(2) takes one integer; it returns only if a filter made it fail.
    let _ = unsafe { syscall3(nr::FORK_EXIT, code as usize, 0, 0) };
    // SAFETY: an illegal instruction ends the process, the first of a pid namespace too, and needs
    // no system call.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2", options(noreturn, nomem, nostack));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("udf #0", options(noreturn, nomem, nostack));
    }
}
