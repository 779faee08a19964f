//! `linux.resources` of config.json (runtime-spec, config-linux.md "Control groups").
//!
//! Every field is optional and `null` means unset. Numbers of which 0 makes no sense are unset when
//! 0, because older engines send the zero value of every field they do not use;
//! [`Resources::normalized`] knows which.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// All limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Resources {
    /// Access to devices; later rules override earlier ones.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Processor time, processors and memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Number of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Block I/O.
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    /// Huge pages, per size.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Network class and priorities (cgroup v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// RDMA resources, per device.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of cgroup v2, written as they are.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// One entry of `devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct DeviceRule {
    /// Allow, or deny.
    #[serde(deserialize_with = "or_default")]
    pub allow: bool,
    /// Block, character or both; unset is both.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<DeviceKind>,
    /// Major number; unset or -1 is every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number; unset or -1 is every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Any of the letters r, w and m (mknod); unset is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// The devices a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum DeviceKind {
    /// `a`: block and character devices.
    All,
    /// `b`.
    Block,
    /// `c`, or `u`.
    Char,
    /// A letter that is none of these; [`Resources::check`] reports it.
    Unknown(String),
}

impl From<String> for DeviceKind {
    fn from(letter: String) -> DeviceKind {
        match letter.as_str() {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" | "u" => DeviceKind::Char,
            _ => DeviceKind::Unknown(letter),
        }
    }
}

impl From<DeviceKind> for String {
    fn from(kind: DeviceKind) -> String {
        match kind {
            DeviceKind::All => "a".to_owned(),
            DeviceKind::Block => "b".to_owned(),
            DeviceKind::Char => "c".to_owned(),
            DeviceKind::Unknown(letter) => letter,
        }
    }
}

/// `memory`. Sizes are bytes, -1 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Memory {
    /// Hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    /// Kernel memory; no supported kernel limits it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    /// Kernel memory for TCP (cgroup v1 only).
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// Tendency to swap, 0 to 100 (cgroup v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Hold processes that are out of memory instead of killing them (cgroup v1 only).
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    /// Account children with their parents; kernels always do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_hierarchy: Option<bool>,
    /// Refuse a limit below current usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// `cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative weight, 2 to 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds per period; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds that may be saved up for a burst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Length of a period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Microseconds per period for real-time tasks (cgroup v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    /// Length of the real-time period (cgroup v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// Processors to run on, e.g. `0-3,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory nodes to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
    /// 1: run only when nothing else wants to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

/// `pids`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Pids {
    /// Most processes and threads; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// `blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weight against child cgroups (cgroup v1 with CFQ only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    /// Weights per device.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read per second.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes written per second.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Reads per second.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Writes per second.
    #[serde(
        rename = "throttleWriteIOPSDevice",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// One entry of `blockIO.weightDevice`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Relative weight, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weight against child cgroups (cgroup v1 with CFQ only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// One entry of a `blockIO.throttle…Device` list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Per second; 0 lifts the limit.
    pub rate: u64,
}

/// One entry of `hugepageLimits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct HugepageLimit {
    /// As the kernel names it: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// `network` (cgroup v1 only).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Network {
    /// Class for traffic control.
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    /// Priorities per interface.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<InterfacePriority>,
}

/// One entry of `network.priorities`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct InterfacePriority {
    /// Interface.
    pub name: String,
    /// Priority.
    pub priority: u32,
}

/// One value of `rdma`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Rdma {
    /// Most handles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// Most objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

impl Resources {
    /// The limits alone, with every value that means "unset" unset.
    ///
    /// Devices are left out: they are applied on their own, and an update does not touch them.
    pub fn normalized(&self) -> Resources {
        Resources {
            devices: Vec::new(),
            memory: self.memory.as_ref().map(Memory::normalized).filter(is_set),
            cpu: self.cpu.as_ref().map(Cpu::normalized).filter(is_set),
            pids: self.pids.clone().filter(is_set),
            block_io: self.block_io.as_ref().map(BlockIo::normalized).filter(is_set),
            hugepage_limits: self.hugepage_limits.clone(),
            network: self.network.as_ref().map(Network::normalized).filter(is_set),
            rdma: self.rdma.clone(),
            unified: self.unified.clone(),
        }
    }

    /// The first field that needs a cgroup to be in force; `None` when there is no limit at all.
    pub fn first_limit(&self) -> Option<&'static str> {
        let set = self.normalized();
        [
            (set.memory.is_some(), "/memory"),
            (set.cpu.is_some(), "/cpu"),
            (set.pids.is_some(), "/pids"),
            (set.block_io.is_some(), "/blockIO"),
            (!set.hugepage_limits.is_empty(), "/hugepageLimits"),
            (set.network.is_some(), "/network"),
            (!set.rdma.is_empty(), "/rdma"),
            (!set.unified.is_empty(), "/unified"),
        ]
        .into_iter()
        .find_map(|(limited, pointer)| limited.then_some(pointer))
    }
}

impl Memory {
    fn normalized(&self) -> Memory {
        Memory {
            limit: nonzero(self.limit),
            reservation: nonzero(self.reservation),
            swap: nonzero(self.swap),
            kernel: nonzero(self.kernel),
            kernel_tcp: nonzero(self.kernel_tcp),
            // Engines that have the value as a signed number say "unset" with -1.
            swappiness: self.swappiness.filter(|&value| value != u64::MAX),
            disable_oom_killer: self.disable_oom_killer.filter(|&on| on),
            use_hierarchy: self.use_hierarchy.filter(|&on| on),
            check_before_update: self.check_before_update.filter(|&on| on),
        }
    }
}

impl Cpu {
    fn normalized(&self) -> Cpu {
        Cpu {
            shares: nonzero(self.shares),
            quota: nonzero(self.quota),
            burst: self.burst,
            period: nonzero(self.period),
            realtime_runtime: nonzero(self.realtime_runtime),
            realtime_period: nonzero(self.realtime_period),
            cpus: self.cpus.clone().filter(|list| !list.is_empty()),
            mems: self.mems.clone().filter(|list| !list.is_empty()),
            idle: self.idle,
        }
    }
}

impl BlockIo {
    fn normalized(&self) -> BlockIo {
        BlockIo { weight: nonzero(self.weight), leaf_weight: nonzero(self.leaf_weight), ..self.clone() }
    }
}

impl Network {
    fn normalized(&self) -> Network {
        Network { class_id: nonzero(self.class_id), ..self.clone() }
    }
}

/// `None` for 0.
pub fn nonzero<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn is_set<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

/// Takes JSON's `null` for the default value.
fn or_default<'de, T, D>(json: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(json).map(Option::unwrap_or_default)
}

rt_json::objects! {
    Resources, DeviceRule, Memory, Cpu, Pids, BlockIo, WeightDevice, ThrottleDevice, HugepageLimit, Network,
    InterfacePriority, Rdma;
    write Resources, DeviceRule, Memory, Cpu, Pids, BlockIo, WeightDevice, ThrottleDevice, HugepageLimit, Network,
    InterfacePriority, Rdma
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines differ in what they leave out, what they send as null and what they add.
    #[test]
    fn null_is_unset_and_the_unknown_is_ignored() {
        let json = r#"{"devices":null,"memory":{"limit":null,"new":1},"hugepageLimits":null,"unified":null,"x":{}}"#;
        let resources: Resources = serde_json::from_str(json).unwrap();
        assert_eq!(resources.normalized(), Resources::default());
        assert_eq!(resources.first_limit(), None);
    }

    /// The names are the specification's, which camel case alone does not give.
    #[test]
    fn names_are_those_of_the_specification() {
        let json = serde_json::json!({
            "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {"limit": 1, "reservation": 2, "swap": 3, "kernel": 4, "kernelTCP": 5, "swappiness": 6,
                "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true},
            "cpu": {"shares": 1, "quota": 2, "burst": 3, "period": 4, "realtimeRuntime": 5, "realtimePeriod": 6,
                "cpus": "0", "mems": "0", "idle": 1},
            "pids": {"limit": 1},
            "blockIO": {"weight": 10, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]},
            "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 2}},
            "unified": {"memory.high": "1"}
        });
        let resources: Resources = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&resources).unwrap(), json);
    }

    /// containerd sends the zero value of what `docker update` does not change.
    #[test]
    fn zeroes_of_older_engines_set_nothing() {
        let json = r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0},"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""},
            "blockIO":{"weight":0},"pids":{}}"#;
        let resources: Resources = serde_json::from_str(json).unwrap();
        assert_eq!(resources.first_limit(), None);
    }

    #[test]
    fn u_is_a_character_device() {
        let rule: DeviceRule = serde_json::from_str(r#"{"type":"u"}"#).unwrap();
        assert_eq!(rule.kind, Some(DeviceKind::Char));
        assert!(!rule.allow);
    }
}
