//! Reading a small file in few calls: those of /proc and of the state directory are read at every
//! start.

use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read as read_some, retry_on_intr};
use rustix::path::Arg;

/// Most files fit in here.
const FIRST: usize = 4096;

/// The contents of the file at `path`, whatever kind of file it is.
pub fn read(path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_of(open(CWD, path)?)
}

/// The contents of the file at `path`, in an open, a read and a close. A read that does not fill
/// the buffer is the last, which holds for files that rt wrote and for files that the kernel makes
/// as a single record. It does not hold for lists such as /proc/PID/mountinfo or cgroup.procs,
/// where a read gives as many lines as fit into a page.
pub fn read_record(path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_record_at(CWD, path)
}

/// As [`read_record`], of a file below `dir`.
pub fn read_record_at(dir: impl AsFd, path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_record_of(open(dir, path)?)
}

/// As [`read_record`], of an open file.
pub fn read_record_of(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    read_until(fd, |got, space| got < space)
}

/// As [`read`], of an open file, from where it is.
pub fn read_of(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    read_until(fd, |got, _| got == 0)
}

fn open(dir: impl AsFd, path: impl Arg) -> Result<OwnedFd, Errno> {
    openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// No file that rt reads is as long: it is a device that has no end, such as /dev/zero.
const MOST: usize = 256 << 20;

/// Reads until `last` says so of the number of bytes read and of the space that was there for them.
fn read_until(fd: impl AsFd, last: impl Fn(usize, usize) -> bool) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(FIRST);
    loop {
        if bytes.len() > MOST {
            return Err(Errno::FBIG);
        }
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len());
        }
        let space = bytes.capacity() - bytes.len();
        let got = retry_on_intr(|| read_some(&fd, spare_capacity(&mut bytes)))?;
        if last(got, space) {
            // What comes next in memory then shares a page with the contents.
            bytes.shrink_to_fit();
            return Ok(bytes);
        }
    }
}
