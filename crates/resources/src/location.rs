//! Where a container's cgroup is: decided once at create, kept in the container's state.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::unit::Unit;

/// `cgroupsPath` names no place where the container's cgroup could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?}: {why}")]
pub struct InvalidPath {
    /// The path.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What makes and owns the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// We do, in the file system.
    Cgroupfs,
    /// systemd does, for a unit that we ask it to start.
    Systemd,
    /// No cgroup is made: the container stays in its creator's cgroup.
    Disabled,
}

/// The directories of one container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// What owns the cgroup.
    pub driver: Driver,
    /// A directory per controller or named hierarchy of cgroup v1; the empty name is cgroup v2.
    pub paths: Vec<(String, PathBuf)>,
    /// The systemd unit, under the systemd driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Made by a user without the right to make cgroups anywhere.
    #[serde(default)]
    pub rootless: bool,
    /// config.json asked for this place, so another one, or none, will not do.
    #[serde(default)]
    pub explicit: bool,
}

impl Location {
    /// The directory of a controller, or of a hierarchy without any (`name=systemd`), of cgroup v1.
    pub fn path_for(&self, controller: &str) -> Option<&Path> {
        self.paths.iter().find(|(name, _)| name == controller).map(|(_, path)| path.as_path())
    }

    /// The directory in cgroup v2.
    pub fn unified(&self) -> Option<&Path> {
        self.path_for("")
    }

    /// True when cgroup v2 is all there is.
    pub fn is_v2(&self) -> bool {
        matches!(&self.paths[..], [(name, _)] if name.is_empty())
    }
}

/// The container's place inside a hierarchy under the cgroupfs driver: absolute as `cgroups_path`
/// is, and relative to the caller's own cgroup if that is. Without a `cgroups_path` it is the
/// relative path `id`. `..` does not lead out.
pub fn place(cgroups_path: Option<&str>, id: &str) -> Result<PathBuf, InvalidPath> {
    let path = cgroups_path.unwrap_or(id);
    let clean = clean(path);
    if clean == "/" {
        let why = "this is the root of the hierarchy, not a place of the container's own";
        return Err(InvalidPath { path: path.to_owned(), why });
    }
    Ok(if path.starts_with('/') { clean.into() } else { clean[1..].into() })
}

/// `path` with `.`, `..` and double slashes resolved as text, below `/`: `..` at the top stays
/// there.
///
/// The kernel resolves what is left, inside the rootfs, when the op runs (openat2 RESOLVE_IN_ROOT).
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for part in &parts {
        out.push('/');
        out.push_str(part);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_stays_below_the_root() {
        assert_eq!(clean("/a/../../b"), "/b");
        assert_eq!(clean("a//./b/"), "/a/b");
        assert_eq!(clean("/../.."), "/");
    }

    /// A config may come from an image's author; its cgroup must stay below the mount point.
    #[test]
    fn dots_do_not_lead_out_of_the_hierarchy() {
        for path in ["/../../../some/path", "/a/../../some/./path", "/some/b/../path"] {
            assert_eq!(place(Some(path), "id").unwrap(), Path::new("/some/path"), "{path}");
        }
        assert_eq!(place(Some("../../a"), "id").unwrap(), Path::new("a"));
        assert_eq!(place(None, "id").unwrap(), Path::new("id"));
        for path in ["/", "/..", ".", "a/.."] {
            assert!(place(Some(path), "id").is_err(), "{path}");
        }
    }
}
