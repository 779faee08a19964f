//! Looks which cgroup file systems this host has, and where.

use std::path::Path;

use rt_resources::{Hierarchy, Layout};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Where cgroups are mounted on every distribution.
const ROOT: &str = "/sys/fs/cgroup";

/// Where a hybrid host has version 2.
const UNIFIED: &str = "unified";

const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Looks at `/sys/fs/cgroup`.
pub fn detect() -> Result<Layout, Error> {
    detect_at(Path::new(ROOT))
}

/// Looks at another mount point.
///
/// Costs one statfs on cgroup v2, and one per hierarchy otherwise. /proc/self/mountinfo would say
/// the same, but is as long as the host has mounts, and a host with a hundred containers has
/// thousands.
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

/// The trees of version 1 below `root`, in the order of their names.
fn hierarchies(root: &Path) -> Result<Vec<Hierarchy>, Error> {
    let failed = |errno| Error::Call { action: "read", path: root.to_owned(), errno };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(fd).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy();
        // Symbolic links are second names (`cpu` for `cpu,cpuacct`); what they point at is listed
        // itself.
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
    fn a_host_without_cgroups_is_not_an_error() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(detect_at(empty.path()).unwrap(), Layout::None);
        assert_eq!(detect_at(&empty.path().join("none")).unwrap(), Layout::None);
    }

    /// Whatever this host has, what is detected agrees with the kernel's own list.
    #[test]
    fn every_hierarchy_of_this_host_is_one_of_the_kernels() {
        let listed = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        for hierarchy in detect().unwrap().hierarchies() {
            let line = format!(":{}:", hierarchy.name);
            assert!(listed.contains(&line), "{} is not in {listed}", hierarchy.name);
        }
    }
}
