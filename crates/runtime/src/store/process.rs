//! Processes by pid and start time: a pid alone may have been reused for another process.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::readlink;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::launch::WAITING_NAME;
use crate::verbs::foreground::Ending;

/// What /proc/PID/stat says (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name, at most 15 bytes.
    pub comm: String,
    /// One letter.
    pub state: char,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// As wait(2) gives it, of a process that has ended.
    wait_status: Option<i32>,
}

impl Stat {
    /// Reads /proc/PID/stat; None if there is no such process. A process that cannot be seen, for
    /// want of memory or of descriptors, does not count as ended.
    pub fn read(pid: i32) -> Result<Option<Stat>, Errno> {
        match rt_sys::file::read_record(format!("/proc/{pid}/stat")) {
            Ok(bytes) => parse(&bytes).map(Some).ok_or(Errno::PROTO),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A process that has ended but was not waited for.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// How a process has ended that was not waited for.
    pub fn ending(&self) -> Option<Ending> {
        let status = self.wait_status.filter(|_| self.is_dead())?;
        // The kernel's encoding (wait(2), WIFSIGNALED).
        Some(if status & 0x7f == 0 { Ending::Exited(status >> 8 & 0xff) } else { Ending::Killed(status & 0x7f) })
    }
}

/// The name may hold any bytes, parentheses and newlines included: it ends at the last closing
/// parenthesis.
fn parse(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let comm = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
    let mut fields = bytes.get(close + 2..)?.split(|b| *b == b' ');
    let state = char::from(*fields.next()?.first()?);
    let number = |field: &[u8]| std::str::from_utf8(field.trim_ascii_end()).ok()?.parse::<u64>().ok();
    // Field 22, and `fields` has just given field 3.
    let start_time = number(fields.nth(18)?)?;
    // Field 52, the last.
    let wait_status = fields.nth(29).and_then(number).and_then(|status| i32::try_from(status).ok());
    Some(Stat { comm, state, start_time, wait_status })
}

/// Whether it was by executing the program that init closed its side of a connection, and not by
/// its end before that.
pub fn has_executed(pid: i32, start_time: u64) -> Result<bool, Errno> {
    // exec takes the program's memory, and exit gives up all memory, before descriptors are closed.
    if readlink(format!("/proc/{pid}/exe"), Vec::new()).err() != Some(Errno::NOENT) {
        return Ok(true);
    }
    // The process is ending. Only its name still shows whether it was init or already the program.
    // The name is final: execve(2) sets it before the program can run, and so before it can end.
    let stat = Stat::read(pid)?.filter(|stat| stat.start_time == start_time);
    // None: reaped already, by whom it concerns.
    Ok(stat.is_none_or(|stat| stat.comm != WAITING_NAME))
}

/// A handle to the process `pid`, if the process still has this `start_time`, and its
/// /proc/PID/stat.
pub fn open(pid: i32, start_time: u64) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
        // EINVAL: the process is just being reaped; its number is in use, but belongs to no
        // process.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        other => other?,
    };
    // The handle first, then the check: from here on it cannot become another process's.
    let same = Stat::read(pid)?.filter(|stat| stat.start_time == start_time && !stat.is_dead());
    Ok(same.map(|stat| (pidfd, stat)))
}

/// Whether the process has a SIGKILL that it has not come to yet (proc_pid_status(5), SigPnd and
/// ShdPnd).
pub fn is_killed(pid: i32) -> Result<bool, Errno> {
    let bytes = match rt_sys::file::read_record(format!("/proc/{pid}/status")) {
        Err(Errno::NOENT | Errno::SRCH) => return Ok(true),
        other => other?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let pending = text.lines().filter_map(|l| l.strip_prefix("SigPnd:").or_else(|| l.strip_prefix("ShdPnd:")));
    let masks = pending.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(masks.fold(0, |all, mask| all | mask) & SIGKILL_BIT != 0)
}

/// Signal 9 in a mask whose lowest bit is signal 1.
const SIGKILL_BIT: u64 = 1 << 8;

/// How long a killed process may take to disappear, for callers that would otherwise report another
/// cause.
pub const DYING: Duration = Duration::from_millis(200);

/// Whether the process has ended, or does so within `patience`.
pub fn ends(pidfd: &OwnedFd, patience: Duration) -> Result<bool, Errno> {
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&patience)) {
            Err(Errno::INTR) => continue,
            other => return other.map(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program may choose its name to look like other fields.
    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) R 1 (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1";
        let stat = parse(line).unwrap();
        assert_eq!((stat.comm.as_str(), stat.state, stat.start_time), ("a) R 1 (b", 'S', 98765));
        assert_eq!(parse(b"42 (a"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let pid = std::process::id() as i32;
        let stat = Stat::read(pid).unwrap().unwrap();
        assert!(open(pid, stat.start_time).unwrap().is_some());
        assert!(open(pid, stat.start_time + 1).unwrap().is_none());
        assert!(open(0, 0).unwrap().is_none() && open(i32::MAX, 0).unwrap().is_none());
        assert_eq!(Stat::read(i32::MAX), Ok(None));
        assert_eq!((is_killed(pid), is_killed(i32::MAX)), (Ok(false), Ok(true)));
    }
}
