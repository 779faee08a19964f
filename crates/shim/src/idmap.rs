//! Mounts whose ids are mapped (mount_setattr(2), MOUNT_ATTR_IDMAP): containerd 2.x asks for them when a
//! container has a user namespace, so that it need not change the owner of every file of an image.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use crate::sys;

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// The ids of a user namespace, as the options `uidmap=` and `gidmap=` have them: a list of
/// `container:host:size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    pub uid: String,
    pub gid: String,
}

impl Maps {
    /// Takes one of the two options; false for any other.
    pub fn take(&mut self, option: &str) -> bool {
        match option.split_once('=') {
            Some(("uidmap", map)) => self.uid = map.to_owned(),
            Some(("gidmap", map)) => self.gid = map.to_owned(),
            _ => return false,
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.uid.is_empty() && self.gid.is_empty()
    }

    /// A user namespace with these maps. The process in it lives only as long as this call.
    fn namespace(&self) -> Result<OwnedFd, Errno> {
        let (uid, gid) = (lines(&self.uid).ok_or(Errno::INVAL)?, lines(&self.gid).ok_or(Errno::INVAL)?);
        let (ready, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        let (wait, hold) = pipe_with(PipeFlags::CLOEXEC)?;
        let Some(child) = sys::fork().map_err(|_| Errno::AGAIN)? else {
            drop(hold);
            sys::idle_in_a_user_namespace(&tell, &wait);
        };
        drop(tell);
        let namespace = (|| {
            if rustix::io::read(&ready, &mut [0_u8; 1])? == 0 {
                return Err(Errno::PERM);
            }
            let place = format!("/proc/{}", child.as_raw_nonzero());
            for (file, text) in [("uid_map", uid), ("gid_map", gid)] {
                let file =
                    rustix::fs::open(format!("{place}/{file}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, text.as_bytes())?;
            }
            rustix::fs::open(format!("{place}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        })();
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
        namespace
    }

    /// A copy of the mount at `path` with these ids, mounted nowhere.
    fn tree(&self, path: &Path, recursive: bool, namespace: &OwnedFd) -> Result<OwnedFd, Errno> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let tree = open_tree(CWD, path, flags)?;
        let attributes =
            Attributes { set: MOUNT_ATTR_IDMAP, userns_fd: namespace.as_raw_fd() as u64, ..Attributes::default() };
        set_attributes(tree.as_fd(), c"", recursive, &attributes)?;
        Ok(tree)
    }

    /// Bind mounts `source` on `target` with these ids.
    pub fn bind(&self, source: &Path, target: &Path, recursive: bool) -> Result<(), Errno> {
        let tree = self.tree(source, recursive, &self.namespace()?)?;
        move_mount(&tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }

    /// Mounts the lower directories of an overlay with these ids in `directory`, and returns the options
    /// that name them there.
    pub fn layers(&self, data: &str, directory: &Path) -> Result<Layers, Errno> {
        let (before, lower, after) = lower_directories(data).ok_or(Errno::INVAL)?;
        let namespace = self.namespace()?;
        let mut layers = Layers { directory: directory.into(), places: Vec::new(), data: String::new() };
        for (number, layer) in lower.split(':').enumerate() {
            let place = directory.join(number.to_string());
            fs::create_dir_all(&place).map_err(|error| crate::error::errno(&error))?;
            let tree = self.tree(Path::new(layer), false, &namespace)?;
            move_mount(&tree, c"", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            layers.places.push(place);
        }
        let places: Vec<&str> = layers.places.iter().filter_map(|place| place.to_str()).collect();
        layers.data = format!("{before}{}{after}", places.join(":"));
        Ok(layers)
    }
}

/// Mapped layers; the overlay keeps them when this is dropped, and the places go.
pub struct Layers {
    directory: PathBuf,
    places: Vec<PathBuf>,
    pub data: String,
}

impl Drop for Layers {
    fn drop(&mut self) {
        for place in &self.places {
            let _ = unmount(place, UnmountFlags::DETACH);
            let _ = fs::remove_dir(place);
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// What comes before the lower directories of an overlay, these, and what comes after.
pub fn lower_directories(data: &str) -> Option<(&str, &str, &str)> {
    let start = data.find("lowerdir=")? + "lowerdir=".len();
    let end = data[start..].find(',').map_or(data.len(), |length| start + length);
    Some((&data[..start], &data[start..end], &data[end..]))
}

/// The text of a map for /proc; `None` for one that is malformed.
fn lines(map: &str) -> Option<String> {
    let mut text = String::new();
    for entry in map.split(',') {
        let numbers = entry.split(':').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?;
        let [container, host, size] = numbers[..] else { return None };
        text.push_str(&format!("{container} {host} {size}\n"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        assert_eq!(lines("0:100000:65536").as_deref(), Some("0 100000 65536\n"));
        assert_eq!(lines("0:1:2,5:6:7").as_deref(), Some("0 1 2\n5 6 7\n"));
        for wrong in ["", "0:1", "a:b:c", "0:1:2:3", "0:-1:2"] {
            assert_eq!(lines(wrong), None, "{wrong}");
        }
        let mut maps = Maps::default();
        assert!(maps.take("uidmap=0:1:2") && maps.take("gidmap=0:3:4") && !maps.take("ro"));
        assert_eq!((&*maps.uid, &*maps.gid), ("0:1:2", "0:3:4"));
    }

    #[test]
    fn lower_directories_of_an_overlay() {
        assert_eq!(lower_directories("a=b,lowerdir=/1:/2,c"), Some(("a=b,lowerdir=", "/1:/2", ",c")));
        assert_eq!(lower_directories("lowerdir=/1"), Some(("lowerdir=", "/1", "")));
        assert_eq!(lower_directories("upperdir=/1"), None);
    }
}
