//! The terminal of a container in the foreground: the caller's, in raw mode, relayed to the
//! container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rt_plan::Console;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{
    OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::sockets::{connect_to, console_pair, receive_master};
use crate::error::{Context, Error};

/// The terminal of the person before it.
pub struct HostTerminal(OwnedFd);

impl HostTerminal {
    /// The first of standard error, output and input that is a terminal, else the controlling
    /// terminal. Without any of these the caller has no terminal to which the container's could be
    /// relayed.
    pub fn find() -> Result<HostTerminal, Error> {
        for stream in [rustix::stdio::stderr(), rustix::stdio::stdout(), rustix::stdio::stdin()] {
            if tcgetattr(stream).is_ok() {
                return stream.try_clone_to_owned().map(HostTerminal).doing("duplicate the terminal");
            }
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        open("/dev/tty", flags, Mode::empty()).map(HostTerminal).map_err(Error::NoTerminal)
    }
}

/// What a process gets its terminal by: init's end of a socket with its slot, and for a terminal
/// that this process relays our end, and the terminal to which it does.
pub type Ours = Option<(OwnedFd, HostTerminal)>;

/// Connects to the console socket, or finds the terminal of the caller; nothing without `terminal`.
pub fn console(socket: Option<&Path>, terminal: bool) -> Result<(Option<(OwnedFd, Console)>, Ours), Error> {
    match socket {
        Some(path) => Ok((Some((connect_to("connect to the console socket", path)?, Console::Socket)), None)),
        None if terminal => {
            let host = HostTerminal::find()?;
            let (theirs, ours) = console_pair()?;
            Ok((Some((theirs, Console::Relayed)), Some((ours, host))))
        }
        None => Ok((None, None)),
    }
}

/// A terminal that is being relayed. Dropped, the caller's gets its modes back.
pub struct Terminal {
    master: OwnedFd,
    host: HostTerminal,
    saved: Termios,
    input_open: bool,
    master_open: bool,
    /// When the end of the input is typed again, and how long after that.
    ended: Option<(Instant, Duration)>,
}

/// A program that changes the terminal's modes when it begins may drop what was typed before. So
/// the end of the input is typed again and again, after longer and longer pauses.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Terminal {
    /// Waits for the container's terminal to come over `socket`, and makes the caller's raw.
    pub fn attach(socket: &OwnedFd, host: HostTerminal) -> Result<Terminal, Error> {
        let master = receive_master(socket)?;
        let saved = tcgetattr(&host.0).doing("read the modes of the terminal")?;
        let mut raw = saved.clone();
        raw.make_raw();
        // The container's terminal leaves newlines as they are (`Op::Terminal`).
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&host.0, OptionalActions::Now, &raw).doing("make the terminal raw")?;
        let terminal = Terminal { master, host, saved, input_open: true, master_open: true, ended: None };
        terminal.resize();
        Ok(terminal)
    }

    /// Gives the container's the size of the caller's.
    pub fn resize(&self) {
        if let Ok(size) = tcgetwinsize(&self.host.0) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// What [`Terminal::relay`] wants to be called for.
    pub fn interests<'f>(&'f self, fds: &mut Vec<PollFd<'f>>) {
        let wanted = |open| if open { PollFlags::IN } else { PollFlags::empty() };
        fds.push(PollFd::from_borrowed_fd(self.master.as_fd(), wanted(self.master_open)));
        if self.input_open {
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        }
    }

    /// How long until [`Terminal::relay`] wants to be called in any case.
    pub fn next_end_of_input(&self) -> Option<Timespec> {
        let (when, _) = self.ended?;
        let left = when.saturating_duration_since(Instant::now());
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() })
    }

    /// Copies what there is; `ready` is about the descriptors of [`Terminal::interests`].
    pub fn relay(&mut self, ready: &[bool]) {
        if ready.first() == Some(&true) && self.master_open {
            // EIO: no process has the other side open.
            self.master_open = copy(self.master.as_fd(), rustix::stdio::stdout());
        }
        if ready.get(1) == Some(&true) && !copy(rustix::stdio::stdin(), self.master.as_fd()) {
            self.input_open = false;
            self.ended = Some((Instant::now(), FIRST_PAUSE));
        }
        if let Some((when, pause)) = self.ended
            && Instant::now() >= when
        {
            self.type_end_of_input();
            self.ended = Some((Instant::now() + pause, (pause * 2).min(LONGEST_PAUSE)));
        }
    }

    /// Without waiting: a program that reads nothing leaves no room in the end.
    fn type_end_of_input(&self) {
        let mut fds = [PollFd::new(&self.master, PollFlags::OUT)];
        if matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1)) && fds[0].revents().contains(PollFlags::OUT) {
            let key = tcgetattr(&self.master).map_or(4, |modes| modes.special_codes[SpecialCodeIndex::VEOF]);
            let _ = write(&self.master, &[key]);
        }
    }

    /// What the program wrote last.
    pub fn drain(&mut self) {
        loop {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let ready = matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
                && fds[0].revents().contains(PollFlags::IN);
            if !ready || !copy(self.master.as_fd(), rustix::stdio::stdout()) {
                return;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.host.0, OptionalActions::Now, &self.saved);
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
