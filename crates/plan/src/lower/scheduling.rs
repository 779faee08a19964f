//! `process.scheduler`, `ioPriority`, `execCPUAffinity`, and `linux.personality`,
//! `linux.memoryPolicy`.

use rt_protocol::op;
use rt_protocol::wire::Blob;
use rt_resources::convert::ranges;

use super::Lowering;
use crate::spec::{Fault, Pointer, Process};

/// sched(7) policies by number.
const POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// set_mempolicy(2) modes and mode flags.
const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

const MODE_FLAGS: [(&str, u32); 3] =
    [("MPOL_F_STATIC_NODES", 1 << 15), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_NUMA_BALANCING", 1 << 13)];

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

impl Lowering<'_> {
    pub(super) fn scheduling(&mut self, process: &Process<'_>) {
        self.scheduler(process);
        self.io_priority(process);
    }

    fn scheduler(&mut self, process: &Process<'_>) {
        let Some(s) = &process.scheduler else { return };
        let at = Pointer::new("/process/scheduler");
        let policy_at = Pointer::new("/process/scheduler/policy");
        let name = s.policy.as_deref().unwrap_or_default();
        let Some(policy) = find(&POLICIES, name) else {
            let known = "SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE";
            let fault = if name.is_empty() { Fault::Missing } else { Fault::Unknown { value: name.to_owned(), known } };
            return self.wrong(policy_at, fault);
        };
        let (nice, priority) = (s.nice.unwrap_or(0), s.priority.unwrap_or(0));
        if !(-20..=19).contains(&nice) {
            let fault = Fault::Value { value: nice.to_string(), why: "must be between -20 and 19" };
            self.wrong(Pointer::new("/process/scheduler/nice"), fault);
        }
        if priority != 0 && !matches!(policy, 1 | 2) {
            let fault = Fault::Rule("is for SCHED_FIFO and SCHED_RR only");
            self.wrong(Pointer::new("/process/scheduler/priority"), fault);
        }
        let deadline = [s.runtime, s.deadline, s.period].map(|n| n.unwrap_or(0));
        if policy != 6 && deadline != [0; 3] {
            let fault = Fault::Rule("runtime, deadline and period are for SCHED_DEADLINE only");
            self.wrong(Pointer::new("/process/scheduler/runtime"), fault);
        }
        let mut flags = 0;
        for (i, flag) in s.flags.as_deref().unwrap_or_default().iter().enumerate() {
            match find(&FLAGS, flag) {
                Some(bit) => flags |= bit,
                None => {
                    let known = "SCHED_FLAG_RESET_ON_FORK, _RECLAIM, _DL_OVERRUN, _KEEP_POLICY, _KEEP_PARAMS, _UTIL_CLAMP_MIN, _UTIL_CLAMP_MAX";
                    let fault = Fault::Unknown { value: flag.to_string(), known };
                    self.wrong(Pointer::index("/process/scheduler/flags/{}", i), fault);
                }
            }
        }
        let [runtime, deadline, period] = deadline;
        let op = op::Op::Scheduler { policy, flags, nice, priority: priority as u32, runtime, deadline, period };
        self.push(op, at);
    }

    fn io_priority(&mut self, process: &Process<'_>) {
        let Some(io) = &process.io_priority else { return };
        let classes = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
        let name = io.class.as_deref().unwrap_or_default();
        let Some(class) = find(&classes, name) else {
            let known = "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE";
            let fault = Fault::Unknown { value: name.to_owned(), known };
            return self.wrong(Pointer::new("/process/ioPriority/class"), fault);
        };
        let level = io.priority.unwrap_or(0);
        if !(0..=7).contains(&level) {
            let fault = Fault::Value { value: level.to_string(), why: "must be between 0 and 7" };
            return self.wrong(Pointer::new("/process/ioPriority/priority"), fault);
        }
        self.push(op::Op::IoPriority { value: class << 13 | level as u32 }, Pointer::new("/process/ioPriority"));
    }

    pub(super) fn personality(&mut self) {
        let Some(personality) = self.linux().and_then(|l| l.personality.as_ref()) else { return };
        let at = Pointer::new("/linux/personality/domain");
        // PER_LINUX and PER_LINUX32 (personality(2)); the specification defines no flags.
        let persona = match personality.domain.as_deref().unwrap_or_default() {
            "LINUX" => 0,
            "LINUX32" => 8,
            other => {
                let fault = Fault::Unknown { value: other.to_owned(), known: "LINUX, LINUX32" };
                return self.wrong(at, fault);
            }
        };
        if personality.flags.as_ref().is_some_and(|f| !f.is_empty()) {
            self.warn(
                Pointer::new("/linux/personality/flags"),
                Fault::Rule("the specification defines none; they are ignored"),
            );
        }
        self.push(op::Op::Personality { persona }, at);
    }

    pub(super) fn memory_policy(&mut self) {
        let Some(policy) = self.linux().and_then(|l| l.memory_policy.as_ref()) else { return };
        let name = policy.mode.as_deref().unwrap_or_default();
        let Some(mut mode) = find(&MODES, name) else {
            let known = "MPOL_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE, _LOCAL, _PREFERRED_MANY, _WEIGHTED_INTERLEAVE";
            let fault = Fault::Unknown { value: name.to_owned(), known };
            return self.wrong(Pointer::new("/linux/memoryPolicy/mode"), fault);
        };
        for (i, flag) in policy.flags.as_deref().unwrap_or_default().iter().enumerate() {
            match find(&MODE_FLAGS, flag) {
                Some(bit) => mode |= bit,
                None => {
                    let known = "MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING";
                    let fault = Fault::Unknown { value: flag.to_string(), known };
                    self.wrong(Pointer::index("/linux/memoryPolicy/flags/{}", i), fault);
                }
            }
        }
        let nodes = policy.nodes.as_deref().unwrap_or_default();
        let Some(nodes) = number_list(nodes, 1024) else {
            let fault = Fault::Value { value: nodes.to_owned(), why: "is no list of nodes below 1024, such as 0-3,7" };
            return self.wrong(Pointer::new("/linux/memoryPolicy/nodes"), fault);
        };
        if matches!(mode & 0xff, 0 | 4) && !nodes.is_empty() {
            let fault = Fault::Rule("MPOL_DEFAULT and MPOL_LOCAL take no nodes");
            self.wrong(Pointer::new("/linux/memoryPolicy/nodes"), fault);
        }
        let nodes = Blob(nodes.iter().flat_map(|w| w.to_le_bytes()).collect());
        self.push(op::Op::MemoryPolicy { mode, nodes }, Pointer::new("/linux/memoryPolicy"));
    }

    /// All CPUs that the container's cgroup allows: those to which the caller was bound mean
    /// nothing in the container.
    pub(super) fn all_cpus(&mut self) {
        self.push(op::Op::Affinity { mask: Blob(Vec::new()) }, Pointer::new("/linux/resources/cpu/cpus"));
    }

    /// The CPUs of an exec'd process: `initial` until it is in the container's cgroup, then
    /// `final`; without either, all that the cgroup allows.
    pub(super) fn exec_affinity(&mut self, process: &Process<'_>) {
        let Some(affinity) = &process.exec_cpu_affinity else { return self.all_cpus() };
        let lists = [
            (&affinity.initial, "/process/execCPUAffinity/initial"),
            (&affinity.last, "/process/execCPUAffinity/final"),
        ];
        for (list, at) in lists {
            let Some(list) = list.as_deref().filter(|l| !l.is_empty()) else { continue };
            match number_list(list, 8192) {
                Some(words) if !words.is_empty() => {
                    let mask = Blob(words.iter().flat_map(|w| w.to_le_bytes()).collect());
                    self.push(op::Op::Affinity { mask }, Pointer::new(at));
                }
                _ => {
                    let fault = Fault::Value { value: list.to_owned(), why: "is no list of CPUs, such as 0-3,7" };
                    self.wrong(Pointer::new(at), fault);
                }
            }
        }
    }
}

/// `0-3,7` as a bit mask of 64-bit words; None if it is no list of numbers below `limit`.
fn number_list(text: &str, limit: usize) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    for (first, last) in ranges(text)? {
        if last >= limit {
            return None;
        }
        words.resize(words.len().max(last / 64 + 1), 0);
        (first..=last).for_each(|n| words[n / 64] |= 1 << (n % 64));
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_and_nodes() {
        assert_eq!(number_list("0-3,7", 64), Some(vec![0x8f]));
        assert_eq!(number_list("64", 128), Some(vec![0, 1]));
        assert_eq!(number_list("", 128), Some(vec![]));
        for bad in ["3-1", "x", "1-", "128", "-1"] {
            assert_eq!(number_list(bad, 128), None, "{bad}");
        }
    }
}
