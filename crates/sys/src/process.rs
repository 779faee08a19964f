//! Attributes of the calling process that rustix and nix do not set.

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, FdFlags, close, fcntl_getfd, fcntl_setfd};
use rustix::process::{Resource, getrlimit};

use crate::raw::{nr, syscall3, syscall5};

/// Marks every descriptor from `first` up to `last` close-on-exec (close_range(2), Linux 5.11), or
/// closes it.
pub fn close_range(first: u32, last: u32, cloexec_only: bool) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 1 << 2;
    let flags = if cloexec_only { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: three integers. Descriptors owned by types elsewhere stay valid with the CLOEXEC
    // form; the closing form is for callers that own nothing in the range.
    match unsafe { syscall3(nr::CLOSE_RANGE, first as usize, last as usize, flags) } {
        // A seccomp profile around the runtime that is older than the call.
        Err(Errno::NOSYS | Errno::PERM) => close_each(first, last, cloexec_only),
        other => other.map(drop),
    }
}

/// What close_range(2) does, number by number, up to the highest that the hard limit of open files
/// allows.
#[cold]
fn close_each(first: u32, last: u32, cloexec_only: bool) -> Result<(), Errno> {
    /// The kernel's own limit for all processes, unless it was raised (fs.nr_open).
    const MOST: u64 = 1 << 20;
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(MOST).clamp(1 << 12, MOST);
    for number in first..=last.min(most as u32) {
        // SAFETY: only asked for its flags or closed, by the contract of `close_range`; a number
        // without a file gives EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number as i32) };
        if !cloexec_only {
            // SAFETY: the caller owns nothing in the range.
            unsafe { close(number as i32) };
        } else if fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

/// Sets the execution domain (personality(2)).
pub fn personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: one integer.
    unsafe { syscall3(nr::PERSONALITY, persona as usize, 0, 0) }.map(drop)
}

/// Blocks exactly the signals in `mask` (bit n-1 is signal n) for the calling thread.
pub fn set_signal_mask(mask: u64) -> Result<(), Errno> {
    const SIG_SETMASK: usize = 2;
    // SAFETY: `mask` is a live signal set of the 8 bytes said; no old set is asked for.
    unsafe { syscall5(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const mask as usize, 0, size_of::<u64>(), 0) }.map(drop)
}

/// A descriptor that becomes readable when a blocked signal of `mask` is pending (signalfd(2));
/// each read gives 128 bytes, the first four of which are the signal's number.
pub fn signal_fd(mask: u64) -> Result<OwnedFd, Errno> {
    const SFD_CLOEXEC: usize = 0o2_000_000;
    // SAFETY: -1 asks for a new descriptor; `mask` is a live signal set of the 8 bytes said.
    let fd =
        unsafe { syscall5(nr::SIGNALFD4, usize::MAX, &raw const mask as usize, size_of::<u64>(), SFD_CLOEXEC, 0) }?;
    // SAFETY: the call made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Milliseconds of CLOCK_MONOTONIC.
pub fn monotonic_millis() -> u64 {
    monotonic_nanos() / 1_000_000
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_nanos() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let (seconds, nanos) = clock(CLOCK_MONOTONIC);
    seconds * 1_000_000_000 + u64::from(nanos)
}

/// Seconds and nanoseconds since 1970 (CLOCK_REALTIME).
pub fn since_1970() -> (u64, u32) {
    const CLOCK_REALTIME: usize = 0;
    clock(CLOCK_REALTIME)
}

/// Reads a clock by the system call: init has no vDSO lookup, and to a command that asks once the
/// lookup costs more.
fn clock(clock: usize) -> (u64, u32) {
    let mut time = [0_i64; 2];
    // SAFETY: `time` is a live timespec (two longs). With a valid clock the call cannot fail.
    let _ = unsafe { syscall3(nr::CLOCK_GETTIME, clock, time.as_mut_ptr() as usize, 0) };
    (time[0] as u64, time[1] as u32)
}

/// Reads the working directory into `buffer`, NUL included, and returns its length without the NUL.
///
/// A directory outside the caller's root reads as `(unreachable)…` (getcwd(2)).
pub fn working_directory(buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `buffer` is live for writing of the length said.
    let len = unsafe { syscall3(nr::GETCWD, buffer.as_mut_ptr() as usize, buffer.len(), 0) }?;
    Ok(len.saturating_sub(1))
}

/// Binds the calling thread to the CPUs in `mask`, 64 CPUs a word (sched_setaffinity(2)).
pub fn set_affinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: `mask` is live and of the length said.
    unsafe { syscall3(nr::SCHED_SETAFFINITY, 0, size_of_val(mask), mask.as_ptr() as usize) }.map(drop)
}

/// `struct sched_attr` without the utilisation clamps (`SCHED_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of sched_setattr(2)
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Sets the scheduling policy of the calling thread (sched_setattr(2)).
pub fn set_scheduler(attr: &SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: `attr` is live and says its own size.
    unsafe { syscall3(nr::SCHED_SETATTR, 0, &raw const attr as usize, 0) }.map(drop)
}

/// Sets the I/O priority of the calling process (ioprio_set(2)); `value` is class << 13 | level.
pub fn set_io_priority(value: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: usize = 1;
    // SAFETY: three integers.
    unsafe { syscall3(nr::IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, value as usize) }.map(drop)
}

/// Sets the NUMA policy of the calling thread (set_mempolicy(2)); bit n of `nodes` is node n.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel reads one bit less than the count says (get_nodes in mm/mempolicy.c): to pass no
    // nodes, one bit is named, not none.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: `nodes` is live and holds the bits said, rounded to longs.
    unsafe { syscall3(nr::SET_MEMPOLICY, mode as usize, nodes.as_ptr() as usize, bits) }.map(drop)
}

/// Joins a session keyring named `name`, creating it if need be (keyctl(2)
/// KEYCTL_JOIN_SESSION_KEYRING).
pub fn join_session_keyring(name: &CStr) -> Result<i32, Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: an operation number and a string.
    unsafe { syscall3(nr::KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr() as usize, 0) }.map(|serial| serial as i32)
}

/// Sets the permission mask of `key` (keyctl(2) KEYCTL_SETPERM).
pub fn set_key_permissions(key: i32, mask: u32) -> Result<(), Errno> {
    const KEYCTL_SETPERM: usize = 5;
    // SAFETY: three integers.
    unsafe { syscall3(nr::KEYCTL, KEYCTL_SETPERM, key as usize, mask as usize) }.map(drop)
}

/// The number of a pseudo-terminal's slave, N of /dev/pts/N (ioctl_tty(2) TIOCGPTN).
pub fn pty_number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    const TIOCGPTN: usize = 0x8004_5430;
    let mut number: u32 = 0;
    // SAFETY: TIOCGPTN writes one unsigned int, which is live.
    unsafe { syscall3(nr::IOCTL, master.as_raw_fd() as usize, TIOCGPTN, &raw mut number as usize) }?;
    Ok(number)
}

/// The resource behind a number of setrlimit(2) (RLIMIT_*).
pub fn resource(number: u32) -> Option<Resource> {
    const RESOURCES: [Resource; 16] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    RESOURCES.get(number as usize).copied()
}
