//! What a cgroup has used, in the words of `runc events --stats`.
//!
//! The JSON is read by programs that were written against runc, so names, units and what is left
//! out at 0 are its. Of `data`, `intel_rdt` and `network_interfaces` are not cgroups; they are here
//! as runc prints them when unused.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::controller::{blkio, cpu, cpuset, hugetlb, memory, pids};
use crate::error::Error;
use crate::psi::Psi;

/// Usage of all controllers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)] // the names are the documentation, and another project's
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, Hugetlb>,
    pub intel_rdt: BTreeMap<String, String>,
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

/// Processor time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processor time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// Periods in which the quota ran out; time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Processors and memory nodes (cgroup v1 only).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2, too.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Number of processes and threads; limit 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block I/O.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// A count of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Traffic of one interface. Cgroups do not count it; the caller may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Cgroup {
    /// Reads what the cgroup has used. What this kernel or this cgroup does not count is 0.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        if let Some(dir) = self.unified_controller("cpu") {
            stats.cpu = cpu::read_v2(dir)?;
        } else {
            stats.cpu = cpu::read_v1(self.v1("cpu"), self.v1("cpuacct"))?;
        }
        if let Some(dir) = self.v1("cpuset") {
            stats.cpuset = cpuset::read_v1(dir)?;
        }
        if let Some(dir) = self.v1("memory") {
            stats.memory = memory::read_v1(dir)?;
        } else if let Some(dir) = self.unified_controller("memory") {
            stats.memory = memory::read_v2(dir)?;
        }
        if let Some(dir) = self.v1("blkio") {
            stats.blkio = blkio::read_v1(dir)?;
        } else if let Some(dir) = self.unified_controller("blkio") {
            stats.blkio = blkio::read_v2(dir)?;
        }
        if let Some(dir) = self.v1("hugetlb") {
            stats.hugetlb = hugetlb::read_v1(dir)?;
        } else if let Some(dir) = self.unified_controller("hugetlb") {
            stats.hugetlb = hugetlb::read_v2(dir)?;
        }
        if let Some(dir) = self.v1("pids").or(self.unified_controller("pids")) {
            stats.pids = pids::read(dir)?;
        }
        if stats.pids.current == 0 {
            // Without the controller, processes can still be counted; threads cannot.
            stats.pids.current = self.processes()?.len() as u64;
        }
        Ok(stats)
    }

    /// How often the OOM killer took a process of the container.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        if let Some(dir) = self.v1("memory") {
            memory::oom_kills(dir, "memory.oom_control")
        } else if let Some(dir) = self.unified_controller("memory") {
            memory::oom_kills(dir, "memory.events")
        } else {
            Ok(0)
        }
    }
}

impl Cgroup {
    /// How often each limit on memory was met (cgroup-v2.rst, "memory.events"); empty on cgroup v1.
    pub fn memory_event_counts(&self) -> Result<BTreeMap<String, u64>, Error> {
        let Some(dir) = self.unified_controller("memory") else { return Ok(BTreeMap::new()) };
        Ok(dir.read_table("memory.events")?.into_iter().collect())
    }
}

/// A limit, unless the number stands for "no limit": on v1 that is the largest number of whole
/// pages (page_counter.h in the kernel), which have at most 64 KiB; on v2 the word `max`.
pub fn finite(limit: u64) -> Option<u64> {
    (limit < i64::MAX as u64 / 65_536 * 65_536).then_some(limit)
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
