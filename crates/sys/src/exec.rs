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
/// # Safety
/// `argv` and `envp` must be NULL-terminated arrays of NUL-terminated strings.
pub unsafe fn execve(path: &CStr, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    const AT_FDCWD: usize = -100_isize as usize;
    // SAFETY: `path` is a valid string; the arrays are the caller's promise.
    let r = unsafe { syscall5(nr::EXECVEAT, AT_FDCWD, path.as_ptr() as usize, argv as usize, envp as usize, 0) };
    r.err().unwrap_or(Errno::INVAL)
}

/// Ends the calling process without running anything of the C library.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit(2) takes one integer and does not return.
        let _ = unsafe { syscall3(nr::FORK_EXIT, code as usize, 0, 0) };
    }
}
