//! Reading a small file in few calls: those of /proc and of the state directory are read at every start.

use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read as read_some, retry_on_intr};
use rustix::path::Arg;

/// Most files fit in here.
const FIRST: usize = 4096;

/// The contents of the file at `path`, in an open, two reads and a close; the standard library takes twice as many calls.
pub fn read(path: impl Arg) -> Result<Vec<u8>, Errno> {
    let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(FIRST);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len());
        }
        if retry_on_intr(|| read_some(&fd, spare_capacity(&mut bytes)))? == 0 {
            return Ok(bytes);
        }
    }
}
