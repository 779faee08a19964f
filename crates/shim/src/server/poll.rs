//! epoll(7) with a number for each descriptor. Numbers are never used again, so that an event of a
//! descriptor that is gone cannot be taken for one of its successor's.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::error::{Context, Error};

/// Events of one round.
const ROUND: usize = 32;

pub struct Poll {
    epoll: OwnedFd,
    next: u64,
}

impl Poll {
    pub fn new() -> Result<Poll, Error> {
        Ok(Poll { epoll: epoll::create(CreateFlags::CLOEXEC).doing("make an epoll instance")?, next: 1 })
    }

    /// Waits for `fd` from now on, under the number that is returned.
    pub fn add(&mut self, fd: impl AsFd, flags: EventFlags) -> Result<u64, Error> {
        let token = self.next;
        self.add_as(fd, flags, token)?;
        self.next += 1;
        Ok(token)
    }

    /// Waits for `fd` under a number that it, or the other end of its copy, has already.
    pub fn add_as(&self, fd: impl AsFd, flags: EventFlags, token: u64) -> Result<(), Error> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags).doing("wait for a descriptor")
    }

    /// Waits for other events.
    pub fn modify(&self, fd: impl AsFd, flags: EventFlags, token: u64) {
        // Fails only for a descriptor that was not added.
        let _ = epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags);
    }

    pub fn delete(&self, fd: impl AsFd) {
        // Fails only for a descriptor that was not added.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// What has happened; nothing when the time is over.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Vec<(u64, EventFlags)>, Error> {
        let mut room = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; ROUND];
        // A little late rather than a round too many.
        let timeout = timeout.map(|time| time + Duration::from_micros(100));
        let timeout = timeout.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() });
        match epoll::wait(&self.epoll, &mut room[..], timeout.as_ref()) {
            Ok(count) => Ok(room[..count].iter().map(|event| (event.data.u64(), event.flags)).collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(errno).doing("wait for events"),
        }
    }
}
