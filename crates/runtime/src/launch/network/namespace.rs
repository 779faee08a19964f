//! The network namespace of a container, made by this process while init mounts.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::host::thread::apart;
use crate::launch::error::LaunchError;

/// A new one. This process is in it for a moment only: sockets and hooks of the runtime belong to
/// the caller's.
pub fn make(first_user_namespace: bool) -> Result<OwnedFd, LaunchError> {
    let parent = LaunchError::parent;
    let ours = current().map_err(parent("open the runtime's network namespace"))?;
    // Root of a user namespace may leave the network namespace that it was given by its parent, and
    // then not return. Entering the present namespace once more shows whether that is so here. If
    // it is, a thread of its own makes the namespace, because that thread need not return.
    if !first_user_namespace
        && move_into_thread_name_spaces(ours.as_fd(), ThreadNameSpaceType::NETWORK) == Err(Errno::PERM)
    {
        return apart(leave).map_err(parent("make the container's network namespace"));
    }
    // SAFETY: neither memory, descriptors nor the file system context are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(parent("make the container's network namespace"))?;
    let made = current().map_err(parent("open the container's network namespace"));
    move_into_thread_name_spaces(ours.as_fd(), ThreadNameSpaceType::NETWORK)
        .map_err(parent("return to the runtime's network namespace"))?;
    made
}

/// Leaves the caller's for good, and gives the one where this thread is now.
fn leave() -> Result<OwnedFd, Errno> {
    // SAFETY: neither memory, descriptors nor the file system context are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn current() -> Result<OwnedFd, Errno> {
    openat(CWD, c"/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
