//! The caller's own cgroups, below which a relative `cgroupsPath` lies.

use std::path::{Path, PathBuf};

use procfs::process::{MountInfos, Process};
use rustix::io::Errno;

use crate::dir::text;
use crate::error::Error;

/// The cgroups of a process, by hierarchy (`memory`, `name=systemd`; the empty name is version 2).
pub(crate) struct Membership {
    entries: Vec<(String, String)>,
}

impl Membership {
    /// The cgroups of the calling process.
    pub(crate) fn own() -> Result<Membership, Error> {
        Membership::read(Path::new("/proc/self/cgroup"))
    }

    /// The cgroups of another process.
    pub(crate) fn of(pid: rustix::process::Pid) -> Result<Membership, Error> {
        Membership::read(Path::new(&format!("/proc/{}/cgroup", pid.as_raw_nonzero())))
    }

    fn read(path: &Path) -> Result<Membership, Error> {
        // The file is one record to the kernel, however many lines it has.
        as_text(path, rt_sys::file::read_record(path)).map(|text| Membership::parse(&text))
    }

    fn parse(text: &str) -> Membership {
        let entries = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
            })
            .collect();
        Membership { entries }
    }

    /// The path in the hierarchy of this name, as /proc shows it.
    pub(crate) fn path(&self, hierarchy: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == hierarchy).map(|(_, path)| path.as_str())
    }
}

/// The directory of a cgroup that /proc/PID/cgroup names.
///
/// Without a cgroup namespace of its own a container sees the host's paths there, but only its own
/// part of the tree below the mount point. Then what the mount shows is cut off the path, which
/// takes a look at mountinfo.
pub(crate) fn directory(mount_point: &Path, path: &str) -> Result<PathBuf, Error> {
    let direct = mount_point.join(path.trim_start_matches('/'));
    // The top is there if anything is.
    if path == "/" || rustix::fs::stat(&direct).is_ok() {
        return Ok(direct);
    }
    let unreadable = |_| Error::Call { action: "read", path: "/proc/self/mountinfo".into(), errno: Errno::IO };
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map_err(unreadable)?;
    let root = mounted_root(&mounts, mount_point).unwrap_or("/");
    let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    Ok(mount_point.join(inside))
}

/// Whether the ids of this process are not those of the host. A user namespace that maps every id
/// to itself counts as the host's, because root has its rights over the host's files there, too.
pub fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_all_ids_to_themselves(&map))
}

/// An empty map has not been written yet: its ids belong to no user.
fn maps_all_ids_to_themselves(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Which directory of its file system is mounted on `mount_point`. The last mount on it is the one
/// in force.
fn mounted_root<'a>(mounts: &'a MountInfos, mount_point: &Path) -> Option<&'a str> {
    mounts.iter().rev().find(|mount| mount.mount_point == mount_point).map(|mount| mount.root.as_str())
}

fn as_text(path: &Path, read: Result<Vec<u8>, Errno>) -> Result<String, Error> {
    read.map(text).map_err(|errno| Error::Call { action: "read", path: path.to_owned(), errno })
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    #[test]
    fn hierarchies_are_found_by_name_and_v2_by_the_empty_one() {
        let own = Membership::parse("9:name=systemd:/a\n4:cpu,cpuacct:/b:c\n0::/user.slice/x.scope\n");
        assert_eq!(own.path("name=systemd"), Some("/a"));
        assert_eq!(own.path("cpu,cpuacct"), Some("/b:c"));
        assert_eq!(own.path(""), Some("/user.slice/x.scope"));
        assert_eq!(own.path("memory"), None);
    }

    #[test]
    fn a_user_namespace_is_known_by_its_map() {
        assert!(maps_all_ids_to_themselves("         0          0 4294967295\n"));
        assert!(!maps_all_ids_to_themselves("         0     100000      65536\n"));
        assert!(!maps_all_ids_to_themselves(""));
    }

    /// Docker in Docker: /sys/fs/cgroup/memory shows /docker/ID of the host.
    #[test]
    fn the_mounts_root_is_that_of_the_topmost_mount() {
        let table = "1 2 0:3 / /m rw - cgroup cgroup rw,memory\n3 2 0:3 /docker/ID /m rw - cgroup cgroup rw,memory\n";
        let mounts = MountInfos::from_read(table.as_bytes()).unwrap();
        assert_eq!(mounted_root(&mounts, Path::new("/m")), Some("/docker/ID"));
        assert_eq!(mounted_root(&mounts, Path::new("/n")), None);
    }
}
