//! Attributes and propagation of attached mounts: mount_setattr(2), Linux 5.12; an older kernel
//! gets a remount of /proc/self/fd/N.

use core::ffi::CStr;

use rt_protocol::flags::attr;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};

/// Changes attributes of an attached mount.
pub fn change(mount: BorrowedFd<'_>, recursive: bool, attributes: &Attributes) -> Result<(), Errno> {
    if attributes.set == 0 && attributes.clear == 0 {
        return Ok(());
    }
    match set_attributes(mount, c"", recursive, attributes) {
        Err(Errno::NOSYS) => remount(mount, attributes),
        other => other,
    }
}

/// Leaves an attached bind mount with the attributes asked for and no others of its source, as
/// runc's remount does. Attributes that the kernel has locked, because the source belongs to a more
/// privileged mount namespace (mount_namespaces(7)), stay.
pub fn change_exactly(mount: BorrowedFd<'_>, asked: &Attributes) -> Result<(), Errno> {
    const FLAGS: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let only = |flags: u64| Attributes { clear: asked.clear | (flags & !asked.set), ..*asked };
    match change(mount, false, &only(FLAGS | attr::NOSYMFOLLOW)) {
        // Linux before 5.14 knows no nosymfollow.
        Err(Errno::INVAL) => change(mount, false, &only(FLAGS)),
        Err(Errno::PERM) => change(mount, false, asked),
        other => other,
    }
}

/// What Linux before 5.12 gets: a bind remount of this mount alone, with the flags it has and those
/// asked for.
fn remount(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<(), Errno> {
    // The MS_ and ST_ bits of ro, nosuid, nodev, noexec are the attribute bits; the access-time
    // ones are not.
    const SAME: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    const TIMES: [(u64, MountFlags); 3] = [
        (attr::NOATIME, MountFlags::NOATIME),
        (attr::STRICTATIME, MountFlags::STRICTATIME),
        (attr::NODIRATIME, MountFlags::NODIRATIME),
    ];
    let now = rustix::fs::fstatvfs(mount)?.f_flag.bits();
    let mut flags = MountFlags::from_bits_retain((((now & SAME) & !attributes.clear) | (attributes.set & SAME)) as u32);
    if attributes.clear & attr::ATIME == 0 && attributes.set & attr::ATIME == 0 {
        flags |= MountFlags::from_bits_retain((now & (1024 | 2048 | 4096)) as u32) & atime_flags();
    }
    for (bit, flag) in TIMES {
        flags.set(flag, flags.contains(flag) || attributes.set & bit != 0);
    }
    with_proc_path(mount, |path| mount_remount(path, MountFlags::BIND | flags, c""))
}

fn atime_flags() -> MountFlags {
    MountFlags::NOATIME | MountFlags::NODIRATIME
}

pub fn propagate(mount: BorrowedFd<'_>, propagation: u64, recursive: bool) -> Result<(), Errno> {
    if propagation == 0 {
        return Ok(());
    }
    let set = Attributes { propagation, ..Attributes::default() };
    match set_attributes(mount, c"", recursive, &set) {
        Err(Errno::NOSYS) => {
            let mut flags = MountPropagationFlags::from_bits_retain(propagation as u32);
            flags.set(MountPropagationFlags::REC, recursive);
            with_proc_path(mount, |path| mount_change(path, flags))
        }
        other => other,
    }
}

/// Calls `f` with /proc/self/fd/N of `fd`, for calls that take only paths.
pub fn with_proc_path<T>(fd: BorrowedFd<'_>, f: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    let mut path = [0_u8; 32];
    path[..PREFIX.len()].copy_from_slice(PREFIX);
    let digits = rustix::path::DecInt::new(fd.as_raw_fd());
    let digits = digits.as_bytes();
    path[PREFIX.len()..PREFIX.len() + digits.len()].copy_from_slice(digits);
    f(CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?)
}
