//! Hooks of the runtime's namespace: prestart, createRuntime, poststart, poststop.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use rt_plan::spec::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::WaitIdStatus;

use super::LaunchError;
use super::launched::interrupted;
use crate::host::command::{HostCommand, Running, failure};

/// Hooks of one kind, and what they get.
pub struct HookRun<'a> {
    /// The kind, as in config.json.
    pub kind: &'static str,
    /// The hooks, in order.
    pub hooks: &'a [Hook<'a>],
    /// The state document for standard input.
    pub state: &'a [u8],
    /// The working directory: the bundle.
    pub directory: &'a std::path::Path,
    /// Becomes readable when the hooks are to end (signalfd(2)).
    pub interrupt: Option<&'a OwnedFd>,
}

/// Why a hook failed.
enum Failed {
    /// The hook did.
    Hook(String),
    /// The runtime was asked to end.
    Interrupted(LaunchError),
}

impl From<String> for Failed {
    fn from(how: String) -> Failed {
        Failed::Hook(how)
    }
}

/// Runs the hooks one after another; the first failure ends it.
pub fn run_hooks(run: &HookRun<'_>) -> Result<(), LaunchError> {
    for i in 0..run.hooks.len() {
        run_one(run, i)?;
    }
    Ok(())
}

/// Runs hook number `i` alone.
pub fn run_one(run: &HookRun<'_>, i: usize) -> Result<(), LaunchError> {
    let Some(hook) = run.hooks.get(i) else { return Ok(()) };
    let path = hook.path.as_deref().unwrap_or_default();
    tracing::debug!("running {} hook #{i}: {path}", run.kind);
    let began = Instant::now();
    let ended = run_hook(hook, run);
    tracing::debug!("{} hook #{i} has ended after {} ms", run.kind, began.elapsed().as_millis());
    ended.map_err(|failed| match failed {
        Failed::Hook(how) => LaunchError::Hook { kind: run.kind, index: i, path: path.to_owned(), how },
        Failed::Interrupted(e) => e,
    })
}

fn run_hook(hook: &Hook<'_>, run: &HookRun<'_>) -> Result<(), Failed> {
    let text = |errno: Errno| rt_sys::errno::text(errno).to_owned();
    // Descriptors are marked before anything is opened for the hook: it gets its standard streams,
    // and nothing that the caller left open or that is meant for the container.
    rt_sys::process::close_range(3, u32::MAX, true).map_err(text)?;
    let running = command(hook, run).and_then(HostCommand::start).map_err(text)?;
    let timeout = hook.timeout.and_then(|t| u64::try_from(t).ok()).map(Duration::from_secs);
    let (status, output) = finish(&running, timeout, run.interrupt)?;
    let Some(how) = failure(&status) else { return Ok(()) };
    let said = output.trim_end();
    Err(if said.is_empty() { how } else { format!("{how}: {said}") }.into())
}

fn command(hook: &Hook<'_>, run: &HookRun<'_>) -> Result<HostCommand, Errno> {
    let mut command = HostCommand::new(hook.path.as_deref().unwrap_or_default())?;
    if let Some(args) = hook.args.as_deref().filter(|args| !args.is_empty()) {
        command = command.argv(args.iter().map(|arg| &**arg))?;
    }
    // Without `env` a hook of the host has the runtime's environment, as with runc and crun: hooks
    // that are shell scripts rely on PATH.
    if let Some(env) = hook.env.as_deref() {
        command = command.env(env.iter().map(|entry| &**entry))?;
    }
    Ok(command.directory(run.directory)?.stdin(state_file(run.state)?))
}

/// The state as a file: a hook need not read it, and none is too large for a pipe.
fn state_file(state: &[u8]) -> Result<OwnedFd, Errno> {
    let file = match memfd_create("state", MemfdFlags::CLOEXEC) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            openat(CWD, "/tmp", flags, Mode::RUSR | Mode::WUSR)?
        }
        other => other?,
    };
    let mut file = File::from(file);
    let written = file.write_all(state).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(file.into())
}

/// Reads both outputs while the hook runs, so that it cannot block on them, and kills it at the
/// time-out.
fn finish(
    running: &Running,
    timeout: Option<Duration>,
    interrupt: Option<&OwnedFd>,
) -> Result<(WaitIdStatus, String), Failed> {
    // A time-out that is longer than the clock can count is no time-out.
    let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
    let mut pipes = (Some(&running.stdout), Some(&running.stderr));
    let mut said = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(&running.pidfd, PollFlags::IN)];
        fds.extend(pipes.0.map(|p| PollFd::new(p, PollFlags::IN)));
        fds.extend(pipes.1.map(|p| PollFd::new(p, PollFlags::IN)));
        fds.extend(interrupt.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let left = left.map(|l| Timespec {
            tv_sec: i64::try_from(l.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: l.subsec_nanos().into(),
        });
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(rt_sys::errno::text(e).to_owned().into()),
            Ok(0) => {
                running.kill();
                return Err(format!("killed after its timeout of {} s", timeout.map_or(0, |t| t.as_secs())).into());
            }
            Ok(_) => {}
        }
        if let Some(interrupt) = interrupt
            && fds.last().is_some_and(|fd| fd.revents().contains(PollFlags::IN))
        {
            running.kill();
            return Err(Failed::Interrupted(interrupted(interrupt)));
        }
        let exited = !fds[0].revents().is_empty();
        let ready: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        drop(fds);
        for pipe in [&mut pipes.0, &mut pipes.1].into_iter().filter(|pipe| pipe.is_some()) {
            if ready.next() == Some(true) && pipe.is_some_and(|fd| drain(fd, &mut said)) {
                *pipe = None;
            }
        }
        if exited {
            let status = running.wait().map_err(|e| rt_sys::errno::text(e).to_owned())?;
            return Ok((status, String::from_utf8_lossy(&said).into_owned()));
        }
    }
}

/// Reads once; true at the end. The last 4 KiB are kept.
fn drain(pipe: &OwnedFd, kept: &mut Vec<u8>) -> bool {
    let mut space = [0; 4096];
    let Ok(n) = retry_on_intr(|| read(pipe, &mut space)) else { return true };
    kept.extend_from_slice(&space[..n]);
    let excess = kept.len().saturating_sub(4096);
    kept.drain(..excess);
    n == 0
}
