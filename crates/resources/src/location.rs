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

/// Who makes and owns the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// We do, in the file system.
    Cgroupfs,
    /// systemd does, for a unit that we ask it to start.
    Systemd,
    /// Nobody: the container stays in its creator's cgroup.
    Disabled,
}

/// The directories of one container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Who owns it.
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
