//! The `syscall` instruction itself. Everything else in this crate is a typed wrapper over these.

use rustix::io::Errno;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("rt knows the system call convention of x86_64 and aarch64 only");

/// Turns the kernel's return value into a result: -4095..=-1 is an errno.
fn check(ret: usize) -> Result<usize, Errno> {
    if ret > usize::MAX - 4095 { Err(Errno::from_raw_os_error((ret as isize).unsigned_abs() as i32)) } else { Ok(ret) }
}

/// A system call with six arguments.
///
/// # Safety
/// The arguments must be what the numbered call expects; pointers must be valid for it.
#[inline]
pub unsafe fn syscall6(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> Result<usize, Errno> {
    let ret: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's x86_64 convention; it clobbers rcx and r11 only. The caller vouches for
    // the arguments.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") nr => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's aarch64 convention; it clobbers x0 only. The caller vouches for the
    // arguments.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") a => ret,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    check(ret)
}

/// A system call with three arguments.
///
/// # Safety
/// As [`syscall6`].
#[inline]
pub unsafe fn syscall3(nr: usize, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: forwarded contract; the kernel ignores arguments that the call does not take.
    unsafe { syscall6(nr, a, b, c, 0, 0, 0) }
}

/// A system call with five arguments.
///
/// # Safety
/// As [`syscall6`].
#[inline]
pub unsafe fn syscall5(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> Result<usize, Errno> {
    // SAFETY: forwarded contract; the kernel ignores arguments that the call does not take.
    unsafe { syscall6(nr, a, b, c, d, e, 0) }
}

/// Numbers of the system calls wrapped in this crate (asm/unistd_64.h, asm-generic/unistd.h).
#[cfg(target_arch = "x86_64")]
pub mod nr {
    #![allow(missing_docs)]
    pub const SENDMSG: usize = 46;
    pub const EXECVE: usize = 59;
    pub const FORK_EXIT: usize = 60;
    pub const PERSONALITY: usize = 135;
    pub const SET_MEMPOLICY: usize = 238;
    pub const KEYCTL: usize = 250;
    pub const IOPRIO_SET: usize = 251;
    pub const SCHED_SETATTR: usize = 314;
    pub const SECCOMP: usize = 317;
    pub const BPF: usize = 321;
    pub const EXECVEAT: usize = 322;
    pub const CLONE: usize = 56;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const MOUNT_SETATTR: usize = 442;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const GETCWD: usize = 79;
    pub const SIGNALFD4: usize = 289;
    pub const CLOCK_GETTIME: usize = 228;
    pub const IOCTL: usize = 16;
    pub const SCHED_SETAFFINITY: usize = 203;
}

/// Numbers of the system calls wrapped in this crate (asm/unistd_64.h, asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
pub mod nr {
    #![allow(missing_docs)]
    pub const SENDMSG: usize = 211;
    pub const EXECVE: usize = 221;
    pub const FORK_EXIT: usize = 93;
    pub const PERSONALITY: usize = 92;
    pub const SET_MEMPOLICY: usize = 237;
    pub const KEYCTL: usize = 219;
    pub const IOPRIO_SET: usize = 30;
    pub const SCHED_SETATTR: usize = 274;
    pub const SECCOMP: usize = 277;
    pub const BPF: usize = 280;
    pub const EXECVEAT: usize = 281;
    pub const CLONE: usize = 220;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const MOUNT_SETATTR: usize = 442;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const GETCWD: usize = 17;
    pub const SIGNALFD4: usize = 74;
    pub const CLOCK_GETTIME: usize = 113;
    pub const IOCTL: usize = 29;
    pub const SCHED_SETAFFINITY: usize = 122;
}
