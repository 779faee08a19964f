//! The mount that a container without a mount namespace has on the host: its rootfs, bound onto
//! itself, with all mounts below.
//!
//! The mount is recorded before init makes it, so that it can be found if its creator dies. A
//! rootfs that was a mount before belongs to the engine and stays; the mount ids distinguish the
//! two (statx(2), Linux 5.8).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, readlinkat, statx, symlinkat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::error::{Context, Error};
use crate::store::directory::Container;

/// A symlink whose target is the mount id below, a colon, and the path.
const LINK: &str = "rootfs";

/// A rootfs on which init mounts.
#[derive(Debug, PartialEq, Eq)]
pub struct HostMount {
    rootfs: PathBuf,
    /// The mount that the rootfs lies on without it.
    below: u64,
}

impl HostMount {
    /// Writes down what lies at `rootfs` before anything is mounted there.
    pub fn record(container: &Container, rootfs: &Path) -> Result<(), Error> {
        let below = mount_id(rootfs).on("look at", rootfs)?;
        let mut text = format!("{below}:").into_bytes();
        text.extend_from_slice(rootfs.as_os_str().as_bytes());
        symlinkat(OsStr::from_bytes(&text), container.dir(), LINK).on("record the rootfs in", &container.path)
    }

    /// What was recorded, if the container is of this kind.
    pub fn recorded(container: &Container) -> Option<HostMount> {
        parse(readlinkat(container.dir(), LINK, Vec::new()).ok()?.as_bytes())
    }

    /// Takes the mount, with all below it, if it was made.
    pub fn remove(&self) {
        if mount_id(&self.rootfs).is_ok_and(|id| id == self.below) {
            return;
        }
        match unmount(&self.rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // There is none that begins at the rootfs itself.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => tracing::warn!("unmount {}: {}", self.rootfs.display(), rt_sys::errno::text(e)),
        }
    }
}

fn parse(text: &[u8]) -> Option<HostMount> {
    let colon = text.iter().position(|b| *b == b':')?;
    let below = std::str::from_utf8(text.get(..colon)?).ok()?.parse().ok()?;
    Some(HostMount { rootfs: PathBuf::from(OsStr::from_bytes(text.get(colon + 1..)?)), below })
}

fn mount_id(path: &Path) -> Result<u64, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(statx(CWD, path, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record is all that `delete --force` has when the creator was killed.
    #[test]
    fn a_record_names_the_rootfs_whatever_its_name() {
        assert_eq!(parse(b"31:/a:b/c"), Some(HostMount { rootfs: "/a:b/c".into(), below: 31 }));
        for bad in [&b""[..], b"/a", b":/a", b"x:/a", b"-1:/a"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
