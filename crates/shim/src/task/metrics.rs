//! `Stats`: what a container has used, in the messages that containerd has for cgroup v1 and v2.

use containerd_shim_protos::api::{StatsRequest, StatsResponse};
use containerd_shim_protos::cgroups::metrics as v1;
use containerd_shim_protos::cgroups_v2::metrics as v2;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use rt_cgroups::stats::{BlkioEntry, MemoryEntry, Stats};
use rt_cgroups::{Cgroup, Layout, Psi, PsiData};

use super::memory::layout;
use crate::error::Error;
use crate::server::{Reply, Server};

impl Server {
    /// Answers with the usage of a container.
    pub(super) fn stats(&mut self, reply: Reply, request: StatsRequest) -> Result<(), Error> {
        let container = self.tasks.container(&request.id)?;
        let cgroup = container.cgroup.as_ref().ok_or(Error::NoCgroup)?;
        let stats = message(cgroup)?;
        self.answer(reply, Ok(StatsResponse { stats: Some(stats).into(), ..StatsResponse::default() }));
        Ok(())
    }
}

fn message(cgroup: &Cgroup) -> Result<Any, Error> {
    let stats = cgroup.stats()?;
    let (version, value) = if layout().is_some_and(Layout::is_v2) {
        let mut metrics = of_v2(&stats);
        let counts = cgroup.memory_event_counts()?;
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        let events = v2::MemoryEvents {
            low: count("low"),
            high: count("high"),
            max: count("max"),
            oom: count("oom"),
            oom_kill: count("oom_kill"),
            oom_group_kill: count("oom_group_kill"),
            ..Default::default()
        };
        metrics.memory_events = Some(events).into();
        ("v2", metrics.write_to_bytes())
    } else {
        let mut metrics = of_v1(&stats);
        let kills = v1::MemoryOomControl { oom_kill: cgroup.oom_kills().unwrap_or(0), ..Default::default() };
        metrics.memory_oom_control = Some(kills).into();
        ("v1", metrics.write_to_bytes())
    };
    let malformed = |why| Error::Message { what: "metrics".to_owned(), why };
    Ok(Any {
        type_url: format!("io.containerd.cgroups.{version}.Metrics"),
        value: value.map_err(malformed)?,
        ..Any::default()
    })
}

fn of_v2(stats: &Stats) -> v2::Metrics {
    const NANOS: u64 = 1000;
    let raw = |name: &str| stats.memory.raw.get(name).copied().unwrap_or(0);
    let (memory, swap) = (&stats.memory.usage, &stats.memory.swap);
    let throttling = &stats.cpu.throttling;
    let pids = v2::PidsStat { current: stats.pids.current, limit: stats.pids.limit, ..Default::default() };
    let cpu = v2::CPUStat {
        usage_usec: stats.cpu.usage.total / NANOS,
        user_usec: stats.cpu.usage.user / NANOS,
        system_usec: stats.cpu.usage.kernel / NANOS,
        nr_periods: throttling.periods,
        nr_throttled: throttling.throttled_periods,
        throttled_usec: throttling.throttled_time / NANOS,
        psi: stats.cpu.psi.as_ref().map(pressure).into(),
        ..Default::default()
    };
    let memory = v2::MemoryStat {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        workingset_refault: raw("workingset_refault"),
        workingset_activate: raw("workingset_activate"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: memory.usage,
        usage_limit: memory.limit,
        max_usage: memory.max,
        // The statistics have memory and swap together, as runc has them.
        swap_usage: swap.usage.saturating_sub(memory.usage),
        swap_limit: if swap.limit == u64::MAX { u64::MAX } else { swap.limit.saturating_sub(memory.limit) },
        swap_max_usage: swap.max,
        psi: stats.memory.psi.as_ref().map(pressure).into(),
        ..Default::default()
    };
    v2::Metrics {
        pids: Some(pids).into(),
        cpu: Some(cpu).into(),
        memory: Some(memory).into(),
        io: Some(io_of_v2(stats)).into(),
        hugetlb: stats
            .hugetlb
            .iter()
            .map(|(size, pages)| v2::HugeTlbStat {
                current: pages.usage,
                max: pages.max,
                pagesize: size.clone(),
                failcnt: pages.failcnt,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn io_of_v2(stats: &Stats) -> v2::IOStat {
    let mut usage: Vec<v2::IOEntry> = Vec::new();
    let blkio = &stats.blkio;
    for (bytes, entries) in [(true, &blkio.io_service_bytes_recursive), (false, &blkio.io_serviced_recursive)] {
        for entry in entries {
            let device = |known: &v2::IOEntry| (known.major, known.minor) == (entry.major, entry.minor);
            let place = usage.iter().position(device).unwrap_or_else(|| {
                usage.push(v2::IOEntry { major: entry.major, minor: entry.minor, ..Default::default() });
                usage.len() - 1
            });
            let known = &mut usage[place];
            match (bytes, entry.op.as_str()) {
                (true, "Read") => known.rbytes = entry.value,
                (true, "Write") => known.wbytes = entry.value,
                (false, "Read") => known.rios = entry.value,
                (false, "Write") => known.wios = entry.value,
                _ => {}
            }
        }
    }
    v2::IOStat { usage, psi: blkio.psi.as_ref().map(pressure).into(), ..Default::default() }
}

fn pressure(psi: &Psi) -> v2::PSIStats {
    let data = |data: &PsiData| {
        let (avg10, avg60, avg300, total) = (data.avg10, data.avg60, data.avg300, data.total);
        Some(v2::PSIData { avg10, avg60, avg300, total, ..Default::default() }).into()
    };
    v2::PSIStats { some: data(&psi.some), full: data(&psi.full), ..Default::default() }
}

fn of_v1(stats: &Stats) -> v1::Metrics {
    let raw = |name: &str| stats.memory.raw.get(name).copied().unwrap_or(0);
    let usage = v1::CPUUsage {
        total: stats.cpu.usage.total,
        kernel: stats.cpu.usage.kernel,
        user: stats.cpu.usage.user,
        per_cpu: stats.cpu.usage.percpu.clone(),
        ..Default::default()
    };
    let throttling = v1::Throttle {
        periods: stats.cpu.throttling.periods,
        throttled_periods: stats.cpu.throttling.throttled_periods,
        throttled_time: stats.cpu.throttling.throttled_time,
        ..Default::default()
    };
    let cpu = v1::CPUStat { usage: Some(usage).into(), throttling: Some(throttling).into(), ..Default::default() };
    let memory = v1::MemoryStat {
        cache: raw("cache"),
        rss: raw("rss"),
        rss_huge: raw("rss_huge"),
        mapped_file: raw("mapped_file"),
        dirty: raw("dirty"),
        writeback: raw("writeback"),
        pg_pg_in: raw("pgpgin"),
        pg_pg_out: raw("pgpgout"),
        pg_fault: raw("pgfault"),
        pg_maj_fault: raw("pgmajfault"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        hierarchical_memory_limit: raw("hierarchical_memory_limit"),
        hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
        total_cache: raw("total_cache"),
        total_rss: raw("total_rss"),
        total_rss_huge: raw("total_rss_huge"),
        total_mapped_file: raw("total_mapped_file"),
        total_dirty: raw("total_dirty"),
        total_writeback: raw("total_writeback"),
        total_pg_pg_in: raw("total_pgpgin"),
        total_pg_pg_out: raw("total_pgpgout"),
        total_pg_fault: raw("total_pgfault"),
        total_pg_maj_fault: raw("total_pgmajfault"),
        total_inactive_anon: raw("total_inactive_anon"),
        total_active_anon: raw("total_active_anon"),
        total_inactive_file: raw("total_inactive_file"),
        total_active_file: raw("total_active_file"),
        total_unevictable: raw("total_unevictable"),
        usage: Some(entry(&stats.memory.usage)).into(),
        swap: Some(entry(&stats.memory.swap)).into(),
        kernel: Some(entry(&stats.memory.kernel)).into(),
        kernel_tcp: Some(entry(&stats.memory.kernel_tcp)).into(),
        ..Default::default()
    };
    let blkio = &stats.blkio;
    let blkio = v1::BlkIOStat {
        io_service_bytes_recursive: devices(&blkio.io_service_bytes_recursive),
        io_serviced_recursive: devices(&blkio.io_serviced_recursive),
        io_queued_recursive: devices(&blkio.io_queued_recursive),
        io_service_time_recursive: devices(&blkio.io_service_time_recursive),
        io_wait_time_recursive: devices(&blkio.io_wait_time_recursive),
        io_merged_recursive: devices(&blkio.io_merged_recursive),
        io_time_recursive: devices(&blkio.io_time_recursive),
        sectors_recursive: devices(&blkio.sectors_recursive),
        ..Default::default()
    };
    let pids = v1::PidsStat { current: stats.pids.current, limit: stats.pids.limit, ..Default::default() };
    v1::Metrics {
        hugetlb: stats
            .hugetlb
            .iter()
            .map(|(size, pages)| v1::HugetlbStat {
                usage: pages.usage,
                max: pages.max,
                failcnt: pages.failcnt,
                pagesize: size.clone(),
                ..Default::default()
            })
            .collect(),
        pids: Some(pids).into(),
        cpu: Some(cpu).into(),
        memory: Some(memory).into(),
        blkio: Some(blkio).into(),
        ..Default::default()
    }
}

fn entry(entry: &MemoryEntry) -> v1::MemoryEntry {
    v1::MemoryEntry {
        limit: entry.limit,
        usage: entry.usage,
        max: entry.max,
        failcnt: entry.failcnt,
        ..Default::default()
    }
}

fn devices(entries: &[BlkioEntry]) -> Vec<v1::BlkIOEntry> {
    let device = |entry: &BlkioEntry| v1::BlkIOEntry {
        op: entry.op.clone(),
        major: entry.major,
        minor: entry.minor,
        value: entry.value,
        ..Default::default()
    };
    entries.iter().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both directions of a device are one entry on cgroup v2.
    #[test]
    fn devices_of_v2() {
        let mut stats = Stats::default();
        let entry = |major, op: &str, value| BlkioEntry { major, minor: 0, op: op.to_owned(), value };
        stats.blkio.io_service_bytes_recursive = vec![entry(8, "Read", 1), entry(8, "Write", 2), entry(9, "Read", 3)];
        stats.blkio.io_serviced_recursive = vec![entry(8, "Write", 4)];
        let seen: Vec<_> =
            io_of_v2(&stats).usage.iter().map(|e| (e.major, e.rbytes, e.wbytes, e.rios, e.wios)).collect();
        assert_eq!(seen, [(8, 1, 2, 0, 4), (9, 3, 0, 0, 0)]);
    }

    #[test]
    fn swap_of_v2_is_without_memory() {
        let mut stats = Stats::default();
        stats.memory.usage = MemoryEntry { usage: 10, limit: 100, ..Default::default() };
        stats.memory.swap = MemoryEntry { usage: 15, limit: 150, ..Default::default() };
        let memory = of_v2(&stats).memory;
        assert_eq!((memory.swap_usage, memory.swap_limit, memory.usage_limit), (5, 50, 100));
    }
}
