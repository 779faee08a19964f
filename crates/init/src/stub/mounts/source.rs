//! Trees that are opened before init leaves the runtime's mount namespace.

use core::ffi::CStr;

use rt_protocol::descriptor::Descriptor;
use rt_protocol::flags::propagation;
use rt_protocol::op::{MOST_SOURCES, flag, place_of_source};
use rt_protocol::report::Step;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::attributes::propagate;
use crate::fail::{At, Fail};
use crate::temporary::Temporary;

use super::{Mounts, clone_tree, is_directory, mounts_propagation, null_device};

/// The trees, or why one cannot be opened, until the ops that need them.
///
/// The kernel numbers mounts in the order in which they are made, and lists them in that order (Linux
/// 6.8, proc_pid_mountinfo(5)). So that the container's mounts have the order of its config, each tree
/// is only kept in a place of init's mount namespace, and copied when it is its turn.
#[derive(Default)]
pub struct Sources {
    opened: [Option<Result<OwnedFd, Errno>>; MOST_SOURCES],
    count: usize,
}

impl Mounts {
    /// `Op::Source`.
    pub fn open_in_advance(&mut self, path: &CStr, flags: u32) -> Result<(), Fail> {
        if flags & flag::NULL_DEVICE != 0 {
            return self.open_null_device();
        }
        let opened = open_host_tree(path, flags).and_then(|tree| {
            // A peer of the host's mounts would be unmounted there, too, when the places are left.
            propagate(tree.as_fd(), propagation::SLAVE, true)?;
            Ok(tree.keep())
        });
        let place = self.sources.opened.get_mut(self.sources.count).ok_or(Fail::new(Step::LoadPlan, Errno::INVAL))?;
        *place = Some(opened);
        self.sources.count += 1;
        Ok(())
    }

    /// Without a null device on the host, the first mask that needs it reports that.
    fn open_null_device(&mut self) -> Result<(), Fail> {
        let tree = match null_device(&mut self.null) {
            Err(fail) if fail.step == Step::Source => return Ok(()),
            device => clone_tree(device?, false).at(Step::Source)?,
        };
        propagate(tree.as_fd(), propagation::SLAVE, false).at(Step::Propagation)?;
        self.null = Some(tree.keep());
        Ok(())
    }

    /// A copy of what source `number`, counted from 1, has opened. Each is for one op.
    pub(super) fn opened(&mut self, number: u32, recursive: bool) -> Result<Temporary, Errno> {
        let kept = Temporary::from(self.take_opened(number)?);
        clone_tree(kept.as_fd(), recursive)
    }

    fn take_opened(&mut self, number: u32) -> Result<OwnedFd, Errno> {
        let place = (number as usize).checked_sub(1).and_then(|at| self.sources.opened.get_mut(at));
        place.and_then(Option::take).ok_or(Errno::BADF)?
    }

    /// `Op::MountNamespace`. Without `base`, or where init may not enter it, everything is the same
    /// in a copy of the runtime's mount namespace, but for the time that it takes.
    pub fn enter_namespace(&mut self, base: Descriptor) -> Result<(), Fail> {
        self.apart = crate::run::owned(base).is_ok_and(|base| {
            let entered = move_into_thread_name_spaces(base.as_fd(), ThreadNameSpaceType::MOUNT);
            // Until the barrier, with what else is no longer needed.
            drop(Temporary::from(base));
            entered.is_ok()
        });
        // SAFETY: only the mount namespace is left, not memory, files or the file system context.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        if self.apart {
            self.keep_sources().at(Step::Attach)
        } else {
            self.null = None;
            mounts_propagation(propagation::SLAVE, true).at(Step::Propagation)
        }
    }

    /// Attaches everything in its place, where it stays until the old root is left. Only the rootfs,
    /// which is the first source and the first mount, needs none.
    fn keep_sources(&self) -> Result<(), Errno> {
        if let Some(null) = &self.null {
            keep(null, 0)?;
        }
        for (at, tree) in self.sources.opened.iter().take(self.sources.count).enumerate().skip(1) {
            if let Some(Ok(tree)) = tree {
                keep(tree, at + 1)?;
            }
        }
        Ok(())
    }

    /// `Op::Root` with a tree that was opened in advance.
    pub(super) fn attach_root(&mut self, opened: u32) -> Result<(), Fail> {
        let tree = Temporary::from(self.take_opened(opened).at(Step::Source)?);
        let attached = move_mount(&tree, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        attached.map_err(|errno| match errno {
            // A file cannot be mounted on a directory.
            Errno::INVAL | Errno::NOTDIR => Fail::new(Step::Source, Errno::NOTDIR),
            errno => Fail::new(Step::Attach, errno),
        })?;
        self.root = Some(crate::rootfs::Root::new(tree.keep()));
        Ok(())
    }
}

fn keep(tree: &OwnedFd, number: usize) -> Result<(), Errno> {
    let attach_at = |directory| {
        let place = place_of_source(number, directory);
        let place = CStr::from_bytes_until_nul(&place).map_err(|_| Errno::INVAL)?;
        move_mount(tree, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    match attach_at(true) {
        Err(Errno::INVAL | Errno::NOTDIR) => attach_at(false),
        other => other,
    }
}

/// A detached copy of the mount at `path` of the host.
///
/// To find the mounts below a path, the kernel looks at all mounts on the same filesystem's mount, on
/// many hosts the one at `/`: 140 ns for each. So a file, such as Docker's resolv.conf, is not asked
/// for them.
pub(super) fn open_host_tree(path: &CStr, flags: u32) -> Result<Temporary, Errno> {
    if flags & flag::RECURSIVE != 0 && flags & flag::MAY_BE_FILE != 0 {
        let nofollow = if flags & flag::SOURCE_NOFOLLOW != 0 { OFlags::NOFOLLOW } else { OFlags::empty() };
        let place: Temporary = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty())?.into();
        if !is_directory(place.as_fd())? {
            return clone_tree(place.as_fd(), false);
        }
    }
    let mut how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    how.set(OpenTreeFlags::AT_RECURSIVE, flags & flag::RECURSIVE != 0);
    how.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, flags & flag::SOURCE_NOFOLLOW != 0);
    open_tree(CWD, path, how).map(Temporary::from)
}
