//! Limits as properties of a systemd unit (systemd.resource-control(5)), so that systemd knows what
//! we write to the files and does not undo it at its next `daemon-reload`.

use rt_resources::convert::{io_weight_of_blkio, pids_max, ranges, swap_max, weight_of_shares};
use rt_resources::model::{DeviceKind, DeviceRule, Resources};

use crate::systemd::message::{Properties, Value};

/// systemd's "no limit".
const INFINITY: u64 = u64::MAX;
/// The kernel's default period in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// systemd counts CPU quotas in steps of 10 ms per second.
const QUOTA_STEP: u64 = 10_000;

/// The properties of cgroup v2 limits. What has none is in the files only.
pub fn limits(resources: &Resources) -> Properties {
    let resources = resources.normalized();
    let mut out = Properties::new();
    let bytes = |n: i64| u64::try_from(n).unwrap_or(INFINITY);
    if let Some(memory) = &resources.memory {
        out.extend(memory.limit.map(|n| ("MemoryMax", Value::Number(bytes(n)))));
        out.extend(memory.reservation.map(|n| ("MemoryLow", Value::Number(bytes(n)))));
        if let Ok(Some(swap)) = swap_max(memory.limit, memory.swap) {
            out.push(("MemorySwapMax", Value::Number(number_or_infinity(&swap))));
        }
    }
    if let Some(cpu) = &resources.cpu {
        match (cpu.idle, cpu.shares) {
            // Weight 0 is systemd's word for cpu.idle (version 252).
            (Some(1), _) => out.push(("CPUWeight", Value::Number(0))),
            (_, Some(shares)) => out.push(("CPUWeight", Value::Number(weight_of_shares(shares)))),
            _ => {}
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            out.extend(quota(cpu.quota, cpu.period));
        }
        let masks = [(&cpu.cpus, "AllowedCPUs"), (&cpu.mems, "AllowedMemoryNodes")];
        out.extend(masks.into_iter().filter_map(|(list, name)| Some((name, Value::Bytes(mask(list.as_deref()?)?)))));
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit) {
        out.push(("TasksMax", Value::Number(number_or_infinity(&pids_max(limit)))));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|b| b.weight) {
        out.push(("IOWeight", Value::Number(io_weight_of_blkio(weight))));
    }
    for (file, value) in &resources.unified {
        out.extend(unified(file, value.trim()));
    }
    out
}

fn number_or_infinity(text: &str) -> u64 {
    text.parse().unwrap_or(INFINITY)
}

fn quota(quota: Option<i64>, period: Option<u64>) -> Properties {
    let period = period.filter(|p| *p > 0).unwrap_or(DEFAULT_PERIOD);
    let per_second = match quota {
        Some(quota) if quota > 0 => (quota as u64 * 1_000_000 / period).next_multiple_of(QUOTA_STEP),
        _ => INFINITY,
    };
    let mut out = vec![("CPUQuotaPerSecUSec", Value::Number(per_second))];
    if period != DEFAULT_PERIOD {
        out.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    out
}

/// `0-3,7` as bytes, lowest CPU first, as systemd takes it. None: the file's own error will say
/// what is wrong.
fn mask(list: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (first, last) in ranges(list)? {
        if last > 8191 {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|n| bytes[n / 8] |= 1 << (n % 8));
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Files that systemd knows as properties.
fn unified(file: &str, value: &str) -> Properties {
    let number = |name| vec![(name, Value::Number(number_or_infinity(value)))];
    match file {
        "memory.max" => number("MemoryMax"),
        "memory.high" => number("MemoryHigh"),
        "memory.low" => number("MemoryLow"),
        "memory.min" => number("MemoryMin"),
        "memory.swap.max" => number("MemorySwapMax"),
        "pids.max" => number("TasksMax"),
        "cpu.weight" => number("CPUWeight"),
        "cpu.idle" if value == "1" => vec![("CPUWeight", Value::Number(0))],
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let limit = words.next().and_then(|q| q.parse().ok());
            quota(limit, words.next().and_then(|p| p.parse().ok()))
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            mask(value).map(|m| (name, Value::Bytes(m))).into_iter().collect()
        }
        "memory.oom.group" if value == "1" => vec![("OOMPolicy", Value::Text("kill".to_owned()))],
        _ => Properties::new(),
    }
}

/// The device policy. systemd only has a list of allowed devices. Where later rules take a device
/// out of that list again, our own filter does it: a process must pass both.
pub fn devices(rules: &[DeviceRule]) -> Properties {
    let everything = |r: &DeviceRule| {
        let any = |n: Option<i64>| n.is_none_or(|n| n < 0);
        let all_kinds = matches!(r.kind, None | Some(DeviceKind::All));
        all_kinds
            && any(r.major)
            && any(r.minor)
            && r.access.as_deref().is_none_or(|a| ["r", "w", "m"].iter().all(|l| a.contains(l)))
    };
    // What comes before a rule for everything does not count any more.
    let last = rules.iter().rposition(everything);
    let start = last.map_or(0, |at| at + 1);
    // Without a rule, and after a rule that allows everything, every device is allowed.
    if last.is_none_or(|at| rules[at].allow) && (last.is_some() || rules.is_empty()) {
        return vec![("DeviceAllow", Value::Pairs(Vec::new())), ("DevicePolicy", Value::Text("auto".to_owned()))];
    }
    let groups = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let allowed = rules[start..].iter().filter(|r| r.allow).flat_map(|r| entries(r, &groups)).collect();
    vec![("DeviceAllow", Value::Pairs(allowed)), ("DevicePolicy", Value::Text("strict".to_owned()))]
}

fn entries(rule: &DeviceRule, groups: &str) -> Vec<(String, String)> {
    let kinds: &[(&str, &str)] = match rule.kind {
        Some(DeviceKind::Char) => &[("char", "Character devices:")],
        Some(DeviceKind::Block) => &[("block", "Block devices:")],
        _ => &[("char", "Character devices:"), ("block", "Block devices:")],
    };
    let access = rule.access.clone().unwrap_or_else(|| "rwm".to_owned());
    let number = |n: Option<i64>| n.filter(|n| *n >= 0);
    let each = kinds.iter().filter_map(|(kind, title)| match (number(rule.major), number(rule.minor)) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        // A whole major number goes by the name of its driver.
        (Some(major), None) => Some(format!("{kind}-{}", group(groups, title, major)?)),
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
    });
    each.map(|device| (device, access.clone())).collect()
}

fn group<'a>(groups: &'a str, title: &str, major: i64) -> Option<&'a str> {
    let section = groups.lines().skip_while(|l| *l != title).skip(1).take_while(|l| !l.is_empty());
    section.filter_map(|l| l.trim().split_once(' ')).find(|(n, _)| n.parse() == Ok(major)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(json: &str) -> Properties {
        limits(&serde_json::from_str(json).unwrap())
    }

    /// The same numbers that the files get, in systemd's units.
    #[test]
    fn limits_in_systemds_units() {
        let all = properties(
            r#"{"memory": {"limit": 1000, "swap": 1000, "reservation": -1}, "cpu": {"shares": 1024, "quota": 25000, "period": 50000, "cpus": "8"},
                "pids": {"limit": 0}, "unified": {"memory.high": "max", "cpu.idle": "1"}}"#,
        );
        let expected: Properties = vec![
            ("MemoryMax", Value::Number(1000)),
            ("MemoryLow", Value::Number(INFINITY)),
            ("MemorySwapMax", Value::Number(0)),
            ("CPUWeight", Value::Number(100)),
            ("CPUQuotaPerSecUSec", Value::Number(500_000)),
            ("CPUQuotaPeriodUSec", Value::Number(50_000)),
            ("AllowedCPUs", Value::Bytes(vec![0, 1])),
        ];
        assert_eq!(&all[..7], &expected[..]);
    }

    /// An update of shares must not touch the quota.
    #[test]
    fn what_is_not_set_is_not_sent() {
        assert_eq!(properties(r#"{"cpu": {"shares": 2}}"#), vec![("CPUWeight", Value::Number(1))]);
        assert_eq!(properties(r#"{"cpu": {"quota": -1}}"#), vec![("CPUQuotaPerSecUSec", Value::Number(INFINITY))]);
        assert_eq!(quota(Some(33_333), None)[0].1, Value::Number(340_000));
    }

    #[test]
    fn masks_begin_with_the_lowest_cpu() {
        assert_eq!(mask("0-3,7"), Some(vec![0x8f]));
        assert_eq!(mask("64"), Some([vec![0; 8], vec![1]].concat()));
        assert_eq!(mask("x"), None);
    }

    #[test]
    fn device_policy() {
        let rules: Vec<DeviceRule> = serde_json::from_str(
            r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}, {"allow": true, "type": "c", "access": "m"}]"#,
        )
        .unwrap();
        let pairs = vec![("/dev/char/1:3".to_owned(), "rw".to_owned()), ("char-*".to_owned(), "m".to_owned())];
        assert_eq!(
            devices(&rules),
            vec![("DeviceAllow", Value::Pairs(pairs)), ("DevicePolicy", Value::Text("strict".into()))]
        );
        let open: Vec<DeviceRule> = serde_json::from_str(r#"[{"allow": true}]"#).unwrap();
        assert_eq!(devices(&open)[1].1, Value::Text("auto".into()));
        assert_eq!(
            group("Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  1 x\n", "Character devices:", 136),
            Some("pts")
        );
    }
}
