//! A mount namespace that holds a read-only filesystem with empty files and directories, and nothing
//! else.

use std::ffi::CStr;

use rt_protocol::flags::attr;
use rt_protocol::op::{MOST_SOURCES, place_of_source};
use rt_sys::mount::{Attributes, mounts_of_namespace, set_attributes};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatfs, fstatvfs, mkdirat, open, openat, statfs};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::process::{fchdir, pivot_root};
use rustix::thread::{CpuSet, ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, sched_setaffinity};

use super::mount_namespace::{in_thread, leave_mount_namespace};

/// The root directory, and a directory and a file for each source and for the null device.
const INODES: usize = 1 + 2 * (1 + MOST_SOURCES);
const TMPFS: i64 = 0x0102_1994;
const NSFS: i64 = 0x6e73_6673;

/// Whether nothing has been mounted in the namespace since it was made.
pub fn is_one(file: BorrowedFd<'_>) -> bool {
    match mounts_of_namespace(file) {
        Ok(mounts) => mounts == 1,
        // No namespace at all, or Linux before 6.12: look from the inside.
        Err(_) => fstatfs(file).is_ok_and(|fs| fs.f_type == NSFS) && looks_empty(file).unwrap_or(false),
    }
}

fn looks_empty(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    in_thread(UnshareFlags::FS, || {
        let proc = open_proc()?;
        move_into_thread_name_spaces(file, ThreadNameSpaceType::MOUNT)?;
        let mut mounts = [0; 512];
        let mountinfo = openat(&proc, "thread-self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let length = read(&mountinfo, &mut mounts)?;
        let one = mounts[..length].strip_suffix(b"\n").is_some_and(|line| !line.contains(&b'\n'));
        let root = statfs("/")?;
        Ok(one && root.f_type == TMPFS && root.f_files == INODES as u64)
    })
}

/// Makes one, and opens its file. It takes as long as a copy of this process's mount namespace.
pub fn make() -> Result<OwnedFd, Errno> {
    in_thread(UnshareFlags::FS, emptied)
}

/// Another namespace like `base`, made on the first CPU from `cpu` on that this process may use, and
/// the number of that CPU; None if there is no such CPU.
///
/// A mount namespace's file can be mounted only in an older one, which the kernel tells by their
/// numbers (ELOOP, mnt_ns_loop in fs/namespace.c). Since Linux 6.18 each CPU has a supply of numbers,
/// so a namespace that was made later may have a lower one. The CPU on which this process's mount
/// namespace was made has higher ones for certain.
pub fn make_another(base: &OwnedFd, cpu: usize) -> Result<Option<(usize, OwnedFd)>, Errno> {
    in_thread(UnshareFlags::FS, || another(base, cpu))
}

fn another(base: &OwnedFd, cpu: usize) -> Result<Option<(usize, OwnedFd)>, Errno> {
    let moved_to = |cpu: &usize| {
        let mut only = CpuSet::new();
        only.set(*cpu);
        // Not of the machine, or not of this cpuset: EINVAL.
        sched_setaffinity(None, &only).is_ok()
    };
    let Some(cpu) = (cpu..CpuSet::MAX_CPU).find(moved_to) else { return Ok(None) };
    let proc = open_proc()?;
    move_into_thread_name_spaces(base.as_fd(), ThreadNameSpaceType::MOUNT)?;
    leave_mount_namespace()?;
    let made = openat(&proc, "thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Some((cpu, made)))
}

fn open_proc() -> Result<OwnedFd, Errno> {
    open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Gives this thread a mount namespace with that filesystem and nothing else, and opens its file.
fn emptied() -> Result<OwnedFd, Errno> {
    leave_mount_namespace()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let namespace = open("/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let empty = places()?;
    move_mount(&empty, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let old = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchdir(&empty)?;
    pivot_root(c".", c".")?;
    fchdir(&old)?;
    unmount(c".", UnmountFlags::DETACH)?;
    // Every start counts on it.
    if !fstatvfs(&empty)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(Errno::ROFS);
    }
    Ok(namespace)
}

/// The filesystem, with the places at which init keeps what it has opened on the host.
fn places() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"nr_inodes", INODES.to_string())?;
    fsconfig_set_string(&context, c"mode", c"0555")?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    for number in 0..=MOST_SOURCES {
        mkdirat(&mount, relative(&place_of_source(number, true))?, Mode::from_raw_mode(0o555))?;
        let create = OFlags::CREATE | OFlags::CLOEXEC;
        openat(&mount, relative(&place_of_source(number, false))?, create, Mode::RUSR)?;
    }
    set_attributes(mount.as_fd(), c"", false, &Attributes { set: attr::RDONLY, ..Attributes::default() })?;
    Ok(mount)
}

fn relative(path: &[u8]) -> Result<&CStr, Errno> {
    path.get(1..).and_then(|path| CStr::from_bytes_until_nul(path).ok()).ok_or(Errno::INVAL)
}
