//! Hooks of the container's namespaces: createContainer and startContainer (runtime-spec, config.md
//! "POSIX-platform Hooks").

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;

use rt_protocol::op;
use rt_protocol::report::Step;
use rt_sys::clone::spawn;
use rt_sys::exec::exit;
use rt_sys::process::monotonic_millis;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SeekFrom, memfd_create, openat, seek};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, fchdir, getpid, pidfd_send_signal, umask as set_umask, waitid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::fail::{At, Fail};
use crate::program::exec_hook;

/// A hook, as it lies in the plan.
pub type Hook = op::Hook<&'static CStr, &'static [u8]>;

/// What the child of a hook needs.
struct Child<'a> {
    hook: &'a Hook,
    /// Its working directory; without one it is init's own.
    directory: Option<BorrowedFd<'a>>,
    /// The seccomp program and flags it runs under.
    filter: Option<(&'a [u8], u32)>,
    umask: Mode,
    stdin: &'a OwnedFd,
    output: &'a OwnedFd,
}

/// Runs the hook and waits for it. What it wrote last goes into the report of a failure.
#[inline(never)] // For its frame, see `main.rs`.
pub fn run(
    hook: &Hook,
    directory: Option<BorrowedFd<'_>>,
    filter: Option<(&[u8], u32)>,
    umask: Mode,
) -> Result<(), Fail> {
    let stdin = state_file(hook).at(Step::Source)?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = Child { hook, directory, filter, umask, stdin: &stdin, output: &writer };
    let mut stack = [MaybeUninit::uninit(); 32768];
    // SAFETY: without CLONE_VM the child runs on a copy of this memory; `start` ends in exec or
    // exit.
    let (_, pidfd) = unsafe { spawn(0, None, &mut stack, start, (&raw const child).cast_mut().cast()) }?;
    drop(writer);
    let mut output = Tail { bytes: [0; 480], len: 0 };
    let timed_out = await_exit(&pidfd, &reader, hook.timeout, &mut output)?;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).at(Step::Wait)?;
    let fail = |step, number: i32| Fail { step, errno: number as u32, detail: None }.with_detail(output.text());
    match status {
        _ if timed_out => Err(fail(Step::HookTimeout, hook.timeout.min(i32::MAX as u64) as i32)),
        Some(status) => match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(fail(Step::HookExit, code)),
            (None, signal) => Err(fail(Step::HookSignal, signal.unwrap_or(0))),
        },
        None => Err(Fail::new(Step::Wait, Errno::CHILD)),
    }
}

/// The state document with init's pid as init sees it, as a file: a file takes any size, and a hook
/// that does not read it blocks nothing.
fn state_file(hook: &Hook) -> Result<OwnedFd, Errno> {
    let file = match memfd_create(c"state", MemfdFlags::CLOEXEC) {
        Err(Errno::NOSYS | Errno::PERM) => {
            openat(CWD, c"/tmp", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?
        }
        other => other?,
    };
    match write_state(hook, &file) {
        // The program's limit on the size of files (RLIMIT_FSIZE) holds already. A pipe has none.
        Err(Errno::FBIG) => {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            write_state(hook, &writer)?;
            Ok(reader)
        }
        written => {
            written?;
            seek(&file, SeekFrom::Start(0))?;
            Ok(file)
        }
    }
}

fn write_state(hook: &Hook, to: &OwnedFd) -> Result<(), Errno> {
    let pid = rustix::path::DecInt::new(getpid().as_raw_nonzero().get());
    for part in [hook.state_head.0, pid.as_bytes(), hook.state_tail.0] {
        let mut rest = part;
        while !rest.is_empty() {
            let n = write(to, rest)?;
            rest = rest.get(n..).unwrap_or_default();
        }
    }
    Ok(())
}

unsafe extern "C" fn start(arg: *mut c_void) -> ! {
    // SAFETY: `run` passed a Child that outlives this copy of its memory.
    let child = unsafe { &*arg.cast::<Child<'_>>() };
    let wired = dup2_stdin(child.stdin)
        .and_then(|()| dup2_stdout(child.output))
        .and_then(|()| dup2_stderr(child.output))
        .and_then(|()| child.directory.map_or(Ok(()), |directory| fchdir(directory)));
    set_umask(child.umask);
    if wired.is_ok() && rt_sys::process::set_signal_mask(0).is_ok() {
        let errno = exec_hook(child.hook, child.filter);
        let _ = write(child.output, b"cannot execute: ");
        let _ = write(child.output, rt_sys::errno::text(errno).as_bytes());
    }
    exit(127)
}

/// The last bytes of an output.
struct Tail {
    bytes: [u8; 480],
    len: usize,
}

impl Tail {
    fn push(&mut self, new: &[u8]) {
        let new = &new[new.len().saturating_sub(self.bytes.len())..];
        let keep = self.len.min(self.bytes.len() - new.len());
        self.bytes.copy_within(self.len - keep..self.len, 0);
        self.bytes[keep..keep + new.len()].copy_from_slice(new);
        self.len = keep + new.len();
    }

    fn text(&self) -> &[u8] {
        let text = &self.bytes[..self.len];
        text.strip_suffix(b"\n").unwrap_or(text)
    }
}

/// Collects output until the hook is gone; kills it at the time-out and says so.
fn await_exit(pidfd: &OwnedFd, reader: &OwnedFd, timeout: u64, output: &mut Tail) -> Result<bool, Fail> {
    let deadline = monotonic_millis().saturating_add(timeout);
    let mut open = true;
    loop {
        let left = deadline.saturating_sub(monotonic_millis());
        let wait = Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as _ };
        let mut fds = [
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
        ];
        let fds = if open { &mut fds[..] } else { &mut fds[..1] };
        let ready = match poll(fds, (timeout > 0).then_some(&wait)) {
            Err(Errno::INTR) => continue,
            other => other.at(Step::Wait)?,
        };
        if ready == 0 {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
            return Ok(true);
        }
        let exited = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            let mut space = [0_u8; 512];
            match read(reader, &mut space) {
                Ok(0) | Err(_) => open = false,
                Ok(n) => output.push(&space[..n]),
            }
        } else if exited {
            return Ok(false);
        }
    }
}
