//! Decides where a container's cgroup is.

use std::path::{Path, PathBuf};

use rt_resources::{Driver, Layout, Location, Unit, place};

use crate::error::Error;
use crate::own::{Membership, directory};

/// Decides where the cgroup of container `id` is.
///
/// An absolute `cgroupsPath` is below the mount point. A relative one is below the caller's own
/// cgroup on v1, and beside it on v2, where a cgroup with processes cannot have children with
/// controllers. Without one, the relative path is the container's id. `..` does not lead out of any
/// of these.
pub fn locate(
    layout: &Layout,
    driver: Driver,
    cgroups_path: Option<&str>,
    id: &str,
    rootless: bool,
) -> Result<Location, Error> {
    let cgroups_path = cgroups_path.filter(|path| !path.is_empty());
    let mut location = Location { driver, paths: Vec::new(), unit: None, rootless, explicit: cgroups_path.is_some() };
    let inner = match driver {
        Driver::Disabled => return Ok(location),
        Driver::Systemd => {
            let unit = Unit::parse(cgroups_path, id, rootless)?;
            // Without root the units are those of the user's own manager.
            let base = if rootless { crate::systemd::control_group()? } else { PathBuf::from("/") };
            let path = base.join(unit.path());
            location.unit = Some(unit);
            path
        }
        Driver::Cgroupfs => place(cgroups_path, id)?,
    };
    location.paths = directories(layout, &inner)?;
    Ok(location)
}

/// Finds the cgroup that a process is in.
pub fn locate_process(layout: &Layout, pid: rustix::process::Pid) -> Result<Location, Error> {
    let own = Membership::of(pid)?;
    let place = |mount_point: &Path, hierarchy: &str| directory(mount_point, own.path(hierarchy).unwrap_or("/"));
    let paths = in_every_hierarchy(layout, place)?;
    Ok(Location { driver: Driver::Cgroupfs, paths, unit: None, rootless: false, explicit: false })
}

/// The directory of `inner` in every hierarchy.
fn directories(layout: &Layout, inner: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let own = if inner.is_absolute() { None } else { Some(Membership::own()?) };
    in_every_hierarchy(layout, |mount_point, hierarchy| match &own {
        None => Ok(mount_point.join(inner.strip_prefix("/").unwrap_or(inner))),
        Some(own) => {
            let base = directory(mount_point, own.path(hierarchy).unwrap_or("/"))?;
            let beside = layout.is_v2() && base != mount_point;
            Ok(base.parent().filter(|_| beside).unwrap_or(&base).join(inner))
        }
    })
}

/// What `place` says of each hierarchy, given its mount point and its name, by controller.
fn in_every_hierarchy(
    layout: &Layout,
    place: impl Fn(&Path, &str) -> Result<PathBuf, Error>,
) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut paths = Vec::new();
    for hierarchy in layout.hierarchies() {
        let path = place(&hierarchy.mount_point, &hierarchy.name)?;
        paths.extend(hierarchy.keys().iter().map(|key| (key.clone(), path.clone())));
    }
    if let Some(root) = layout.unified() {
        paths.push((String::new(), place(root, "")?));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use rt_resources::Hierarchy;

    use super::*;

    fn hybrid() -> Layout {
        let hierarchy = |name: &str, controllers: &[&str], directory: &str| Hierarchy {
            name: name.to_owned(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            mount_point: Path::new("/cg").join(directory),
        };
        Layout::Hybrid {
            hierarchies: vec![
                hierarchy("cpu,cpuacct", &["cpu", "cpuacct"], "cpu,cpuacct"),
                hierarchy("memory", &["memory"], "memory"),
                hierarchy("name=systemd", &[], "systemd"),
            ],
            unified: "/cg/unified".into(),
        }
    }

    fn resolve(layout: &Layout, path: &str) -> Location {
        locate(layout, Driver::Cgroupfs, Some(path), "id", false).unwrap()
    }

    #[test]
    fn an_absolute_path_is_below_every_mount_point() {
        let location = resolve(&hybrid(), "/docker/abc");
        let path = |name| location.path_for(name).map(|path| path.to_str().unwrap());
        assert_eq!(path("cpu"), Some("/cg/cpu,cpuacct/docker/abc"));
        assert_eq!(path("cpuacct"), path("cpu"));
        assert_eq!(path("memory"), Some("/cg/memory/docker/abc"));
        assert_eq!(path("name=systemd"), Some("/cg/systemd/docker/abc"));
        assert_eq!(location.unified(), Some(Path::new("/cg/unified/docker/abc")));
        assert_eq!(path("pids"), None);
        assert!(!location.is_v2());
    }

    #[test]
    fn a_relative_path_starts_from_the_callers_own_cgroup() {
        let layout = crate::detect().unwrap();
        let own = Membership::own().unwrap();
        let given = resolve(&layout, "a/b");
        let default = locate(&layout, Driver::Cgroupfs, None, "id", false).unwrap();
        assert!(given.explicit && !default.explicit);
        for hierarchy in layout.hierarchies() {
            let base = directory(&hierarchy.mount_point, own.path(&hierarchy.name).unwrap()).unwrap();
            let key = &hierarchy.keys()[0];
            assert_eq!(given.path_for(key), Some(base.join("a/b").as_path()));
            assert_eq!(default.path_for(key), Some(base.join("id").as_path()));
        }
    }

    #[test]
    fn a_location_survives_the_state_file() {
        let location = resolve(&hybrid(), "/docker/abc");
        let json = serde_json::to_string(&location).unwrap();
        assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
        let systemd = locate(&hybrid(), Driver::Systemd, Some("system.slice:rt:abc"), "abc", false).unwrap();
        assert_eq!(systemd.path_for("memory"), Some(Path::new("/cg/memory/system.slice/rt-abc.scope")));
        let json = serde_json::to_string(&systemd).unwrap();
        assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), systemd);
    }

    #[test]
    fn disabled_has_no_place() {
        let location = locate(&hybrid(), Driver::Disabled, Some("/x"), "id", false).unwrap();
        assert!(location.paths.is_empty());
    }
}
