//! Waits until `cgroup.events` of cgroup v2 has a certain value; the kernel wakes the process.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::dir::{Dir, read_record};
use crate::error::Error;

/// Waits until the line of `key` has this value; `false` when `patience` ran out first.
pub(crate) fn wait(dir: &Dir, key: &str, value: &str, patience: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + patience;
    let fd = dir.open("cgroup.events", OFlags::RDONLY)?;
    let failed = |errno| dir.call("read cgroup.events of", errno);
    loop {
        // The kernel wakes a poll only after the file has been read since its last change.
        // Therefore read first, then poll.
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).map_err(failed)?;
        let text = read_record(fd.as_fd()).map_err(failed)?;
        if text.lines().any(|line| line.split_once(' ') == Some((key, value))) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}
