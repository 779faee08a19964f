//! The kernel's numbers that ops carry, from its headers.

/// Kinds of namespaces: CLONE_NEW* of clone(2).
pub mod namespace {
    #![allow(missing_docs)]
    use linux_raw_sys::general as kernel;
    pub const NEWTIME: u64 = kernel::CLONE_NEWTIME as u64;
    pub const NEWNS: u64 = kernel::CLONE_NEWNS as u64;
    pub const NEWCGROUP: u64 = kernel::CLONE_NEWCGROUP as u64;
    pub const NEWUTS: u64 = kernel::CLONE_NEWUTS as u64;
    pub const NEWIPC: u64 = kernel::CLONE_NEWIPC as u64;
    pub const NEWUSER: u64 = kernel::CLONE_NEWUSER as u64;
    pub const NEWPID: u64 = kernel::CLONE_NEWPID as u64;
    pub const NEWNET: u64 = kernel::CLONE_NEWNET as u64;
}

/// Attributes of a mount: MOUNT_ATTR_* of mount_setattr(2).
pub mod attr {
    #![allow(missing_docs)]
    use linux_raw_sys::general as kernel;
    pub const RDONLY: u64 = kernel::MOUNT_ATTR_RDONLY as u64;
    pub const NOSUID: u64 = kernel::MOUNT_ATTR_NOSUID as u64;
    pub const NODEV: u64 = kernel::MOUNT_ATTR_NODEV as u64;
    pub const NOEXEC: u64 = kernel::MOUNT_ATTR_NOEXEC as u64;
    /// The mask of the access-time setting; to change it, clear all of it.
    pub const ATIME: u64 = kernel::MOUNT_ATTR__ATIME as u64;
    pub const RELATIME: u64 = kernel::MOUNT_ATTR_RELATIME as u64;
    pub const NOATIME: u64 = kernel::MOUNT_ATTR_NOATIME as u64;
    pub const STRICTATIME: u64 = kernel::MOUNT_ATTR_STRICTATIME as u64;
    pub const NODIRATIME: u64 = kernel::MOUNT_ATTR_NODIRATIME as u64;
    pub const IDMAP: u64 = kernel::MOUNT_ATTR_IDMAP as u64;
    pub const NOSYMFOLLOW: u64 = kernel::MOUNT_ATTR_NOSYMFOLLOW as u64;
}

/// Propagation of a mount: MS_UNBINDABLE and its siblings of mount(2).
pub mod propagation {
    #![allow(missing_docs)]
    use linux_raw_sys::general as kernel;
    pub const UNBINDABLE: u64 = kernel::MS_UNBINDABLE as u64;
    pub const PRIVATE: u64 = kernel::MS_PRIVATE as u64;
    pub const SLAVE: u64 = kernel::MS_SLAVE as u64;
    pub const SHARED: u64 = kernel::MS_SHARED as u64;
}
