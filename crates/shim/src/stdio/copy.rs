//! Copying between two descriptors, piece by piece, without waiting: what the other side does not take
//! yet stays in the pipe, so that a reader that never reads stops the writer and costs no memory.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, read, write};
use rustix::pipe::{SpliceFlags, splice};

use crate::error::Error;
use crate::log;
use crate::server::Server;
use crate::task::Key;

/// Moved at once: the size of a pipe, or of what is read where pages cannot be moved.
const SPLICED: usize = 64 << 10;
const READ: usize = 16 << 10;

/// All copies, by their number.
pub type Copies = HashMap<u64, Copy>;

/// Which way a copy goes, as the process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Input,
    Output,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// One direction of one stream.
pub struct Copy {
    key: Key,
    from: OwnedFd,
    to: OwnedFd,
    role: Role,
    side: Side,
    /// Both are pipes: pages move, and no byte passes through the shim.
    splice: bool,
    /// Read, and not yet written.
    pending: Vec<u8>,
    /// Bytes that a full disk did not take.
    lost: u64,
}

/// What the end of a piece of work asks for.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Stay,
    Turn,
    End,
}

impl Copy {
    pub fn new(key: Key, from: OwnedFd, to: OwnedFd, role: Role, splice: bool) -> Copy {
        Copy { key, from, to, role, side: Side::From, splice, pending: Vec::new(), lost: 0 }
    }

    fn watched(&self) -> &OwnedFd {
        match self.side {
            Side::From => &self.from,
            Side::To => &self.to,
        }
    }

    fn work(&mut self) -> Next {
        match self.side {
            Side::From if self.splice => self.work_in_pages(),
            Side::From => self.work_in_bytes(),
            Side::To if self.pending.is_empty() => Next::Turn,
            Side::To => self.write_pending(),
        }
    }

    fn work_in_pages(&mut self) -> Next {
        match splice(&self.from, None, &self.to, None, SPLICED, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => Next::End,
            Ok(_) | Err(Errno::INTR) => Next::Stay,
            // There is something to read, so it is the other side that has no room.
            Err(Errno::AGAIN) => Next::Turn,
            // The other side is a file that is appended to, or something else that takes no pages.
            Err(Errno::INVAL) => {
                self.splice = false;
                self.work_in_bytes()
            }
            Err(_) => Next::End,
        }
    }

    fn work_in_bytes(&mut self) -> Next {
        let mut piece = [0_u8; READ];
        match read(&self.from, &mut piece) {
            Ok(0) => Next::End,
            Ok(count) => {
                self.pending.extend_from_slice(&piece[..count]);
                self.write_pending()
            }
            Err(Errno::AGAIN | Errno::INTR) => Next::Stay,
            // EIO: no process has the terminal open any more.
            Err(_) => Next::End,
        }
    }

    fn write_pending(&mut self) -> Next {
        let mut written = 0;
        let next = loop {
            if written == self.pending.len() {
                break if self.side == Side::To { Next::Turn } else { Next::Stay };
            }
            match write(&self.to, &self.pending[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break if self.side == Side::From { Next::Turn } else { Next::Stay },
                // A process must not stop because of its log: what a full disk does not take is lost.
                Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) if self.role == Role::Output => {
                    if self.lost == 0 {
                        log::error(format_args!("output of {} is lost: {errno}", self.key.name()));
                    }
                    self.lost += (self.pending.len() - written) as u64;
                    written = self.pending.len();
                }
                Err(_) => break Next::End,
            }
        };
        self.pending.drain(..written);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        next
    }
}

impl Server {
    /// Starts a copy; the number is its name.
    pub fn start_copy(&mut self, copy: Copy) -> Result<u64, Error> {
        let token = self.add_copy(&copy.from, EventFlags::IN)?;
        self.copies.insert(token, copy);
        Ok(token)
    }

    /// Forgets a copy, and closes its descriptors.
    pub fn end_copy(&mut self, token: u64) {
        if let Some(copy) = self.copies.remove(&token) {
            self.remove_source(token, copy.watched());
        }
    }

    /// Goes on with a copy.
    pub fn copy_woken(&mut self, token: u64) {
        let Some(mut copy) = self.copies.remove(&token) else { return };
        let next = copy.work();
        let turned = if next == Next::Turn { self.turn(&mut copy, token) } else { Ok(()) };
        if let Err(error) = &turned {
            log::error(error);
        }
        if next != Next::End && turned.is_ok() {
            self.copies.insert(token, copy);
            return;
        }
        self.remove_source(token, copy.watched());
        if copy.lost > 0 {
            log::error(format_args!("{} bytes of the output of {} were lost", copy.lost, copy.key.name()));
        }
        let key = copy.key.clone();
        // Closed first: a client that sees the end of the output may ask at once.
        drop(copy);
        if let Some(process) = self.tasks.process(&key) {
            process.io.ended(token);
            if process.io.is_drained() {
                self.drained(&key);
            }
        }
    }

    fn turn(&mut self, copy: &mut Copy, token: u64) -> Result<(), Error> {
        match copy.side {
            Side::From => {
                self.turn_copy(token, &copy.from, &copy.to, EventFlags::OUT)?;
                copy.side = Side::To;
            }
            Side::To => {
                self.turn_copy(token, &copy.to, &copy.from, EventFlags::IN)?;
                copy.side = Side::From;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK).unwrap()
    }

    fn output(from: OwnedFd, to: OwnedFd) -> Copy {
        Copy::new(Key::init("c"), from, to, Role::Output, true)
    }

    /// A reader that does not read: the copy waits for room, holds no byte itself, and goes on.
    #[test]
    fn a_full_pipe_is_waited_for() {
        let ((from, source), (drain, to)) = (pipe(), pipe());
        let mut copy = output(from, to);
        let data: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let (mut written, mut seen) = (0, Vec::new());
        let mut turns = 0;
        while seen.len() < data.len() {
            written += write(&source, &data[written..]).unwrap_or(0);
            match copy.work() {
                Next::Turn if copy.side == Side::From => {
                    turns += 1;
                    copy.side = Side::To;
                    let mut room = vec![0; 1 << 20];
                    let count = read(&drain, &mut room).unwrap_or(0);
                    seen.extend_from_slice(&room[..count]);
                }
                Next::Turn => copy.side = Side::From,
                Next::Stay => {}
                Next::End => panic!("ended"),
            }
            assert!(copy.pending.is_empty());
        }
        assert!(seen == data && turns > 1);
        drop(source);
        if copy.side == Side::To {
            assert_eq!(copy.work(), Next::Turn);
            copy.side = Side::From;
        }
        assert_eq!(copy.work(), Next::End);
    }

    /// splice(2) refuses a file that is appended to.
    #[test]
    fn files_are_appended_to() {
        let (from, source) = pipe();
        let file = tempfile::NamedTempFile::new().unwrap();
        let to = rustix::fs::open(file.path(), OFlags::WRONLY | OFlags::APPEND, rustix::fs::Mode::empty()).unwrap();
        let mut copy = output(from, to);
        for line in ["one\n", "two\n"] {
            write(&source, line.as_bytes()).unwrap();
            assert_eq!(copy.work(), Next::Stay);
        }
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one\ntwo\n");
    }

    /// /dev/full fails as a full disk does: the output goes on, and is counted as lost.
    #[test]
    fn a_full_disk_does_not_stop_the_process() {
        let (from, source) = pipe();
        let to = rustix::fs::open("/dev/full", OFlags::WRONLY | OFlags::APPEND, rustix::fs::Mode::empty()).unwrap();
        let mut copy = output(from, to);
        copy.splice = false;
        for _ in 0..3 {
            write(&source, b"12345").unwrap();
            assert_eq!(copy.work(), Next::Stay);
        }
        assert_eq!((copy.lost, copy.pending.len()), (15, 0));
    }

    /// A process that closes its standard input ends the copy.
    #[test]
    fn input_ends_with_its_reader() {
        let ((from, source), (reader, to)) = (pipe(), pipe());
        let mut copy = Copy::new(Key::init("c"), from, to, Role::Input, true);
        drop(reader);
        write(&source, b"x").unwrap();
        assert_eq!(copy.work(), Next::End);
    }
}
