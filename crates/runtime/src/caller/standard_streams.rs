//! Standard streams that the caller has closed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::IntoRawFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::stdio::{stderr, stdin, stdout};

/// Opens the null device in the place of standard streams that are closed. The next file that is opened
/// would get the number of a missing stream: messages would be written into the state, and a program of
/// the container would take one of its own files for its input.
pub fn open_missing() {
    let (input, output, errors) = (stdin(), stdout(), stderr());
    let mut streams = [&input, &output, &errors].map(|stream| PollFd::new(stream, PollFlags::empty()));
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    if !matches!(poll(&mut streams, Some(&at_once)), Ok(1..)) {
        return;
    }
    for _ in streams.iter().filter(|stream| stream.revents().contains(PollFlags::NVAL)) {
        // The kernel gives the lowest number that is free, which is this stream's. It stays open for
        // as long as the process lives, as standard streams do, and processes inherit it.
        let Ok(null) = openat(CWD, c"/dev/null", OFlags::RDWR, Mode::empty()) else { return };
        let _ = null.into_raw_fd();
    }
}
