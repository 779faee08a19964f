//! Being woken by the kernel when a cgroup runs out of memory or its tasks lose time waiting
//! (cgroup-v2.rst "memory.events"; memory.rst of cgroup v1, "OOM Control"; psi.rst "Monitoring for
//! pressure thresholds").

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::dir::{Dir, read_record, write_value};
use crate::error::Error;

/// A threshold of pressure: tasks may lose `stall` of every `window`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// `cpu`, `memory` or `io`.
    pub resource: String,
    /// All tasks at once have to wait, not just some.
    pub full: bool,
    /// Time lost, up to the window.
    pub stall: Duration,
    /// From 500 ms to 10 s; without root a multiple of 2 s.
    pub window: Duration,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The OOM killer has taken this many processes.
    Oom(u64),
    /// A threshold was crossed; its number in the list given.
    Pressure(usize),
    /// The watched process, or the cgroup, is gone.
    Gone,
}

/// The open sources of notices.
#[derive(Debug)]
pub struct Watch<'c> {
    cgroup: &'c Cgroup,
    kills: u64,
    memory: Option<MemoryEvents>,
    pressure: Vec<OwnedFd>,
    /// The kernel has begun to look for a victim: until then the count may still grow.
    killing: Option<Instant>,
}

/// What the kernel wakes a process with when a cgroup's memory runs out.
#[derive(Debug)]
pub struct MemoryEvents {
    fd: OwnedFd,
    flags: PollFlags,
    /// Keeps the file of cgroup v1 open that the event belongs to.
    _control: Option<OwnedFd>,
}

impl MemoryEvents {
    /// The descriptor to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// True when POLLPRI (EPOLLPRI) is to be waited for; otherwise it is POLLIN.
    pub fn is_priority(&self) -> bool {
        self.flags.contains(PollFlags::PRI)
    }

    /// Notes the state that has woken this process, so that only a new change wakes it again. ENODEV:
    /// the cgroup is gone.
    pub fn acknowledge(&self) -> Result<(), Errno> {
        if self.is_priority() {
            rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
            return read_record(self.fd.as_fd()).map(drop);
        }
        rustix::io::read(&self.fd, &mut [0_u8; 8][..]).map(drop)
    }
}

/// How long the OOM killer may take from its announcement on cgroup v1 to its count, and how often
/// that is looked at.
const KILLING: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(10);

impl Cgroup {
    /// Begins to watch. Kinds of events that this kernel does not report are left out; the count of
    /// OOM kills is read at each time-out as well.
    pub fn watch(&self, thresholds: &[Threshold]) -> Result<Watch<'_>, Error> {
        let memory = self.memory_events()?;
        let pressure = thresholds.iter().map(|threshold| self.pressure_source(threshold)).collect::<Result<_, _>>()?;
        Ok(Watch { cgroup: self, kills: self.oom_kills().unwrap_or(0), memory, pressure, killing: None })
    }

    /// Asks the kernel to wake this process when the cgroup runs out of memory; `None` where it cannot.
    pub fn memory_events(&self) -> Result<Option<MemoryEvents>, Error> {
        if let Some(dir) = self.v1("memory") {
            let control = dir.open("memory.oom_control", OFlags::RDONLY)?;
            let fd = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| dir.call("make an eventfd for", errno))?;
            dir.write("cgroup.event_control", &format!("{} {}", fd.as_raw_fd(), control.as_raw_fd()))?;
            return Ok(Some(MemoryEvents { fd, flags: PollFlags::IN, _control: Some(control) }));
        }
        match self.unified_controller("memory").map(|dir| dir.open("memory.events", OFlags::RDONLY)) {
            Some(Err(error)) if !error.is_missing() => Err(error),
            Some(Ok(fd)) => Ok(Some(MemoryEvents { fd, flags: PollFlags::PRI, _control: None })),
            _ => Ok(None),
        }
    }

    fn pressure_source(&self, threshold: &Threshold) -> Result<OwnedFd, Error> {
        let dir: &Dir = self.unified.as_ref().ok_or(Error::NotMounted { path: "/sys/fs/cgroup/unified".into() })?;
        let file = format!("{}.pressure", threshold.resource);
        let kind = if threshold.full { "full" } else { "some" };
        let text = format!("{kind} {} {}\0", threshold.stall.as_micros(), threshold.window.as_micros());
        let fd = dir.open(&file, OFlags::RDWR)?;
        write_value(fd.as_fd(), &text).map_err(|errno| Error::Write {
            pointer: None,
            path: dir.path().join(&file),
            value: text.trim_end_matches('\0').to_owned(),
            errno,
        })?;
        Ok(fd)
    }
}

impl Watch<'_> {
    /// Waits until something happens, at most until `deadline`. `process` is a pidfd; its end ends
    /// the watch.
    pub fn wait(&mut self, process: BorrowedFd<'_>, deadline: Instant) -> Result<Vec<Notice>, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = if self.killing.is_some_and(|end| Instant::now() < end) { left.min(GLANCE) } else { left };
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::from_borrowed_fd(process, PollFlags::IN)];
        fds.extend(self.pressure.iter().map(|fd| PollFd::new(fd, PollFlags::PRI)));
        fds.extend(self.memory.iter().map(|memory| PollFd::new(&memory.fd, memory.flags)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(self.failed(errno)),
        }
        let woken: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let mut notices = Vec::new();
        let pressure = woken.get(1..=self.pressure.len()).unwrap_or_default();
        let crossed = pressure.iter().enumerate().filter(|(_, flags)| flags.contains(PollFlags::PRI));
        notices.extend(crossed.filter(|(_, flags)| !flags.contains(PollFlags::ERR)).map(|(i, _)| Notice::Pressure(i)));
        if self.memory.is_some() && woken.last().is_some_and(|flags| !flags.is_empty()) {
            self.acknowledge()?;
            self.killing = Some(Instant::now() + KILLING);
        }
        let kills = self.cgroup.oom_kills().unwrap_or(self.kills);
        if kills > self.kills {
            notices.push(Notice::Oom(kills - self.kills));
            self.kills = kills;
            self.killing = None;
        }
        let gone = woken.first().is_some_and(|flags| !flags.is_empty())
            || pressure.iter().any(|flags| flags.contains(PollFlags::ERR));
        if gone {
            notices.push(Notice::Gone);
        }
        Ok(notices)
    }

    fn acknowledge(&self) -> Result<(), Error> {
        match self.memory.as_ref().map_or(Ok(()), MemoryEvents::acknowledge) {
            Err(errno) if errno != Errno::NODEV => Err(self.failed(errno)),
            _ => Ok(()),
        }
    }

    fn failed(&self, errno: Errno) -> Error {
        let path = self.cgroup.dirs().next().map(|dir| dir.path().to_owned()).unwrap_or_default();
        Error::Call { action: "watch", path, errno }
    }
}
