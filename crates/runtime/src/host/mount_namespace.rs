//! Work in another mount namespace: a thread enters it and ends there, so that this process stays
//! where it is.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use super::thread::apart;

/// Runs `work` in the mount namespace of the process behind `process`, a pidfd.
pub fn in_namespace_of<T: Send>(process: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    in_thread(UnshareFlags::FS, || {
        move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT)?;
        Ok(work())
    })
}

/// Runs `work` in a new mount namespace, in which the directory `source`, with all mounts below it,
/// is mounted at the directory `target`. The namespace lives on in the processes that `work` starts,
/// and ends with them, however they end: no mount that is made in it reaches the host, or can be left
/// behind.
pub fn with_own_mount<T: Send>(source: &Path, target: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    in_thread(UnshareFlags::FS | UnshareFlags::NEWNS, || {
        // What the host mounts later still arrives.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        mount_bind_recursive(source, target)?;
        Ok(work())
    })
}

/// Runs `work` in a thread that shares what is in `own` with no other thread.
pub fn in_thread<T: Send>(own: UnshareFlags, work: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Errno> {
    apart(|| {
        leave(own)?;
        work()
    })
}

/// Gives this thread a copy of its mount namespace.
pub fn leave_mount_namespace() -> Result<(), Errno> {
    leave(UnshareFlags::NEWNS)
}

fn leave(shared: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: only this thread's root, working directory and mount namespace are separated from those
    // of the other threads; memory and descriptors stay shared.
    unsafe { unshare_unsafe(shared) }
}
