//! clone3(2): a child that runs one function on a stack of its own, usually until it executes the
//! stub. Where a seccomp profile around the runtime refuses it, clone(2).

use core::ffi::c_void;
use core::mem::MaybeUninit;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::raw::nr;

/// Flags of clone3(2), from linux/sched.h.
pub mod flags {
    #![allow(missing_docs)]
    pub const VM: u64 = 0x100;
    pub const FS: u64 = 0x200;
    pub const FILES: u64 = 0x400;
    pub const SIGHAND: u64 = 0x800;
    pub const PIDFD: u64 = 0x1000;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const THREAD: u64 = 0x1_0000;
    pub const SYSVSEM: u64 = 0x4_0000;
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub const INTO_CGROUP: u64 = 0x2_0000_0000;
}

/// `struct clone_args` as of Linux 5.7 (`CLONE_ARGS_SIZE_VER2`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const SIGCHLD: u64 = 17;

/// What the child runs. It must end in an exec or an exit.
pub type Entry = unsafe extern "C" fn(*mut c_void) -> !;

/// Starts a child that runs `entry(arg)` on `stack`, and returns its pid (in the caller's pid
/// namespace) and its pidfd.
///
/// `flags` get `PIDFD` added; `cgroup` (a cgroup v2 directory) adds `INTO_CGROUP` (Linux 5.7).
///
/// # Safety
/// With `VM` and without `VFORK` the child runs in the caller's memory at the same time: `stack`,
/// `arg` and all that `entry` reads must stay untouched until the child has executed another
/// program or is gone, and `entry` may not allocate, unwind or use thread-local storage.
pub unsafe fn spawn(
    flags: u64,
    cgroup: Option<i32>,
    stack: &mut [MaybeUninit<u8>],
    entry: Entry,
    arg: *mut c_void,
) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: flags | flags::PIDFD,
        pidfd: &raw mut pidfd as u64,
        // With PARENT the child ends with the same signal as the caller, and none may be given.
        exit_signal: if flags & flags::PARENT == 0 { SIGCHLD } else { 0 },
        ..CloneArgs::default()
    };
    (args.stack, args.stack_size) = aligned(stack);
    if let Some(fd) = cgroup {
        args.flags |= flags::INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    // SAFETY: `args` is a live clone_args of the size given; the contract on stack, entry and arg
    // is the caller's.
    let ret = unsafe { clone(&args, entry, arg) };
    if ret < 0 {
        return Err(Errno::from_raw_os_error(-ret as i32));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else
    // owns.
    Ok((ret as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Starts a thread of this process that runs `entry(arg)` on `stack`. Nobody waits for it.
///
/// # Safety
/// As [`spawn`] with `VM`: `stack` and what `entry` reads must stay until the thread has exited.
pub unsafe fn spawn_thread(stack: &mut [MaybeUninit<u8>], entry: Entry, arg: *mut c_void) -> Result<(), Errno> {
    let (base, size) = aligned(stack);
    let args = CloneArgs {
        flags: flags::VM | flags::FS | flags::FILES | flags::SIGHAND | flags::THREAD | flags::SYSVSEM,
        stack: base,
        stack_size: size,
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a live clone_args of the size given; the contract on stack, entry and arg
    // is the caller's.
    let ret = unsafe { clone(&args, entry, arg) };
    if ret < 0 {
        return Err(Errno::from_raw_os_error(-ret as i32));
    }
    Ok(())
}

/// The kernel starts the child at base + size; the ABI wants 16 bytes alignment there.
fn aligned(stack: &mut [MaybeUninit<u8>]) -> (u64, u64) {
    let start = stack.as_mut_ptr() as u64;
    let base = (start + 15) & !15;
    (base, (start + stack.len() as u64 - base) & !15)
}

/// clone3(2), or clone(2) where that is refused and can do the same. It knows no cgroup, and
/// nothing of signal handlers: the runtime's do nothing.
///
/// # Safety
/// As [`spawn`].
unsafe fn clone(args: &CloneArgs, entry: Entry, arg: *mut c_void) -> isize {
    let whole = [&raw const *args as usize, size_of::<CloneArgs>(), 0, 0, 0];
    // SAFETY: `args` is a live clone_args of the size given; the rest of the contract is handed on.
    let ret = unsafe { call(nr::CLONE3, whole, entry, arg) };
    let refused = [Errno::NOSYS, Errno::PERM].iter().any(|errno| ret == -(errno.raw_os_error() as isize));
    let flags = args.flags & !flags::CLEAR_SIGHAND;
    if !refused || flags >> 32 != 0 {
        return ret;
    }
    // The stack's upper end, and the pidfd in the place of a parent's tid; the others are not in
    // use.
    let parts =
        [(flags | args.exit_signal) as usize, (args.stack + args.stack_size) as usize, args.pidfd as usize, 0, 0];
    // SAFETY: the same arguments as clone(2) takes them; the contract is handed on.
    unsafe { call(nr::CLONE, parts, entry, arg) }
}

/// Makes the call, and in the child calls `entry(arg)`.
///
/// # Safety
/// As [`spawn`]; `args` are what the numbered call expects.
#[cfg(target_arch = "x86_64")]
unsafe fn call(nr: usize, args: [usize; 5], entry: Entry, arg: *mut c_void) -> isize {
    let ret: isize;
    // SAFETY: the child resumes after `syscall` with rax = 0 on its own, empty stack, calls
    // `entry`, which never returns; the parent falls through. r12 and r13 survive a system call.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") nr as isize => ret,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            in("r12") arg, in("r13") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}

/// Makes the call, and in the child calls `entry(arg)`.
///
/// # Safety
/// As [`spawn`]; `args` are what the numbered call expects.
#[cfg(target_arch = "aarch64")]
unsafe fn call(nr: usize, args: [usize; 5], entry: Entry, arg: *mut c_void) -> isize {
    let ret: isize;
    // SAFETY: the child resumes after `svc` with x0 = 0 on its own, empty stack, calls `entry`,
    // which never returns; the parent falls through. x20 and x21 survive a system call.
    unsafe {
        core::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "udf 0",
            "2:",
            in("x8") nr,
            inlateout("x0") args[0] => ret,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4],
            in("x20") arg, in("x21") entry,
        );
    }
    ret
}
