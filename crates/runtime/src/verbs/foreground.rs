//! Waiting for a process in the foreground: its end, the signals on the way to it, and its
//! terminal.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rt_cgroups::Reached;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::caller::notify::Proxy;
use crate::caller::terminal::Terminal;
use crate::error::{Context, Error};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It has not ended: this command does not wait for it.
    Detached,
}

impl Ending {
    /// The exit code of a shell: 128 and the signal for a killed process.
    pub fn code(self) -> i32 {
        match self {
            Ending::Exited(code) => code,
            Ending::Killed(signal) => 128 + signal,
            Ending::Detached => 0,
        }
    }
}

/// All signals of this process, as a descriptor. While it lives none is delivered otherwise.
pub struct Signals {
    fd: SignalFd,
    old: SigSet,
}

fn errno(e: nix::Error) -> Errno {
    Errno::from_raw_os_error(e as i32)
}

impl Signals {
    /// Blocks all signals and opens the descriptor. With `subreaper`, orphans of the container come
    /// to this process; those of a pid namespace go to its first process anyway.
    pub fn take(subreaper: bool) -> Result<Signals, Error> {
        if subreaper {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).doing("become a subreaper")?;
        }
        let mut all = SigSet::all();
        // A fault of ours must end us.
        for fatal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT] {
            all.remove(fatal);
        }
        let mut old = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&all), Some(&mut old)).map_err(errno).doing("block signals")?;
        let fd = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(errno)
            .doing("open a signalfd")?;
        Ok(Signals { fd, old })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.old), None);
    }
}

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM, which ask a program to end, as bits of a mask.
const ENDING: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14;

/// A descriptor by which the waits of a container's making learn that they are to end: these
/// signals are blocked while [`Signals`] lives, and the container is not there yet to get them.
pub fn interrupts() -> Result<OwnedFd, Error> {
    rt_sys::process::signal_fd(ENDING).doing("open a signalfd")
}

/// A child to wait for.
pub struct Awaited<'a> {
    pub pidfd: &'a OwnedFd,
    /// Its pid, which cannot be reused as long as only this command waits for the process.
    pub pid: i32,
    /// How to end it by force, for a person whose signals have no effect.
    pub force: &'a str,
}

/// Waits for the child. Meanwhile `terminal` is relayed to it, and `proxy` passes the container's
/// readiness on as the readiness of this process.
pub fn wait(
    awaited: &Awaited<'_>,
    signals: Signals,
    mut terminal: Option<Terminal>,
    proxy: Option<&Proxy>,
) -> Result<Ending, Error> {
    let Awaited { pidfd, pid, .. } = *awaited;
    let mut passed_on = 0;
    loop {
        let mut fds = vec![PollFd::new(&signals.fd, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        fds.extend(proxy.map(|p| PollFd::from_borrowed_fd(p.socket(), PollFlags::IN)));
        let first_of_terminal = fds.len();
        if let Some(terminal) = &terminal {
            terminal.interests(&mut fds);
        }
        let pause = terminal.as_ref().and_then(Terminal::next_end_of_input);
        match poll(&mut fds, pause.as_ref()) {
            Err(Errno::INTR) => continue,
            other => other.doing("wait for the container")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let children = ready[0] && forward(&signals, awaited, terminal.as_ref(), &mut passed_on);
        if let Some(proxy) = proxy.filter(|_| ready[2])
            && let Err(e) = proxy.relay(std::process::id() as i32)
        {
            tracing::warn!("{e}");
        }
        if let Some(terminal) = &mut terminal {
            terminal.relay(&ready[first_of_terminal..]);
        }
        if ready[1]
            && let Some(ending) = reap(pidfd)?
        {
            if let Some(terminal) = &mut terminal {
                terminal.drain();
            }
            return Ok(ending);
        }
        if children {
            reap_others(pid);
        }
    }
}

/// The limits that a killed process may have died of; they are warned of.
pub fn explain(ending: Ending, reached: impl FnOnce() -> Reached) -> Reached {
    if ending != Ending::Killed(Signal::SIGKILL as i32) {
        return Reached::default();
    }
    let reached = reached();
    if !reached.0.is_empty() {
        tracing::warn!("killed{reached}");
    }
    reached
}

/// The ending of the awaited child, if it has ended.
fn reap(pidfd: &OwnedFd) -> Result<Option<Ending>, Error> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options).doing("wait for the container")?;
    if let Some(status) = status {
        // The host's init reaps the remaining orphans after we exit.
        return Ok(Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Killed(signal.unwrap_or(0)),
        }));
    }
    Ok(None)
}

/// Passes signals on; `passed_on` has those that were, bit n-1 for signal n. SIGCHLD and SIGWINCH
/// are about us; SIGURG is what Go's scheduler sends to everybody. Returns whether children have
/// ended.
fn forward(signals: &Signals, awaited: &Awaited<'_>, terminal: Option<&Terminal>, passed_on: &mut u64) -> bool {
    let mut children = false;
    while let Ok(Some(info)) = signals.fd.read_signal() {
        match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGCHLD) => children = true,
            Ok(Signal::SIGURG) => {}
            Ok(Signal::SIGWINCH) => {
                if let Some(terminal) = terminal {
                    terminal.resize();
                }
            }
            known => {
                if let Some(signal) = rt_sys::signal::signal(info.ssi_signo) {
                    let _ = rustix::process::pidfd_send_signal(awaited.pidfd, signal);
                }
                let bit = 1_u64 << ((info.ssi_signo - 1) & 63);
                if let Ok(asks_to_end @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP)) = known
                    && *passed_on & bit != 0
                {
                    let text = format!("rt: {asks_to_end} was passed on and has not ended it: {}\r\n", awaited.force);
                    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
                }
                *passed_on |= bit;
            }
        }
    }
    children
}

/// Reaps orphans that came to us as their subreaper, but not the awaited child, whose status is
/// read by its pidfd.
fn reap_others(awaited: i32) {
    loop {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let pid = match waitid(Id::All, peek) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
            _ => return,
        };
        if awaited == pid.as_raw() || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
