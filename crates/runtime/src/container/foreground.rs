//! Waiting for a process in the foreground: its end, the signals on the way to it, and its terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rt_cgroups::Reached;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::error::{Context, Error};
use super::notify::Proxy;
use super::sockets::receive_master;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It has not: nobody waits for it.
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
    /// Blocks all signals and opens the descriptor. With `subreaper`, orphans of the container come to this process; those of a
    /// pid namespace go to its first process anyway.
    pub fn take(subreaper: bool) -> Result<Signals, Error> {
        if subreaper {
            rt_sys::process::set_child_subreaper().doing("become a subreaper")?;
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

/// Waits for the child behind `pidfd`, whose number is `pid` as long as nobody waits for it but us. `console` is the socket on which its terminal's master comes; readiness that
/// the container notifies is passed on by `proxy`, as that of this process.
pub fn wait(
    (pidfd, pid): (&OwnedFd, i32),
    signals: Signals,
    console: Option<OwnedFd>,
    proxy: Option<&Proxy>,
) -> Result<Ending, Error> {
    let mut terminal = console.map(|socket| Terminal::attach(&socket)).transpose()?;
    loop {
        let mut fds = vec![PollFd::new(&signals.fd, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        fds.extend(proxy.map(|p| PollFd::from_borrowed_fd(p.socket(), PollFlags::IN)));
        let first_of_terminal = fds.len();
        if let Some(terminal) = &terminal {
            terminal.interests(&mut fds);
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other.doing("wait for the container")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let children = ready[0] && forward(&signals, pidfd, terminal.as_ref());
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
        // What is left of its orphans is the host's init's to reap when we are gone, which is soon.
        return Ok(Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Killed(signal.unwrap_or(0)),
        }));
    }
    Ok(None)
}

/// Passes signals on. SIGCHLD and SIGWINCH are about us; SIGURG is what Go's scheduler sends to everybody. Returns whether children
/// have ended.
fn forward(signals: &Signals, pidfd: &OwnedFd, terminal: Option<&Terminal>) -> bool {
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
            _ => {
                // SAFETY: any number that a signalfd delivers is one of a signal.
                let signal = unsafe { rustix::process::Signal::from_raw_unchecked(info.ssi_signo as i32) };
                let _ = rustix::process::pidfd_send_signal(pidfd, signal);
            }
        }
    }
    children
}

/// Reaps orphans that came to us as their subreaper, but not the awaited child, whose status is read by its pidfd.
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

/// Our terminal in raw mode, relayed to the container's.
struct Terminal {
    master: OwnedFd,
    saved: Option<Termios>,
    input_open: bool,
    master_open: bool,
}

fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

impl Terminal {
    fn attach(socket: &OwnedFd) -> Result<Terminal, Error> {
        let master = receive_master(socket)?;
        let saved = tcgetattr(stdin()).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw).doing("make the terminal raw")?;
        }
        let terminal = Terminal { master, saved, input_open: true, master_open: true };
        terminal.resize();
        Ok(terminal)
    }

    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    fn interests<'f>(&'f self, fds: &mut Vec<PollFd<'f>>) {
        let wanted = |open| if open { PollFlags::IN } else { PollFlags::empty() };
        fds.push(PollFd::from_borrowed_fd(self.master.as_fd(), wanted(self.master_open)));
        if self.input_open {
            fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
    }

    fn relay(&mut self, ready: &[bool]) {
        if ready.first() == Some(&true) && self.master_open {
            // EIO: nobody has the other side open.
            self.master_open = copy(self.master.as_fd(), rustix::stdio::stdout());
        }
        if ready.get(1) == Some(&true) && !copy(stdin(), self.master.as_fd()) {
            self.input_open = false;
            // A pipe's end is an end of file typed into the terminal.
            let _ = write(&self.master, b"\x04");
        }
    }

    /// What the program wrote last.
    fn drain(&mut self) {
        loop {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let now = rustix::event::Timespec::default();
            let ready =
                matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0) && fds[0].revents().contains(PollFlags::IN);
            if !ready || !copy(self.master.as_fd(), rustix::stdio::stdout()) {
                return;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(stdin(), OptionalActions::Now, saved);
        }
    }
}

/// Copies what is there; false at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut space = [0_u8; 8192];
    let n = match read(from, &mut space) {
        Ok(0) => return false,
        Ok(n) => n,
        Err(Errno::INTR | Errno::AGAIN) => return true,
        Err(_) => return false,
    };
    let mut rest = &space[..n];
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(_) => return false,
        }
    }
    true
}
