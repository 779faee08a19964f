//! Which cgroup file systems a host has, and where.

use std::path::{Path, PathBuf};

/// Controllers of cgroup v1. A hierarchy's directory is named after its controllers, or after
/// itself if it has none.
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
    pub fn named(directory: &str, mount_point: PathBuf) -> Hierarchy {
        let parts: Vec<String> = directory.split(',').map(str::to_owned).collect();
        if parts.iter().all(|part| V1_CONTROLLERS.contains(&part.as_str())) {
            Hierarchy { name: directory.to_owned(), controllers: parts, mount_point }
        } else {
            Hierarchy { name: format!("name={directory}"), controllers: Vec::new(), mount_point }
        }
    }

    /// The names under which this tree is looked up: its controllers, or its own.
    pub fn keys(&self) -> &[String] {
        if self.controllers.is_empty() { std::slice::from_ref(&self.name) } else { &self.controllers }
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
}
