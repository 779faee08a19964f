//! The base of new mount namespaces: a mount namespace that holds a read-only filesystem with empty
//! files and directories, and nothing else. A container's mount namespace is copied from it in a
//! moment, however many mounts the host has.
//!
//! The first start that finds none makes it, and a bind mount of its file (nsfs, namespaces(7)) keeps
//! it until the host restarts or `rt gc --all` removes it. That bind mount cannot be made where it
//! would propagate, so it is in a directory that is a private mount of its own. The kernel does not
//! copy it into other mount namespaces, so each mount namespace in which `rt` runs has its own.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rt_protocol::flags::propagation;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Timespec, Timestamps,
    flock, fstat, futimens, mkdirat, open, openat, statat, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::empty_namespace;
use crate::error::{Context, Error};

/// Beside the state of containers and not in it: every name there may be the id of a container.
pub const DIRECTORY: &str = "/run/rt-mounts";
const FILE: &str = "base";
const PATH: &str = "/run/rt-mounts/base";

/// The base, made if there is none. Without one, for whatever reason, a container's mount namespace
/// begins as a copy of this process's.
pub fn get() -> Option<OwnedFd> {
    if let Some(base) = find() {
        return Some(base);
    }
    match make() {
        Ok(base) => {
            tracing::debug!("made the base of new mount namespaces, {PATH}");
            base
        }
        Err(errno) => {
            tracing::debug!("no base of new mount namespaces in {DIRECTORY}: {}", rt_sys::errno::text(errno));
            None
        }
    }
}

/// Whether there is a place for a base, or a base.
pub fn exists() -> bool {
    Path::new(DIRECTORY).exists()
}

/// Removes the base; `false` if there was none. Containers do not need it any more.
pub fn remove() -> Result<bool, Error> {
    let path = Path::new(DIRECTORY);
    let directory = match open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.on("open", path)?,
    };
    flock(&directory, FlockOperation::LockExclusive).on("lock", path)?;
    let base = Path::new(PATH);
    unmount_all(base).on("unmount", base)?;
    unmount_all(path).on("unmount", path)?;
    match unlinkat(CWD, base, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).on("remove", base),
    }
    unlinkat(CWD, path, AtFlags::REMOVEDIR).on("remove", path)?;
    Ok(true)
}

fn find() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(PATH, flags, Mode::empty()).ok()?;
    empty_namespace::is_one(file.as_fd()).then_some(file)
}

/// Makes the base. None if another process is about to.
fn make() -> Result<Option<OwnedFd>, Errno> {
    let locked = open_directory()?;
    match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => return Ok(None),
        other => other?,
    }
    // Since this process has looked, another may have made it.
    if let Some(base) = find() {
        return Ok(Some(base));
    }
    let directory = private_mount(&locked)?;
    let damaged = unmount_all(Path::new(PATH))?;
    if !damaged && has_just_failed(&directory)? {
        return Err(Errno::AGAIN);
    }
    let place = place(&directory)?;
    set_last_failure(&place, SystemTime::now())?;
    let mut base = empty_namespace::make()?;
    let mut next_cpu = 0;
    while let Err(errno) = clone_tree(base.as_fd()).and_then(|tree| attach(tree.as_fd(), place.as_fd())) {
        if !matches!(errno, Errno::LOOP | Errno::INVAL) {
            return Err(errno);
        }
        let (cpu, made) = empty_namespace::make_another(&base, next_cpu)?.ok_or(errno)?;
        (base, next_cpu) = (made, cpu + 1);
    }
    set_last_failure(&place, UNIX_EPOCH)?;
    Ok(Some(base))
}

/// Whether an attempt of the last minute has failed, or was killed. Each takes as long as a few starts,
/// and the next would fail for the same reason. The file's modification time says when.
fn has_just_failed(directory: &OwnedFd) -> Result<bool, Errno> {
    let Some(file) = regular_file(directory)? else { return Ok(false) };
    let failed = UNIX_EPOCH + Duration::from_secs(file.st_mtime.try_into().unwrap_or(0));
    Ok(SystemTime::now().duration_since(failed).is_ok_and(|age| age < Duration::from_secs(60)))
}

fn regular_file(directory: &OwnedFd) -> Result<Option<Stat>, Errno> {
    match statat(directory, FILE, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => stat.map(|stat| Some(stat).filter(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)),
    }
}

/// The empty file for the bind mount. One that is there stays: in another mount namespace a base may
/// be mounted on it.
fn place(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    if regular_file(directory)?.is_none() {
        match unlinkat(directory, FILE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(directory, FILE, flags, Mode::RUSR)
}

fn set_last_failure(place: &OwnedFd, when: SystemTime) -> Result<(), Errno> {
    let seconds = when.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = Timespec { tv_sec: seconds.try_into().unwrap_or(0), tv_nsec: 0 };
    futimens(place, &Timestamps { last_access: time, last_modification: time })
}

/// The directory, which nobody else may write.
fn open_directory() -> Result<OwnedFd, Errno> {
    match mkdirat(CWD, DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let directory = open(DIRECTORY, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&directory)?;
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        return Err(Errno::ACCESS);
    }
    Ok(directory)
}

/// The directory as the root of a mount that propagates nothing.
fn private_mount(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let stat = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    let mounted = if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        openat(directory, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?
    } else {
        let tree = clone_tree(directory.as_fd())?;
        attach(tree.as_fd(), directory.as_fd())?;
        tree
    };
    let private = Attributes { propagation: propagation::PRIVATE, ..Attributes::default() };
    set_attributes(mounted.as_fd(), c"", false, &private)?;
    Ok(mounted)
}

fn clone_tree(place: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(place, c"", how)
}

fn attach(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

/// Unmounts all that is stacked at `path`; whether anything was.
fn unmount_all(path: &Path) -> Result<bool, Errno> {
    let mut any = false;
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => any = true,
            // Nothing is mounted there, or nothing is there.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(any),
            Err(errno) => return Err(errno),
        }
    }
}
