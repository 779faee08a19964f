//! mount_setattr(2): mount attributes, recursively and with an id map (Linux 5.12).

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall5};

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits of MOUNT_ATTR_* to set.
    pub set: u64,
    /// Bits of MOUNT_ATTR_* to clear.
    pub clear: u64,
    /// One of MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED, or 0.
    pub propagation: u64,
    /// The user namespace whose maps [`attr::IDMAP`] takes.
    pub userns_fd: u64,
}

/// Changes the mount at `path` relative to `dir` (empty: `dir` itself); `recursive` takes all
/// mounts below as well.
pub fn set_attributes(dir: BorrowedFd<'_>, path: &CStr, recursive: bool, attributes: &Attributes) -> Result<(), Errno> {
    const AT_EMPTY_PATH: usize = 0x1000;
    const AT_RECURSIVE: usize = 0x8000;
    let flags = if recursive { AT_RECURSIVE } else { 0 } | if path.is_empty() { AT_EMPTY_PATH } else { 0 };
    // SAFETY: `path` is a string, `attributes` a live struct of the size given.
    unsafe {
        syscall5(
            nr::MOUNT_SETATTR,
            dir.as_raw_fd() as usize,
            path.as_ptr() as usize,
            flags,
            attributes as *const Attributes as usize,
            size_of::<Attributes>(),
        )
    }
    .map(drop)
}
