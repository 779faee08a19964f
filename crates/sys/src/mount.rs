//! mount_setattr(2): mount attributes, recursively and with an id map (Linux 5.12).

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall5};

/// Attribute bits (linux/mount.h), the same for mount_setattr(2) and fsmount(2).
pub mod attr {
    #![allow(missing_docs)]
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the access-time setting; to change it, clear all of it.
    pub const ATIME: u64 = 0x70;
    pub const RELATIME: u64 = 0x00;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x0010_0000;
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// Propagation values for [`Attributes::propagation`] (the MS_* numbers).
pub mod propagation {
    #![allow(missing_docs)]
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear.
    pub clear: u64,
    /// One of [`propagation`], or 0.
    pub propagation: u64,
    /// The user namespace whose maps [`attr::IDMAP`] takes.
    pub userns_fd: u64,
}

/// Changes the mount at `path` relative to `dir` (empty: `dir` itself); `recursive` takes all mounts below as well.
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
