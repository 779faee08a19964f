//! Hooks of the runtime's namespace: prestart, createRuntime, poststart, poststop.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::LaunchError;
use super::launched::interrupted;
use crate::caller::command;
use crate::spec::Hook;

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
    let mut command = command(hook.path.as_deref().unwrap_or_default());
    if let Some((name, rest)) = hook.args.as_deref().and_then(<[_]>::split_first) {
        command.arg0(&**name).args(rest.iter().map(|a| &**a));
    }
    // Without `env` a hook of the host has the runtime's environment, as with runc and crun: hooks that are shell scripts rely on PATH.
    if let Some(env) = hook.env.as_deref() {
        command.env_clear();
        command.envs(env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, ""))));
    }
    let text = |e: std::io::Error| {
        rustix::io::Errno::from_io_error(&e).map_or_else(|| e.to_string(), |e| rt_sys::errno::text(e).to_owned())
    };
    let stdin = state_file(run.state).map_err(text)?;
    // A hook has its standard streams, and nothing that the caller left open or meant for the container.
    rt_sys::process::close_range(3, u32::MAX, true).map_err(|e| rt_sys::errno::text(e).to_owned())?;
    command.current_dir(run.directory).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(text)?;
    let timeout = hook.timeout.and_then(|t| u64::try_from(t).ok()).map(Duration::from_secs);
    let (status, output) = finish(child, timeout, run.interrupt)?;
    if status.success() {
        return Ok(());
    }
    let how = status.code().map_or_else(
        || format!("killed by signal {}", status.signal().unwrap_or(0)),
        |code| format!("exit status {code}"),
    );
    let said = output.trim_end();
    Err(if said.is_empty() { how } else { format!("{how}: {said}") }.into())
}

/// The state as a file: a hook need not read it, and none is too large for a pipe.
fn state_file(state: &[u8]) -> std::io::Result<Stdio> {
    let mut file = match memfd_create("state", MemfdFlags::CLOEXEC) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            File::from(openat(CWD, "/tmp", flags, Mode::RUSR | Mode::WUSR)?)
        }
        other => File::from(other?),
    };
    file.write_all(state)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Reads both outputs while the hook runs, so that it cannot block on them, and kills it at the time-out.
fn finish(
    mut child: Child,
    timeout: Option<Duration>,
    interrupt: Option<&OwnedFd>,
) -> Result<(ExitStatus, String), Failed> {
    // A time-out beyond what the clock can count is none.
    let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| rt_sys::errno::text(e).to_owned())?;
    let mut pipes = (child.stdout.take(), child.stderr.take());
    let mut said = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(pipes.0.as_ref().map(|p| PollFd::new(p, PollFlags::IN)));
        fds.extend(pipes.1.as_ref().map(|p| PollFd::new(p, PollFlags::IN)));
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
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("killed after its timeout of {} s", timeout.map_or(0, |t| t.as_secs())).into());
            }
            Ok(_) => {}
        }
        if let Some(interrupt) = interrupt
            && fds.last().is_some_and(|fd| fd.revents().contains(PollFlags::IN))
        {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failed::Interrupted(interrupted(interrupt)));
        }
        let exited = !fds[0].revents().is_empty();
        let ready: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        drop(fds);
        let had_out = pipes.0.is_some();
        if had_out && ready.next() == Some(true) && drain(&mut pipes.0.as_mut().map(|p| p as &mut dyn Read), &mut said)
        {
            pipes.0 = None;
        }
        if pipes.1.is_some()
            && ready.next() == Some(true)
            && drain(&mut pipes.1.as_mut().map(|p| p as &mut dyn Read), &mut said)
        {
            pipes.1 = None;
        }
        if exited {
            let status = child.wait().map_err(|e| e.to_string())?;
            return Ok((status, String::from_utf8_lossy(&said).into_owned()));
        }
    }
}

/// Reads once; true at the end. The last 4 KiB are kept.
fn drain(pipe: &mut Option<&mut dyn Read>, kept: &mut Vec<u8>) -> bool {
    let mut space = [0; 4096];
    let Some(Ok(n)) = pipe.as_mut().map(|p| p.read(&mut space)) else { return true };
    kept.extend_from_slice(&space[..n]);
    let excess = kept.len().saturating_sub(4096);
    kept.drain(..excess);
    n == 0
}
