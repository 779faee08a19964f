//! Which cgroup file systems this host has, and where.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Where cgroups are mounted on every distribution.
const ROOT: &str = "/sys/fs/cgroup";

/// Where a hybrid host has version 2.
const UNIFIED: &str = "unified";

const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Controllers of cgroup v1. A hierarchy's directory is named after its controllers, or after itself if it has none.
const V1_CONTROLLERS: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// The host's arrangement of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One tree with all controllers.
    V2 {
        /// Its mount point.
        root: PathBuf,
    },
    /// A tree per controller.
    V1 {
        /// The trees.
        hierarchies: Vec<Hierarchy>,
    },
    /// Trees per controller, and one of version 2 with the rest.
    Hybrid {
        /// The trees of version 1.
        hierarchies: Vec<Hierarchy>,
        /// Mount point of the tree of version 2.
        unified: PathBuf,
    },
    /// No cgroups.
    None,
}

/// A tree of cgroup v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// As in /proc/PID/cgroup: `memory`, `cpu,cpuacct`, `name=systemd`.
    pub name: String,
    /// Its controllers; none for a named tree.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
}

impl Layout {
    /// Looks at `/sys/fs/cgroup`.
    pub fn detect() -> Result<Layout, Error> {
        Layout::detect_at(Path::new(ROOT))
    }

    /// Looks at another mount point.
    ///
    /// Costs one statfs on cgroup v2, and one per hierarchy otherwise. /proc/self/mountinfo would say the same, but
    /// is as long as the host has mounts, and a host with a hundred containers has thousands.
    pub fn detect_at(root: &Path) -> Result<Layout, Error> {
        match magic(root)? {
            None => return Ok(Layout::None),
            Some(CGROUP2_SUPER_MAGIC) => {
                return Ok(Layout::V2 { root: root.to_owned() });
            }
            Some(_) => {}
        }
        let unified = root.join(UNIFIED);
        let has_unified = magic(&unified)? == Some(CGROUP2_SUPER_MAGIC);
        let hierarchies = hierarchies(root)?;
        Ok(match (has_unified, hierarchies.is_empty()) {
            (true, _) => Layout::Hybrid { hierarchies, unified },
            (false, false) => Layout::V1 { hierarchies },
            (false, true) => Layout::None,
        })
    }

    /// True when all controllers are those of version 2.
    pub fn is_v2(&self) -> bool {
        matches!(self, Layout::V2 { .. })
    }

    /// The trees of version 1.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        match self {
            Layout::V1 { hierarchies } | Layout::Hybrid { hierarchies, .. } => hierarchies,
            Layout::V2 { .. } | Layout::None => &[],
        }
    }

    /// Mount point of the tree of version 2.
    pub fn unified(&self) -> Option<&Path> {
        match self {
            Layout::V2 { root } | Layout::Hybrid { unified: root, .. } => Some(root),
            Layout::V1 { .. } | Layout::None => None,
        }
    }
}

impl Hierarchy {
    /// The tree mounted on a directory of this name.
    fn named(directory: &str, mount_point: PathBuf) -> Hierarchy {
        let parts: Vec<String> = directory.split(',').map(str::to_owned).collect();
        if parts.iter().all(|part| V1_CONTROLLERS.contains(&part.as_str())) {
            Hierarchy { name: directory.to_owned(), controllers: parts, mount_point }
        } else {
            Hierarchy { name: format!("name={directory}"), controllers: Vec::new(), mount_point }
        }
    }

    /// The names under which this tree is looked up: its controllers, or its own.
    pub(crate) fn keys(&self) -> &[String] {
        if self.controllers.is_empty() { std::slice::from_ref(&self.name) } else { &self.controllers }
    }
}

/// The trees of version 1 below `root`, in the order of their names.
fn hierarchies(root: &Path) -> Result<Vec<Hierarchy>, Error> {
    let failed = |errno| Error::Call { action: "read", path: root.to_owned(), errno };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(fd).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy();
        // Symbolic links are second names (`cpu` for `cpu,cpuacct`); what they point at is listed itself.
        if entry.file_type() != FileType::Directory || [".", "..", UNIFIED].contains(&&*name) {
            continue;
        }
        let mount_point = root.join(&*name);
        if magic(&mount_point)? == Some(CGROUP_SUPER_MAGIC) {
            found.push(Hierarchy::named(&name, mount_point));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The type of the file system a path is on; `None` if there is no such path.
#[allow(clippy::unnecessary_cast)] // f_type is not the same number type on every target
fn magic(path: &Path) -> Result<Option<i64>, Error> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(Some(stat.f_type as i64)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::Call { action: "statfs", path: path.to_owned(), errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directorys_name_says_what_is_mounted_on_it() {
        let hierarchy = Hierarchy::named("cpu,cpuacct", "/c".into());
        assert_eq!(
            (hierarchy.name.as_str(), hierarchy.keys()),
            ("cpu,cpuacct", &["cpu".to_owned(), "cpuacct".to_owned()][..])
        );
        let hierarchy = Hierarchy::named("systemd", "/s".into());
        assert_eq!((hierarchy.name.as_str(), hierarchy.keys()), ("name=systemd", &["name=systemd".to_owned()][..]));
        assert!(hierarchy.controllers.is_empty());
    }

    #[test]
    fn a_host_without_cgroups_is_not_an_error() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Layout::detect_at(empty.path()).unwrap(), Layout::None);
        assert_eq!(Layout::detect_at(&empty.path().join("none")).unwrap(), Layout::None);
    }

    /// Whatever this host has, what is detected agrees with the kernel's own list.
    #[test]
    fn every_hierarchy_of_this_host_is_one_of_the_kernels() {
        let listed = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        for hierarchy in Layout::detect().unwrap().hierarchies() {
            let line = format!(":{}:", hierarchy.name);
            assert!(listed.contains(&line), "{} is not in {listed}", hierarchy.name);
        }
    }
}
