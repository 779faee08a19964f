//! The child between clone3 and the stub. It shares the parent's memory, so it only makes system
//! calls.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use rt_protocol::flags::namespace;
use rt_protocol::greeting::Greeting;
use rt_protocol::report::{Kind, Report, Step};
use rt_sys::clone::spawn;
use rt_sys::exec::{exit, fexecve};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr, write};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, UnshareFlags, capabilities, move_into_thread_name_spaces, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};

/// The report's op index for failures before the stub runs; `Step` and the number below say which
/// failure it was.
pub const BEFORE_STUB: u32 = u32::MAX;

/// The report's op index for the first namespace to be joined; the others follow.
pub const FIRST_JOIN: u32 = 1 << 31;

/// Everything the child needs, made by the parent beforehand.
pub struct Child<'a> {
    /// Namespaces to join: descriptors and CLONE_NEW* (a pidfd takes several at once).
    pub joins: &'a [(BorrowedFd<'a>, u64)],
    /// The cgroup namespace that the second process joins when it is in its cgroup.
    pub last_cgroup_namespace: Option<BorrowedFd<'a>>,
    /// The flags and the cgroup of the second process, which runs the stub, if joining namespaces
    /// takes a process of its own.
    pub second: Option<Second<'a>>,
    /// Wait for a byte on `socket`: the id maps of the new user namespace, or its cgroup, are being
    /// made.
    pub await_maps: bool,
    /// Become user and group 0 of the user namespace.
    pub become_root: bool,
    /// Lines for /proc/self/timens_offsets. They are written while /proc still shows the process as
    /// the caller's.
    pub time_offsets: Option<&'a [u8]>,
    /// The child's end of the report socket.
    pub socket: BorrowedFd<'a>,
    /// The stub and its arguments.
    pub stub: BorrowedFd<'a>,
    /// NULL-terminated arguments.
    pub argv: *const *const c_char,
}

/// The process made inside the joined namespaces.
pub struct Second<'a> {
    /// Flags of clone3.
    pub flags: u64,
    /// The cgroup v2 directory it starts in.
    pub cgroup: Option<i32>,
    /// Its stack.
    pub stack: &'a mut [MaybeUninit<u8>],
    /// Its pid and pidfd, or why there is none.
    pub result: Option<Result<(i32, OwnedFd), Errno>>,
}

/// Runs in the first process.
///
/// # Safety
/// `arg` must point to a [`Child`] that stays untouched by the parent until this process has
/// executed the stub or ended.
pub unsafe extern "C" fn first(arg: *mut c_void) -> ! {
    // SAFETY: the contract above.
    let child = unsafe { &mut *arg.cast::<Child<'_>>() };
    // Namespaces that the joined user namespace does not own need the rights of the caller, so they
    // are joined first. Those that it owns may need its rights, which come with joining it, so they
    // are joined last.
    let mut refused = 0_u32;
    for (i, (fd, kinds)) in child.joins.iter().enumerate() {
        match join(*fd, *kinds) {
            Ok(()) => {}
            Err(Errno::PERM) if i < 32 && i + 1 < child.joins.len() => refused |= 1 << i,
            Err(errno) => fail_join(child, i, errno),
        }
    }
    for (i, (fd, kinds)) in child.joins.iter().enumerate().filter(|(i, _)| *i < 32) {
        if refused >> i & 1 == 1
            && let Err(errno) = join(*fd, *kinds)
        {
            fail_join(child, i, errno);
        }
    }
    let Some(second) = &mut child.second else { run_stub(child) };
    // SAFETY: the second process gets a stack of its own. The parent waits for the end of the first
    // process, and from here on the first process changes nothing in `child` but `result`, which
    // only the parent reads.
    let made = unsafe { spawn(second.flags, second.cgroup, second.stack, self::second, arg) };
    second.result = Some(made);
    exit(0)
}

unsafe extern "C" fn second(arg: *mut c_void) -> ! {
    // SAFETY: the same object, under the same contract; `first` does not write what is read here.
    run_stub(unsafe { &*arg.cast::<Child<'_>>() })
}

/// The process becomes root of the user namespace first, because rights over the other namespaces
/// may come from that.
fn join(fd: BorrowedFd<'_>, kinds: u64) -> Result<(), Errno> {
    move_into_thread_name_spaces(fd, ThreadNameSpaceType::from_bits_retain(kinds as u32))?;
    if kinds & namespace::NEWUSER != 0 {
        become_root()?;
    }
    Ok(())
}

fn become_root() -> Result<(), Errno> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    match set_thread_groups(&[]) {
        // setgroups(2) is denied in this user namespace; the groups that remain are the caller's,
        // and cannot be dropped.
        Ok(()) | Err(Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Makes a new time namespace, which the process enters later, and sets its clocks
/// (time_namespaces(7)).
fn set_time_offsets(text: &[u8]) -> Result<(), Errno> {
    // SAFETY: CLONE_NEWTIME affects later children only; memory, descriptors and the file system
    // context are not unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWTIME) }?;
    let file = openat(CWD, c"/proc/self/timens_offsets", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, text).map(drop)
}

fn run_stub(child: &Child<'_>) -> ! {
    if child.await_maps {
        let mut go = [0_u8; 1];
        let received = retry_on_intr(|| recv(child.socket, &mut go[..], RecvFlags::empty()));
        if received.is_err() || !Greeting::MapsWritten.begins(&go) {
            exit(255);
        }
    }
    if let Some(fd) = child.last_cgroup_namespace
        && let Err(errno) = move_into_thread_name_spaces(fd, ThreadNameSpaceType::CONTROL_GROUP)
    {
        fail(child, Step::Source, errno);
    }
    if let Some(text) = child.time_offsets
        && let Err(errno) = set_time_offsets(text)
    {
        fail(child, Step::Write, errno);
    }
    if child.become_root
        && let Err(errno) = become_root()
    {
        fail(child, Step::Idmap, errno);
    }
    // Without these capabilities the execute-only stub is unreadable even to root, so the kernel
    // keeps the process untraceable from its first instruction (would_dump in fs/exec.c). execve(2)
    // gives root its capabilities back.
    if let Ok(mut sets) = capabilities(None) {
        sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        let _ = set_capabilities(None, sets);
    }
    let no_environment: [*const c_char; 1] = [std::ptr::null()];
    // SAFETY: both arrays are NULL-terminated, and the parent keeps what they point to.
    let errno = unsafe { fexecve(child.stub, child.argv, no_environment.as_ptr()) };
    fail(child, Step::LoadPlan, errno)
}

/// Reports which of the namespaces could not be joined, in place of an op.
fn fail_join(child: &Child<'_>, index: usize, errno: Errno) -> ! {
    fail_at(child, FIRST_JOIN.saturating_add(index as u32), Step::Source, errno)
}

fn fail(child: &Child<'_>, step: Step, errno: Errno) -> ! {
    fail_at(child, BEFORE_STUB, step, errno)
}

fn fail_at(child: &Child<'_>, op: u32, step: Step, errno: Errno) -> ! {
    let report = Report { kind: Kind::Failed, op, step, errno: errno.raw_os_error() as u32 };
    let _ = send(child.socket.as_fd(), &report.encode(), SendFlags::NOSIGNAL);
    exit(255)
}
