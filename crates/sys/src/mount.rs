//! mount_setattr(2): mount attributes, recursively and with an id map (Linux 5.12); how many mounts
//! a mount namespace has.

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall3, syscall5};

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

/// `struct mnt_ns_info` (linux/nsfs.h).
#[repr(C)]
struct NamespaceInfo {
    size: u32,
    mounts: u32,
    id: u64,
}

/// The number of mounts in the mount namespace whose file is open as `namespace`, without the
/// kernel's own at its root (NS_MNT_GET_INFO, Linux 6.12). ENOTTY on an older kernel, and for any other
/// file.
pub fn mounts_of_namespace(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_MNT_GET_INFO: usize = 0x8010_b70a;
    let mut info = NamespaceInfo { size: size_of::<NamespaceInfo>() as u32, mounts: 0, id: 0 };
    // SAFETY: the kernel writes at most the size given, into a live struct.
    unsafe { syscall3(nr::IOCTL, namespace.as_raw_fd() as usize, NS_MNT_GET_INFO, &raw mut info as usize) }?;
    Ok(info.mounts)
}
