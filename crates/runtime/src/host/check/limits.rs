//! Limits and kernel parameters that this host's kernel would refuse.

use std::fs;
use std::path::Path;

use rt_cgroups::{huge_page_sizes, ranges};
use rt_plan::spec::{Pointer, escape};

use super::{Check, Finding};

/// kernel/sched/core.c: min_cfs_quota_period and max_cfs_quota_period, in microseconds.
const SHORTEST_QUOTA: i64 = 1000;
const PERIODS: std::ops::RangeInclusive<u64> = 1000..=1_000_000;

impl Check<'_> {
    /// CPU time, CPUs, memory nodes and sizes of huge pages.
    pub(super) fn limits(&mut self) {
        let Some(resources) = self.spec.linux.as_ref().and_then(|l| l.resources.as_ref()) else { return };
        if let Some(cpu) = &resources.cpu {
            if let Some(quota) = cpu.quota.filter(|quota| (1..SHORTEST_QUOTA).contains(quota)) {
                let message = format!("{quota} µs: the kernel's shortest quota is {SHORTEST_QUOTA} µs");
                self.lacks(Pointer::new("/linux/resources/cpu/quota"), message);
            }
            if let Some(period) = cpu.period.filter(|period| *period != 0 && !PERIODS.contains(period)) {
                let message = format!("{period} µs: the kernel takes {} to {} µs", PERIODS.start(), PERIODS.end());
                self.lacks(Pointer::new("/linux/resources/cpu/period"), message);
            }
            let lists = [
                (&cpu.cpus, "/sys/devices/system/cpu/online", "CPUs", "/linux/resources/cpu/cpus"),
                (&cpu.mems, "/sys/devices/system/node/online", "memory nodes", "/linux/resources/cpu/mems"),
            ];
            for (wanted, file, what, at) in lists {
                let Some(wanted) = wanted.as_deref().and_then(ranges) else { continue };
                // Without the file, the kernel has one node or does not say.
                let Ok(text) = fs::read_to_string(file) else { continue };
                let Some(online) = ranges(text.trim()) else { continue };
                // The kernel's ranges do not touch each other.
                let has = |(first, last)| online.iter().any(|(from, to)| *from <= first && last <= *to);
                if !wanted.into_iter().all(has) {
                    self.lacks(Pointer::new(at), format!("this host has the {what} {}", text.trim()));
                }
            }
        }
        for (i, limit) in resources.hugepage_limits.iter().enumerate() {
            let sizes = huge_page_sizes();
            if !sizes.is_empty() && !sizes.contains(&limit.page_size) {
                let message =
                    format!("this kernel has no huge pages of {}, but of {}", limit.page_size, sizes.join(", "));
                self.lacks(Pointer::index("/linux/resources/hugepageLimits/{}/pageSize", i), message);
            }
        }
    }

    /// Parameters that the kernel does not have, which are those of a network device that comes later
    /// excepted.
    pub(super) fn sysctls(&mut self) {
        for (key, _) in self.spec.linux.iter().flat_map(|l| l.sysctl.iter().flatten()) {
            let path = rt_plan::path_of_sysctl(key);
            let of_a_device = path.split('/').any(|part| matches!(part, "conf" | "neigh"));
            if !of_a_device && !Path::new("/proc/sys").join(&path).exists() {
                let pointer = format!("/linux/sysctl/{}", escape(key));
                let message = format!("this kernel has no such parameter (/proc/sys/{path})");
                self.found.push(Finding { pointer, message });
            }
        }
    }
}
