//! Sources of bind mounts for a container in a user namespace: CRIU opens them with the rights of
//! that namespace's root, who may not pass all directories of the host on the way to them.

use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use super::mounts::NULL_DEVICE;
use super::rpc::ExternalMount;

/// A directory that every host has, and that only this mount namespace sees covered. CRIU keeps its
/// own temporary directories in it, too.
const PLACE: &str = "/tmp";

/// Mounts every source in a directory that everybody may pass. To be called in a mount namespace of
/// CRIU's own, which no mount leaves.
pub fn bring(mounts: Vec<ExternalMount>) -> Result<Vec<ExternalMount>, Errno> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // All are opened before the directory is covered, in which some of them may be.
    let opened = mounts.into_iter().map(|mount| {
        let is_device = mount.val == NULL_DEVICE || mount.val.starts_with("/dev/");
        match if is_device { Err(Errno::NOENT) } else { open_tree(CWD, mount.val.as_str(), how) } {
            Ok(tree) => Ok((mount, Some(tree))),
            // A cgroup that is made later, below directories that everybody may pass.
            Err(Errno::NOENT) => Ok((mount, None)),
            Err(errno) => Err(errno),
        }
    });
    let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
    mount("rt", PLACE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))?;
    let place = |(i, (known, tree)): (usize, (ExternalMount, Option<_>))| {
        let Some(tree) = tree else { return Ok(known) };
        let path = PathBuf::from(format!("{PLACE}/{i}"));
        let kind = FileType::from_raw_mode(statat(&tree, c"", AtFlags::EMPTY_PATH)?.st_mode);
        if kind == FileType::Directory {
            mkdirat(CWD, &path, Mode::from_raw_mode(0o755))?;
        } else {
            openat(CWD, &path, OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?;
        }
        move_mount(&tree, c"", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(ExternalMount { val: path.to_string_lossy().into_owned(), ..known })
    };
    opened.into_iter().enumerate().map(place).collect()
}
