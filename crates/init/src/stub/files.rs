//! Directories, device nodes and symlinks inside the rootfs.

use core::ffi::CStr;

use rt_protocol::op::flag;
use rt_protocol::report::Step;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mkdirat, mknodat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;

use crate::fail::{At, Fail};
use crate::mounts::{Ask, attach, clone_tree};
use crate::rootfs::Root;
use crate::temporary::Temporary;

/// Where the host's files are.
pub enum Host<'a> {
    /// In init's own mount namespace.
    Here,
    /// In the parent's, which gives a tree when it is asked.
    Asked(Ask<'a>),
}

/// `Op::Directory`.
pub fn directory(root: &Root, path: &CStr, mode: u32, uid: u32, gid: u32, flags: u32) -> Result<(), Fail> {
    if root.open(path, OFlags::PATH | OFlags::DIRECTORY).is_ok() && flags & flag::KEEP_EXISTING != 0 {
        return Ok(());
    }
    if mode == 0o755 && uid == 0 && gid == 0 {
        return root.make_directory(path).at(Step::Create).map(drop);
    }
    root.in_parent(path, |parent, name| match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e),
        Ok(()) => own(parent, name, uid, gid),
    })
    .at(Step::Create)
}

/// `Op::Node`: mknod(2) below an opened directory; a node that is already the right one stays (a
/// /dev of the rootfs).
pub fn node(
    root: &Root,
    path: &CStr,
    mode: u32,
    device: (u32, u32),
    (uid, gid): (u32, u32),
    host: Host<'_>,
) -> Result<(), Fail> {
    let kind = FileType::from_raw_mode(mode);
    let permissions = Mode::from_raw_mode(mode & 0o7777);
    let rdev = if kind == FileType::Fifo { 0 } else { makedev(device.0, device.1) };
    root.in_parent(path, |parent, name| {
        match mknodat(parent, name, kind, permissions, rdev) {
            Err(Errno::EXIST) => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let same =
                    FileType::from_raw_mode(stat.st_mode) == kind && (kind == FileType::Fifo || stat.st_rdev == rdev);
                if !same {
                    return Err(Errno::EXIST);
                }
            }
            made => made?,
        }
        own(parent, name, uid, gid)
    })
    .or_else(|errno| match errno {
        // A user namespace may not make devices: the host's node of the same name is bound instead.
        Errno::PERM if kind != FileType::Fifo => bind_node(root, path, (kind, rdev), host),
        other => Err(Fail::new(Step::Create, other)),
    })
}

#[cold]
#[inline(never)] // For its frame, see `main.rs`.
fn bind_node(root: &Root, path: &CStr, device: (FileType, u64), host: Host<'_>) -> Result<(), Fail> {
    let tree: Temporary = match host {
        Host::Here => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(CWD, path, flags, Mode::empty()).at(Step::Create)?;
            clone_tree(node.as_fd(), false).at(Step::Create)?
        }
        Host::Asked(ask) => ask()?.into(),
    };
    let stat = fstat(&tree).at(Step::Create)?;
    if (FileType::from_raw_mode(stat.st_mode), stat.st_rdev) != device {
        return Err(Fail::new(Step::Create, Errno::NODEV));
    }
    let target = root.make_file(path).at(Step::Create)?;
    attach(tree.as_fd(), target.as_fd()).at(Step::Create)
}

/// `Op::Symlink`.
pub fn symlink(root: &Root, path: &CStr, target: &CStr, flags: u32) -> Result<(), Fail> {
    match root.in_parent(path, |parent, name| symlinkat(target, parent, name)) {
        Err(Errno::EXIST) => Ok(()),
        Err(_) if flags & flag::OPTIONAL != 0 => Ok(()),
        other => other.at(Step::Create),
    }
}

/// Sets the owner of a file just made; never through a symlink. Its mode is right: init has no
/// umask.
fn own(parent: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    chownat(&file, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
}
