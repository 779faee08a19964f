//! config.json as runtime-spec 1.3 defines it, for Linux. Fields keep the names and the order of
//! the specification; what they mean is said where they are lowered (`crate::plan`). Unknown fields
//! are ignored, null is absent.

#![allow(missing_docs)]

use std::collections::BTreeMap;

use rt_json::Text;
use rt_resources::Resources;
use rt_seccomp::Profile;
use serde::{Deserialize, Serialize};

pub type List<T> = Option<Vec<T>>;
pub type Map<'a> = Option<BTreeMap<Text<'a>, Text<'a>>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(borrow)]
    pub oci_version: Option<Text<'a>>,
    pub root: Option<Root<'a>>,
    pub mounts: List<Mount<'a>>,
    pub process: Option<Process<'a>>,
    pub hostname: Option<Text<'a>>,
    pub domainname: Option<Text<'a>>,
    pub hooks: Option<Hooks<'a>>,
    pub linux: Option<Linux<'a>>,
    pub annotations: Map<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct Root<'a> {
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    pub readonly: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Mount<'a> {
    #[serde(borrow)]
    pub destination: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub source: Option<Text<'a>>,
    pub options: List<Text<'a>>,
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
}

impl Mount<'_> {
    pub fn is_bind(&self) -> bool {
        self.options.iter().flatten().any(|option| matches!(&**option, "bind" | "rbind"))
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Process<'a> {
    pub terminal: Option<bool>,
    pub console_size: Option<ConsoleSize>,
    #[serde(borrow)]
    pub user: Option<User<'a>>,
    pub args: List<Text<'a>>,
    pub env: List<Text<'a>>,
    pub cwd: Option<Text<'a>>,
    pub capabilities: Option<Capabilities<'a>>,
    pub rlimits: List<Rlimit<'a>>,
    pub no_new_privileges: Option<bool>,
    pub apparmor_profile: Option<Text<'a>>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler<'a>>,
    pub selinux_label: Option<Text<'a>>,
    pub io_priority: Option<IoPriority<'a>>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity<'a>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct ConsoleSize {
    pub height: Option<u32>,
    pub width: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct User<'a> {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub umask: Option<u32>,
    pub additional_gids: List<u32>,
    #[serde(borrow)]
    pub username: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct Capabilities<'a> {
    #[serde(borrow)]
    pub bounding: List<Text<'a>>,
    pub effective: List<Text<'a>>,
    pub inheritable: List<Text<'a>>,
    pub permitted: List<Text<'a>>,
    pub ambient: List<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct Rlimit<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Option<Text<'a>>,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct Scheduler<'a> {
    #[serde(borrow)]
    pub policy: Option<Text<'a>>,
    pub nice: Option<i32>,
    pub priority: Option<i32>,
    pub flags: List<Text<'a>>,
    pub runtime: Option<u64>,
    pub deadline: Option<u64>,
    pub period: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct IoPriority<'a> {
    #[serde(borrow)]
    pub class: Option<Text<'a>>,
    pub priority: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct CpuAffinity<'a> {
    #[serde(borrow)]
    pub initial: Option<Text<'a>>,
    #[serde(rename = "final")]
    pub last: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Hooks<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub prestart: List<Hook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_runtime: List<Hook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_container: List<Hook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_container: List<Hook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poststart: List<Hook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poststop: List<Hook<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct Hook<'a> {
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: List<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: List<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Linux<'a> {
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
    #[serde(borrow)]
    pub sysctl: Map<'a>,
    pub resources: Option<Resources>,
    pub cgroups_path: Option<Text<'a>>,
    pub namespaces: List<Namespace<'a>>,
    pub devices: List<Device<'a>>,
    pub net_devices: Option<BTreeMap<Text<'a>, NetDevice<'a>>>,
    pub seccomp: Option<Profile>,
    pub rootfs_propagation: Option<Text<'a>>,
    pub masked_paths: List<Text<'a>>,
    pub readonly_paths: List<Text<'a>>,
    pub mount_label: Option<Text<'a>>,
    pub intel_rdt: Option<IntelRdt<'a>>,
    pub memory_policy: Option<MemoryPolicy<'a>>,
    pub personality: Option<Personality<'a>>,
    pub time_offsets: Option<BTreeMap<Text<'a>, TimeOffset>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct IdMapping {
    #[serde(rename = "containerID", default)]
    pub container_id: u32,
    #[serde(rename = "hostID", default)]
    pub host_id: u32,
    #[serde(default)]
    pub size: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct Namespace<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Option<Text<'a>>,
    pub path: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Device<'a> {
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct NetDevice<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct IntelRdt<'a> {
    #[serde(rename = "closID", borrow)]
    pub clos_id: Option<Text<'a>>,
    pub schemata: List<Text<'a>>,
    #[serde(rename = "l3CacheSchema")]
    pub l3_cache_schema: Option<Text<'a>>,
    pub mem_bw_schema: Option<Text<'a>>,
    pub enable_monitoring: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct MemoryPolicy<'a> {
    #[serde(borrow)]
    pub mode: Option<Text<'a>>,
    pub nodes: Option<Text<'a>>,
    pub flags: List<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self")]
pub struct Personality<'a> {
    #[serde(borrow)]
    pub domain: Option<Text<'a>>,
    pub flags: List<Text<'a>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct TimeOffset {
    #[serde(default)]
    pub secs: i64,
    #[serde(default)]
    pub nanosecs: u32,
}

rt_json::objects! {
    Spec<'a>, Root<'a>, Mount<'a>, Process<'a>, ConsoleSize, User<'a>, Capabilities<'a>, Rlimit<'a>, Scheduler<'a>,
    IoPriority<'a>, CpuAffinity<'a>, Hooks<'a>, Hook<'a>, Linux<'a>, IdMapping, Namespace<'a>, Device<'a>,
    NetDevice<'a>, IntelRdt<'a>, MemoryPolicy<'a>, Personality<'a>, TimeOffset;
    write Process<'a>, ConsoleSize, User<'a>, Capabilities<'a>, Rlimit<'a>, Scheduler<'a>, IoPriority<'a>,
    CpuAffinity<'a>, Hooks<'a>, Hook<'a>, IdMapping, MemoryPolicy<'a>, Personality<'a>
}
