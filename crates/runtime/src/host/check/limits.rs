//! Limits and kernel parameters that this host's kernel would refuse.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rt_plan::spec::Pointer;

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
                let Some(wanted) = wanted.as_deref().and_then(numbers) else { continue };
                // Without the file, the kernel has one node or does not say.
                let Ok(text) = fs::read_to_string(file) else { continue };
                let Some(online) = numbers(text.trim()) else { continue };
                if !wanted.is_subset(&online) {
                    self.lacks(Pointer::new(at), format!("this host has the {what} {}", text.trim()));
                }
            }
        }
        for (i, limit) in resources.hugepage_limits.iter().enumerate() {
            let sizes = sizes_of_huge_pages();
            if !sizes.is_empty() && !sizes.contains(&limit.page_size) {
                let known: Vec<&str> = sizes.iter().map(String::as_str).collect();
                let message =
                    format!("this kernel has no huge pages of {}, but of {}", limit.page_size, known.join(", "));
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
                let pointer = format!("/linux/sysctl/{}", key.replace('~', "~0").replace('/', "~1"));
                let message = format!("this kernel has no such parameter (/proc/sys/{path})");
                self.found.push(Finding { pointer, message });
            }
        }
    }
}

/// A list like `0-3,7` (cpuset(7), "List format"); None if it is none, which is an error of its own.
fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No host has more.
        found.extend(first..=last.min(first.saturating_add(65_535)));
    }
    Some(found)
}

/// As cgroup files name them: 64KB, 2MB, 1GB (mm/hugetlb_cgroup.c, mem_fmt).
fn sizes_of_huge_pages() -> BTreeSet<String> {
    let directory = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    directory
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kilobytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            Some(match kilobytes {
                size if size >= 1 << 20 => format!("{}GB", size >> 20),
                size if size >= 1 << 10 => format!("{}MB", size >> 10),
                size => format!("{size}KB"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(numbers("0-2,7"), Some([0, 1, 2, 7].into()));
        assert_eq!(numbers(""), Some([].into()));
        assert_eq!(numbers("all"), None);
    }
}
