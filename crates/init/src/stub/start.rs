//! The start barrier: waiting for `rt start` on the listening socket in the state directory.

use rt_protocol::greeting::Greeting;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};

/// SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM. As pid 1 of a namespace
/// init has no default actions, so a created container ends itself when it gets one of these
/// signals.
pub const ENDING: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14;

/// `Op::AwaitStart`. Returns the connection on which a failure of what follows is reported; exec
/// closes it.
pub fn await_start(listener: OwnedFd) -> Result<OwnedFd, Errno> {
    let signals = rt_sys::process::signal_fd(ENDING)?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if fds[1].revents().contains(PollFlags::IN) {
            let mut info = [0_u8; 128];
            read(&signals, &mut info)?;
            rt_sys::exec::exit(128 + i32::from(info[0]));
        }
        let connection = accept_with(&listener, SocketFlags::CLOEXEC)?;
        if hears(&connection)? {
            return Ok(connection);
        }
    }
}

/// Reads the message of `rt start`. If `rt start` died before it sent the message, the connection
/// does not count. If it has sent the message and init cannot read it, `rt start` would take the
/// closed connection for success, so that is an error.
fn hears(connection: &OwnedFd) -> Result<bool, Errno> {
    let mut go = [0_u8; 1];
    match retry_on_intr(|| recv(connection, &mut go[..], RecvFlags::empty())) {
        Err(Errno::CONNRESET) => Ok(false),
        other => other.map(|_| Greeting::Start.begins(&go)),
    }
}
