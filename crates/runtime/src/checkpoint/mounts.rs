//! Mounts that come from outside of the container: CRIU saves their name only, and rt says on
//! restore what is to be mounted there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use procfs::ProcError;
use procfs::process::{MountInfo, Process};
use rustix::io::Errno;

use super::rpc::ExternalMount;
use crate::error::{Context, Error};

/// The name in the image of everything that is covered by the null device, as runc writes it.
pub const NULL_DEVICE: &str = "/dev/null";

/// A mount, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number in the kernel.
    pub id: i32,
    /// The device number of the filesystem.
    pub device: String,
    /// Which part of the filesystem is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The kind of filesystem.
    pub kind: String,
    /// The mount maps ids.
    pub idmapped: bool,
    /// Nothing can be written through the mount.
    pub read_only: bool,
}

impl From<&MountInfo> for Mount {
    fn from(info: &MountInfo) -> Mount {
        Mount {
            id: info.mnt_id,
            device: info.majmin.clone(),
            root: unescaped(info.root.as_bytes()),
            point: unescaped(info.mount_point.as_os_str().as_bytes()),
            kind: info.fs_type.clone(),
            idmapped: info.mount_options.contains_key("idmapped"),
            read_only: info.mount_options.contains_key("ro"),
        }
    }
}

/// The mounts that the process sees.
pub fn of_process(pid: i32) -> Result<Vec<Mount>, Error> {
    let listed = Process::new(pid).and_then(|process| process.mountinfo());
    let errno = |e: ProcError| match e {
        ProcError::PermissionDenied(_) => Errno::PERM,
        ProcError::Io(e, _) => Errno::from_io_error(&e).unwrap_or(Errno::IO),
        ProcError::NotFound(_) => Errno::SRCH,
        _ => Errno::INVAL,
    };
    let listed = listed.map_err(errno).on("read", format!("/proc/{pid}/mountinfo"))?;
    Ok(listed.iter().map(Mount::from).collect())
}

/// The number of the mount on which an open file of the process is.
pub fn of_descriptor(pid: i32, fd: i32) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Undoes the kernel's `\040` (proc_pid_mountinfo(5)).
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Filesystems that CRIU mounts anew, whoever else has them mounted.
const REMADE: &[&str] = &["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// What is known of the mounts of a container and of its host.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// The container's mounts, as the kernel lists them.
    pub container: Vec<Mount>,
    /// The devices of all filesystems that the host has mounted.
    pub host: BTreeSet<String>,
    /// The container has a cgroup namespace: what it sees of the cgroups is mounted whole, although
    /// it does not look so from outside.
    pub own_cgroups: bool,
}

/// The mounts of a container that come from outside, with the names that they get in the image: the
/// place of the mount, as runc names them.
pub fn external(mounts: &Mounts) -> Vec<ExternalMount> {
    let Mounts { container, host, own_cgroups } = mounts;
    let root = container.iter().find(|mount| mount.point == Path::new("/"));
    let whole = |device: &str| container.iter().any(|m| m.device == device && m.root == Path::new("/"));
    let from_outside = |mount: &&Mount| {
        if mount.point == Path::new("/") {
            return false;
        }
        // A part of what is mounted whole in the container is a bind mount made inside.
        if REMADE.contains(&mount.kind.as_str()) {
            let as_a_whole = whole(&mount.device) || (*own_cgroups && mount.kind.starts_with("cgroup"));
            return !as_a_whole;
        }
        if root.is_some_and(|root| root.device == mount.device && mount.root.starts_with(&root.root)) {
            return false;
        }
        host.contains(&mount.device) || !whole(&mount.device)
    };
    let name = |mount: &Mount| {
        let covers = mount.kind == "devtmpfs" && mount.root == Path::new("/null");
        let point = mount.point.to_string_lossy().into_owned();
        ExternalMount { val: if covers { NULL_DEVICE.to_owned() } else { point.clone() }, key: point }
    };
    let mut all: Vec<ExternalMount> = Vec::new();
    for mount in container.iter().filter(from_outside).map(name) {
        // CRIU takes one name for all mounts at a place.
        if !all.iter().any(|known| known.key == mount.key) {
            all.push(mount);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, root: &str, point: &str, kind: &str) -> Mount {
        Mount {
            id: 0,
            device: device.into(),
            root: root.into(),
            point: point.into(),
            kind: kind.into(),
            idmapped: false,
            read_only: false,
        }
    }

    fn names(container: &[Mount], host: &[&str]) -> Vec<(String, String)> {
        names_with(container, host, false)
    }

    fn names_with(container: &[Mount], host: &[&str], own_cgroups: bool) -> Vec<(String, String)> {
        let host = host.iter().map(|device| (*device).to_owned()).collect();
        external(&Mounts { container: container.to_vec(), host, own_cgroups })
            .into_iter()
            .map(|m| (m.key, m.val))
            .collect()
    }

    fn pair(key: &str, val: &str) -> (String, String) {
        (key.to_owned(), val.to_owned())
    }

    /// CRIU fails on a mount from outside that nobody named, and loses the contents of a mount of
    /// the container's own that was named.
    #[test]
    fn what_comes_from_outside_is_named() {
        let container = [
            mount("254:0", "/b/rootfs", "/", "ext4"),
            mount("0:40", "/", "/proc", "proc"),
            mount("0:40", "/sys", "/proc/sys", "proc"),
            mount("0:41", "/", "/dev", "tmpfs"),
            mount("0:42", "/", "/dev/pts", "devpts"),
            mount("0:42", "/0", "/dev/console", "devpts"),
            mount("0:6", "/null", "/proc/keys", "devtmpfs"),
            mount("0:44", "/", "/proc/acpi", "tmpfs"),
            mount("0:44", "/", "/sys/firmware", "tmpfs"),
            // Volumes: from the same filesystem as the rootfs, a tmpfs of the host, a part of one.
            mount("254:0", "/srv/data", "/data", "ext4"),
            mount("0:50", "/", "/host-tmp", "tmpfs"),
            mount("0:51", "/x", "/x", "tmpfs"),
            // Made inside, from the rootfs.
            mount("254:0", "/b/rootfs/a", "/c", "ext4"),
            // A hierarchy of cgroup v1 without a cgroup namespace, and one mounted whole.
            mount("0:32", "/c1", "/sys/fs/cgroup/memory", "cgroup"),
            mount("0:38", "/", "/sys/fs/cgroup/unified", "cgroup2"),
        ];
        let expected = [
            pair("/proc/keys", "/dev/null"),
            pair("/data", "/data"),
            pair("/host-tmp", "/host-tmp"),
            pair("/x", "/x"),
            pair("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"),
        ];
        assert_eq!(names(&container, &["254:0", "0:6", "0:50", "0:32", "0:38"]), expected);
    }

    #[test]
    fn a_cgroup_namespace_has_its_cgroups_whole() {
        let container = [mount("0:38", "/c1", "/sys/fs/cgroup", "cgroup2")];
        assert_eq!(names_with(&container, &["0:38"], true), []);
        assert_eq!(names_with(&container, &["0:38"], false), [pair("/sys/fs/cgroup", "/sys/fs/cgroup")]);
    }

    #[test]
    fn a_place_is_named_once() {
        let stacked = [mount("8:1", "/a", "/v", "ext4"), mount("8:1", "/b", "/v", "ext4")];
        assert_eq!(names(&stacked, &["8:1"]), [pair("/v", "/v")]);
    }

    #[test]
    fn escapes_of_the_kernel_are_undone() {
        assert_eq!(unescaped(br"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescaped(br"/a\"), PathBuf::from(r"/a\"));
        assert_eq!(unescaped(br"/\9zz"), PathBuf::from(r"/\9zz"));
    }
}
