//! Writes through procfs: sysctls, LSM labels, oom_score_adj. Only ever through a procfs handle
//! that is known to be one, and never across a mount put over it (CVE-2019-16884, CVE-2025-52881).

use core::ffi::CStr;

use rt_protocol::report::Step;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::{Errno, write};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::fail::{At, Fail};

/// The procfs to write through: the one init mounted, else a private one, else the host's, checked.
pub fn handle(mounted: &mut Option<OwnedFd>) -> Result<BorrowedFd<'_>, Errno> {
    if mounted.is_none() {
        *mounted = Some(private().or_else(|_| checked())?);
    }
    mounted.as_ref().map(AsFd::as_fd).ok_or(Errno::NOENT)
}

fn private() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn checked() -> Result<OwnedFd, Errno> {
    let proc = openat(CWD, c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    Ok(proc)
}

/// Opens a file of procfs for writing.
pub fn open(proc: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    if fstatfs(&fd)?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    Ok(fd)
}

/// The time namespace that this process's children would be in.
pub fn new_time_namespace(mounted: &mut Option<OwnedFd>) -> Result<OwnedFd, Errno> {
    // A magic link of procfs, which is why openat2 as above would refuse it.
    openat(handle(mounted)?, c"self/ns/time_for_children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` to the file at `path` below procfs, whole.
pub fn put(mounted: &mut Option<OwnedFd>, path: &CStr, value: &[u8]) -> Result<(), Fail> {
    let file = match open(handle(mounted)?, path) {
        // The mount in the container may be read-only; a private one is not.
        Err(Errno::ROFS) => {
            let proc = private().at(Step::Target)?;
            open(proc.as_fd(), path).at(Step::Target)?
        }
        other => other.at(Step::Target)?,
    };
    match write(&file, value).at(Step::Write)? {
        n if n == value.len() => Ok(()),
        _ => Err(Fail::new(Step::Write, Errno::IO)),
    }
}
