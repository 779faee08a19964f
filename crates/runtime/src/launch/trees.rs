//! Trees of the host's files that init asks for, one by one when it is at their ops: sources of bind
//! mounts that root of a user namespace has no right to open, or whose ids it has no right to map;
//! and what init finds out too late that it needs, when the host's files are no longer in its mount
//! namespace.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rt_protocol::flags::{attr, propagation};
use rt_protocol::op::flag;
use rt_protocol::report::{Lent, Step};
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::host::mount_namespace::in_namespace_of;

fn failed_in(step: Step) -> impl Fn(Errno) -> (Step, Errno) + Copy {
    move |errno| (step, errno)
}

/// The source of one bind mount, as in `Op::Bind`.
pub(super) struct Wanted<'a> {
    pub source: &'a CStr,
    /// The rootfs, for a source in it.
    pub rootfs: &'a CStr,
    pub flags: u32,
    /// The user namespace whose maps the tree gets.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// Opens a detached copy of the source as `init` sees it, with the rights of this process. The copy
/// keeps the attributes that are locked in init's mount namespace.
pub(super) fn open(init: BorrowedFd<'_>, wanted: &Wanted<'_>) -> Result<OwnedFd, Lent> {
    let opened = in_namespace_of(init, || open_there(wanted)).unwrap_or_else(|errno| Err((Step::Source, errno)));
    opened.map_err(|(step, errno)| Lent { step, errno: errno.raw_os_error() as u32 })
}

/// Opens a detached copy of the host's mount at `path`, a slave of the host's.
pub(super) fn open_here(path: &CStr, recursive: bool) -> Result<OwnedFd, Lent> {
    let mut how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    how |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    how.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let slave = Attributes { propagation: propagation::SLAVE, ..Attributes::default() };
    let opened =
        open_tree(CWD, path, how).and_then(|tree| set_attributes(tree.as_fd(), c"", recursive, &slave).map(|()| tree));
    opened.map_err(|errno| Lent { step: Step::Source, errno: errno.raw_os_error() as u32 })
}

fn open_there(wanted: &Wanted<'_>) -> Result<OwnedFd, (Step, Errno)> {
    let at_source = failed_in(Step::Source);
    let mut how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    how.set(OpenTreeFlags::AT_RECURSIVE, wanted.flags & flag::RECURSIVE != 0);
    let nofollow = wanted.flags & flag::SOURCE_NOFOLLOW != 0;
    let tree = if wanted.flags & flag::SOURCE_IN_ROOT != 0 {
        let path = OFlags::PATH | OFlags::CLOEXEC;
        let root = openat(CWD, wanted.rootfs, path | OFlags::DIRECTORY, Mode::empty()).map_err(at_source)?;
        let path = if nofollow { path | OFlags::NOFOLLOW } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let place = openat2(&root, wanted.source, path, Mode::empty(), resolve).map_err(at_source)?;
        open_tree(&place, c"", how | OpenTreeFlags::AT_EMPTY_PATH)
    } else {
        how.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
        open_tree(CWD, wanted.source, how)
    };
    let tree = tree.map_err(at_source)?;
    if let Some(userns) = wanted.idmap {
        let userns_fd = userns.as_raw_fd() as u64;
        let map = Attributes { set: attr::IDMAP, userns_fd, ..Attributes::default() };
        let recursive = wanted.flags & flag::IDMAP_RECURSIVE != 0;
        set_attributes(tree.as_fd(), c"", recursive, &map).map_err(failed_in(Step::Idmap))?;
    }
    Ok(tree)
}
