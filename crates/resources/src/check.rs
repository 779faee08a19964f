//! What can be said about `linux.resources` before anything is written.

use crate::convert::swap_max;
use crate::layout::Layout;
use crate::model::{BlockIo, Cpu, DeviceKind, DeviceRule, Memory, Resources, nonzero};

/// Whether a problem stops the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The field has no effect on this host.
    Warning,
    /// The limits cannot be applied as written.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the field, relative to `/linux/resources`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// Whether it matters.
    pub severity: Severity,
}

impl Resources {
    /// Checks every field against itself, its neighbours and the host's kind of cgroups.
    pub fn check(&self, layout: &Layout) -> Vec<Problem> {
        let mut found = Findings { problems: Vec::new(), v2: layout.is_v2() };
        for (index, rule) in self.devices.iter().enumerate() {
            device(&mut found, index, rule);
        }
        if let Some(limits) = &self.memory {
            memory(&mut found, limits);
        }
        if let Some(limits) = &self.cpu {
            cpu(&mut found, limits);
        }
        if let Some(limits) = &self.block_io {
            block_io(&mut found, limits);
        }
        for (index, limit) in self.hugepage_limits.iter().enumerate() {
            if !is_page_size(&limit.page_size) {
                found.error(format!("/hugepageLimits/{index}/pageSize"), "not a page size like \"2MB\"");
            }
        }
        if let Some(network) = &self.network {
            found.v1_only("/network/classID", nonzero(network.class_id).is_some());
            found.v1_only("/network/priorities", !network.priorities.is_empty());
        }
        for key in self.unified.keys() {
            let pointer = format!("/unified/{}", escape(key));
            if let Err(why) = unified_key(key) {
                found.error(pointer, why);
            } else if !found.v2 && *layout != Layout::None {
                found.error(pointer, "invalid configuration: cannot use unified on cgroup v1");
            }
        }
        found.problems
    }
}

struct Findings {
    problems: Vec<Problem>,
    v2: bool,
}

impl Findings {
    fn error(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.push(pointer.into(), message.into(), Severity::Error);
    }

    fn warning(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.push(pointer.into(), message.into(), Severity::Warning);
    }

    fn v1_only(&mut self, pointer: &str, set: bool) {
        if set && self.v2 {
            self.warning(pointer, "cgroup v2 has no such limit, it is ignored");
        }
    }

    fn push(&mut self, pointer: String, message: String, severity: Severity) {
        self.problems.push(Problem { pointer, message, severity });
    }
}

fn device(found: &mut Findings, index: usize, rule: &DeviceRule) {
    if let Some(DeviceKind::Unknown(letter)) = &rule.kind {
        found.error(format!("/devices/{index}/type"), format!("{letter:?} is none of a, b, c"));
    }
    for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
        if number.is_some_and(|number| device_number(number).is_none()) {
            found.error(format!("/devices/{index}/{name}"), "neither a device number nor -1");
        }
    }
    let access = rule.access.as_deref().unwrap_or("rwm");
    let unknown = access.chars().find(|letter| !"rwm".contains(*letter));
    let pointer = format!("/devices/{index}/access");
    match unknown {
        // As with runc: what is known counts, old configs have "rwa".
        Some(letter) if access.contains(['r', 'w', 'm']) => {
            found.warning(pointer, format!("{letter:?} is none of r, w, m and is ignored"));
        }
        Some(letter) => found.error(pointer, format!("{letter:?} is none of r, w, m")),
        None if access.is_empty() => found.warning(pointer, "the rule names no access, so it has no effect"),
        None => {}
    }
}

fn memory(found: &mut Findings, limits: &Memory) {
    if let Err(error) = swap_max(nonzero(limits.limit), nonzero(limits.swap)) {
        found.error("/memory/swap", error.why());
    }
    if limits.swappiness.is_some_and(|value| value > 100 && value != u64::MAX) {
        found.error("/memory/swappiness", "valid range is 0-100");
    }
    found.v1_only("/memory/swappiness", limits.swappiness.is_some());
    found.v1_only("/memory/disableOOMKiller", limits.disable_oom_killer == Some(true));
    found.v1_only("/memory/kernelTCP", nonzero(limits.kernel_tcp).is_some());
    if nonzero(limits.kernel).is_some() {
        found.warning("/memory/kernel", "kernels no longer limit kernel memory, it is ignored");
    }
}

fn cpu(found: &mut Findings, limits: &Cpu) {
    found.v1_only("/cpu/realtimeRuntime", nonzero(limits.realtime_runtime).is_some());
    found.v1_only("/cpu/realtimePeriod", nonzero(limits.realtime_period).is_some());
    for (pointer, list) in [("/cpu/cpus", &limits.cpus), ("/cpu/mems", &limits.mems)] {
        if list.as_ref().is_some_and(|list| !is_number_list(list)) {
            found.error(pointer, "not a list of numbers and ranges like \"0-3,7\"");
        }
    }
    if limits.idle.is_some_and(|idle| !(0..=1).contains(&idle)) {
        found.error("/cpu/idle", "neither 0 nor 1");
    }
}

fn block_io(found: &mut Findings, limits: &BlockIo) {
    let out_of_range = |weight: Option<u16>| nonzero(weight).is_some_and(|w| !(10..=1000).contains(&w));
    if out_of_range(limits.weight) {
        found.error("/blockIO/weight", "valid range is 10-1000");
    }
    found.v1_only("/blockIO/leafWeight", nonzero(limits.leaf_weight).is_some());
    for (index, device) in limits.weight_device.iter().enumerate() {
        if out_of_range(device.weight) {
            found.error(format!("/blockIO/weightDevice/{index}/weight"), "valid range is 10-1000");
        }
        let leaf = format!("/blockIO/weightDevice/{index}/leafWeight");
        found.v1_only(&leaf, nonzero(device.leaf_weight).is_some());
    }
}

/// A device number of a rule: `Some(None)` is every one, `None` is not a number.
pub fn device_number(number: i64) -> Option<Option<u32>> {
    match u32::try_from(number) {
        // To the device list of cgroup v1 this is "every number" (devcgroup_update_access in
        // security/device_cgroup.c).
        Ok(u32::MAX) => None,
        Ok(number) => Some(Some(number)),
        Err(_) => (number == -1).then_some(None),
    }
}

/// What may stand in `hugetlb.SIZE.max`.
pub fn is_page_size(size: &str) -> bool {
    let digits = size.trim_end_matches(|letter: char| letter.is_ascii_uppercase());
    matches!(&size[digits.len()..], "KB" | "MB" | "GB")
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// File names come from config.json, too (`unified`, page sizes): none of them may lead out of the
/// cgroup's directory.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Files of a cgroup whose writing does something instead of limiting something (cgroup-v2.rst, "Core
/// Interface Files"): init would not start, or rt itself would move.
const ACTIONS: [&str; 6] =
    ["cgroup.freeze", "cgroup.kill", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.type"];

/// A key of `unified` must be a file of the cgroup that holds a limit, and say whose it is.
pub fn unified_key(key: &str) -> Result<(), &'static str> {
    if !is_file_name(key) {
        Err("must be a file name (no slashes)")
    } else if !key.contains('.') {
        Err("must be in the form CONTROLLER.PARAMETER")
    } else if ACTIONS.contains(&key) {
        Err("is no limit: the kernel would act on processes, or on the cgroup, at once")
    } else {
        Ok(())
    }
}

/// A key as one step of a JSON pointer (RFC 6901).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The kernel's list format, with the stride form (`0-7:2/4`) that it takes, too.
fn is_number_list(list: &str) -> bool {
    list.trim().split(',').all(|part| {
        let part = part.trim();
        part.is_empty() || part.split(['-', ':', '/']).all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, layout: &Layout) -> Vec<(String, Severity)> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        resources.check(layout).into_iter().map(|problem| (problem.pointer, problem.severity)).collect()
    }

    fn v2() -> Layout {
        Layout::V2 { root: "/sys/fs/cgroup".into() }
    }

    fn v1() -> Layout {
        Layout::V1 { hierarchies: Vec::new() }
    }

    #[test]
    fn what_dockers_default_config_says_is_fine() {
        let json = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"}],
            "memory":{"limit":1000,"swap":2000},"cpu":{"shares":0,"cpus":"0-1"},"pids":{"limit":0},"blockIO":{"weight":0}}"#;
        assert_eq!(check(json, &v2()), []);
        assert_eq!(check(json, &v1()), []);
    }

    #[test]
    fn each_mistake_is_named_by_its_pointer() {
        let json = r#"{"devices":[{"type":"p"},{"access":"x"},{"major":-2}],"memory":{"limit":10,"swap":9,"swappiness":101},
            "cpu":{"cpus":"0..3","idle":2},"blockIO":{"weight":5},"hugepageLimits":[{"pageSize":"../x","limit":1}],
            "unified":{"../outside":"x","a/b.c":"x","memory":"1"}}"#;
        let found = check(json, &v1());
        let errors: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            errors,
            [
                "/devices/0/type",
                "/devices/1/access",
                "/devices/2/major",
                "/memory/swap",
                "/memory/swappiness",
                "/cpu/cpus",
                "/cpu/idle",
                "/blockIO/weight",
                "/hugepageLimits/0/pageSize",
                "/unified/..~1outside",
                "/unified/a~1b.c",
                "/unified/memory",
            ]
        );
        assert!(found.iter().all(|(_, severity)| *severity == Severity::Error));
    }

    #[test]
    fn what_only_v1_has_is_a_warning_on_v2() {
        let json = r#"{"memory":{"swappiness":10,"disableOOMKiller":true,"kernel":1},"cpu":{"realtimeRuntime":1},
            "network":{"classID":1}}"#;
        let warned: Vec<_> = check(json, &v2()).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(
            warned,
            [
                "/memory/swappiness",
                "/memory/disableOOMKiller",
                "/memory/kernel",
                "/cpu/realtimeRuntime",
                "/network/classID",
            ]
        );
        assert_eq!(check(json, &v1()), [("/memory/kernel".to_owned(), Severity::Warning)]);
    }

    /// `cgroup.freeze` let `create` hang, and `cgroup.procs` moved rt itself; `cgroup.max.depth` is a
    /// limit.
    #[test]
    fn unified_has_limits_only() {
        for key in ACTIONS {
            let json = format!(r#"{{"unified":{{"{key}":"1"}}}}"#);
            assert_eq!(check(&json, &v2()), [(format!("/unified/{key}"), Severity::Error)]);
        }
        assert_eq!(check(r#"{"unified":{"cgroup.max.depth":"1"}}"#, &v2()), []);
    }

    #[test]
    fn unified_needs_v2() {
        let json = r#"{"unified":{"memory.high":"1"}}"#;
        assert_eq!(check(json, &v2()), []);
        assert_eq!(check(json, &v1()), [("/unified/memory.high".to_owned(), Severity::Error)]);
    }
}
