//! What is kept of a container between commands: `state.json` in its directory, written whole or
//! not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rt_cgroups::{Cgroup, Location, Reached, Resources};
use rt_plan::spec::{Hooks, IdMapping, MemoryPolicy, Personality, Process};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

use super::deferred::Deferred;
use super::process::{Stat, open};
use crate::error::{Context, Error};
use crate::launch::LateOp;

/// The state of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'static"))]
pub struct State {
    /// Its id.
    pub id: String,
    /// Init's pid.
    pub pid: i32,
    /// Init's start time, in clock ticks since boot.
    pub start_time: u64,
    /// RFC 3339.
    pub created: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The config, where it is not the bundle's config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// The rootfs, absolute.
    pub rootfs: PathBuf,
    /// Of the config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where its cgroups are.
    pub cgroup: Location,
    /// The limits in force.
    #[serde(default)]
    pub resources: Deferred<Resources>,
    /// CLONE_NEW* of the namespaces it does not share with the runtime.
    pub namespaces: u64,
    /// The map of user ids, for commands that execute processes in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Defaults for processes executed in it.
    pub process: Deferred<Process<'static>>,
    /// What else of the config every process of the container has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Deferred<Surroundings>>,
    /// poststart and poststop.
    #[serde(default)]
    pub hooks: Hooks<'static>,
    /// A compiled seccomp program lies beside this file.
    pub seccomp: bool,
    /// A file beside this one says where it is in resctrl.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resctrl: bool,
    /// Where a seccomp listener goes, and the metadata it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_agent: Option<(PathBuf, String)>,
    /// What may still fail at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_ops: Vec<LateOp>,
}

/// Fields of /linux that belong to a process and not to a namespace or a cgroup: an executed
/// process gets them, too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surroundings {
    /// /linux/personality.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality<'static>>,
    /// /linux/memoryPolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy<'static>>,
}

/// The status of a container (runtime-spec, runtime.md "State"; `paused` is every runtime's
/// extension).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waiting for `start`.
    Created,
    /// The program runs.
    Running,
    /// Frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl Status {
    /// As printed.
    pub fn text(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

const LOOK: &str = "look at the container's init";

impl State {
    /// The limits that the container has reached. A unit of systemd takes this knowledge with it
    /// when its last process ends.
    pub fn reached(&self) -> Reached {
        Cgroup::open(&self.cgroup).map(|cgroup| cgroup.reached()).unwrap_or_default()
    }

    /// The state that a hook reads. Init's pid is 0 when it has stopped.
    pub fn for_hook(&self, status: &str) -> Vec<u8> {
        let pid = if status == "stopped" { 0 } else { self.pid };
        rt_plan::hook_state_of(&self.id, &self.bundle, &self.annotations, status, pid)
    }

    /// Where the container's config is.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.bundle.join("config.json"))
    }

    /// A handle to init, if it lives.
    pub fn init(&self) -> Result<Option<OwnedFd>, Error> {
        Ok(self.init_and_stat()?.map(|(init, _)| init))
    }

    /// A handle to init, and what /proc says of it.
    pub fn init_and_stat(&self) -> Result<Option<(OwnedFd, Stat)>, Error> {
        open(self.pid, self.start_time).doing(LOOK)
    }

    /// The cgroup, for commands that cannot work without a cgroup.
    pub fn own_cgroup(&self) -> Result<Cgroup, Error> {
        let cgroup = Cgroup::open(&self.cgroup)?;
        // The cgroup of a container that has ended may be gone, which is no error.
        if !cgroup.exists()? && self.init()?.is_some() {
            return Err(Error::NoCgroup(self.id.clone()));
        }
        Ok(cgroup)
    }

    /// What /proc says of init, if it is still the same process.
    pub fn init_stat(&self) -> Result<Option<Stat>, Error> {
        let stat = Stat::read(self.pid).doing(LOOK)?;
        Ok(stat.filter(|s| s.start_time == self.start_time && !s.is_dead()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Containers outlive an update: what an earlier version wrote is read by this one. A version that
    /// changes the state adds a file and keeps the others.
    #[test]
    fn the_state_of_earlier_versions_is_read() {
        let read = |text: &'static str| {
            let state: State = serde_json::from_str(text).unwrap();
            assert_eq!((state.id.as_str(), state.bundle.to_str()), ("fx", Some("/srv/bundle")));
            assert_eq!(state.annotations["org.example"], "yes");
            assert!(state.seccomp && state.pid > 0 && state.start_time > 0);
            assert_eq!(state.hooks.poststop.as_ref().map(Vec::len), Some(1));
            let resources = state.resources.read().unwrap();
            assert_eq!(resources.memory.unwrap().limit, Some(67_108_864));
            let process = state.process.read().unwrap();
            assert_eq!(process.rlimits.unwrap()[0].hard, Some(1024));
            let surroundings = state.surroundings.as_ref().unwrap().read().unwrap();
            assert!(surroundings.personality.is_some());
            // What a command writes back has lost nothing.
            let (before, after): (serde_json::Value, _) =
                (serde_json::from_str(text).unwrap(), serde_json::to_value(&state).unwrap());
            assert_eq!(after, before);
            state
        };
        let hybrid = read(include_str!("fixtures/state-0.2.0-hybrid.json"));
        assert_eq!(hybrid.cgroup.path_for("memory"), Some(std::path::Path::new("/sys/fs/cgroup/memory/fx")));
        let systemd = read(include_str!("fixtures/state-0.2.0-systemd.json"));
        assert_eq!(systemd.cgroup.driver, rt_cgroups::Driver::Systemd);
        assert_eq!(systemd.uid_mappings.len(), 1);
    }
}
