//! Limits after a change of some of them.

use std::collections::BTreeMap;

use crate::model::{BlockIo, Cpu, HugepageLimit, Memory, Network, Pids, Resources};

impl Resources {
    /// These limits after an update by those that are set in `new`.
    pub fn updated(&self, new: &Resources) -> Resources {
        merged(self, &new.normalized())
    }

    /// What an update by `new` has to write: the new values, and old ones that the kernel takes in
    /// the same file as a new one.
    pub fn to_write(&self, new: &Resources) -> Resources {
        completed(self, &new.normalized())
    }
}

fn completed(old: &Resources, new: &Resources) -> Resources {
    let old = old.normalized();
    let mut write = new.clone();
    if let (Some(cpu), Some(old)) = (&mut write.cpu, &old.cpu) {
        // `cpu.max` of v2 holds both.
        if cpu.quota.is_some() || cpu.period.is_some() {
            cpu.quota = cpu.quota.or(old.quota);
            cpu.period = cpu.period.or(old.period);
        }
    }
    if let (Some(memory), Some(old)) = (&mut write.memory, &old.memory) {
        // Swap of v2 is counted from the limit.
        if memory.swap.is_some() {
            memory.limit = memory.limit.or(old.limit);
        }
    }
    write
}

/// The container's limits after the update.
fn merged(old: &Resources, new: &Resources) -> Resources {
    Resources {
        devices: old.devices.clone(),
        memory: merge(&old.memory, &new.memory, merge_memory),
        cpu: merge(&old.cpu, &new.cpu, merge_cpu),
        pids: merge(&old.pids, &new.pids, |old, new| Pids { limit: new.limit.or(old.limit) }),
        block_io: merge(&old.block_io, &new.block_io, merge_block_io),
        hugepage_limits: merge_hugepages(&old.hugepage_limits, &new.hugepage_limits),
        network: merge(&old.network, &new.network, |old, new| Network {
            class_id: new.class_id.or(old.class_id),
            priorities: keyed(&old.priorities, &new.priorities, |entry| entry.name.clone()),
        }),
        rdma: overlay(&old.rdma, &new.rdma),
        unified: overlay(&old.unified, &new.unified),
    }
}

fn merge<T: Clone>(old: &Option<T>, new: &Option<T>, both: impl Fn(&T, &T) -> T) -> Option<T> {
    match (old, new) {
        (Some(old), Some(new)) => Some(both(old, new)),
        (old, new) => new.as_ref().or(old.as_ref()).cloned(),
    }
}

fn merge_memory(old: &Memory, new: &Memory) -> Memory {
    // Unlimited memory without a word on swap is both.
    let swap = new.swap.or(new.limit.filter(|&limit| limit < 0));
    Memory {
        limit: new.limit.or(old.limit),
        reservation: new.reservation.or(old.reservation),
        swap: swap.or(old.swap),
        kernel: new.kernel.or(old.kernel),
        kernel_tcp: new.kernel_tcp.or(old.kernel_tcp),
        swappiness: new.swappiness.or(old.swappiness),
        disable_oom_killer: new.disable_oom_killer.or(old.disable_oom_killer),
        use_hierarchy: new.use_hierarchy.or(old.use_hierarchy),
        check_before_update: new.check_before_update.or(old.check_before_update),
    }
}

fn merge_cpu(old: &Cpu, new: &Cpu) -> Cpu {
    Cpu {
        shares: new.shares.or(old.shares),
        quota: new.quota.or(old.quota),
        burst: new.burst.or(old.burst),
        period: new.period.or(old.period),
        realtime_runtime: new.realtime_runtime.or(old.realtime_runtime),
        realtime_period: new.realtime_period.or(old.realtime_period),
        cpus: new.cpus.clone().or(old.cpus.clone()),
        mems: new.mems.clone().or(old.mems.clone()),
        idle: new.idle.or(old.idle),
    }
}

fn merge_block_io(old: &BlockIo, new: &BlockIo) -> BlockIo {
    BlockIo {
        weight: new.weight.or(old.weight),
        leaf_weight: new.leaf_weight.or(old.leaf_weight),
        weight_device: keyed(&old.weight_device, &new.weight_device, |entry| (entry.major, entry.minor)),
        throttle_read_bps_device: rates(&old.throttle_read_bps_device, &new.throttle_read_bps_device),
        throttle_write_bps_device: rates(&old.throttle_write_bps_device, &new.throttle_write_bps_device),
        throttle_read_iops_device: rates(&old.throttle_read_iops_device, &new.throttle_read_iops_device),
        throttle_write_iops_device: rates(&old.throttle_write_iops_device, &new.throttle_write_iops_device),
    }
}

fn rates(
    old: &[crate::model::ThrottleDevice],
    new: &[crate::model::ThrottleDevice],
) -> Vec<crate::model::ThrottleDevice> {
    keyed(old, new, |entry| (entry.major, entry.minor))
}

fn merge_hugepages(old: &[HugepageLimit], new: &[HugepageLimit]) -> Vec<HugepageLimit> {
    keyed(old, new, |entry| entry.page_size.clone())
}

/// The old entries, each replaced by the new one of the same key, and the new ones of new keys.
fn keyed<T: Clone, K: PartialEq>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let kept = old.iter().filter(|old| new.iter().all(|new| key(new) != key(old)));
    kept.chain(new).cloned().collect()
}

fn overlay<T: Clone>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    old.iter().chain(new).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    /// `rt update --cpu-quota` alone must not reset the period that create set.
    #[test]
    fn a_quota_without_period_keeps_the_old_period() {
        let old = parse(r#"{"cpu":{"shares":512,"quota":1000,"period":20000}}"#);
        let new = parse(r#"{"cpu":{"quota":5000}}"#);
        assert_eq!(old.to_write(&new), parse(r#"{"cpu":{"quota":5000,"period":20000}}"#));
        assert_eq!(merged(&old, &new), parse(r#"{"cpu":{"shares":512,"quota":5000,"period":20000}}"#));
        let new = parse(r#"{"cpu":{"shares":100}}"#);
        assert_eq!(old.to_write(&new), new);
    }

    #[test]
    fn unlimited_memory_means_unlimited_swap() {
        let old = parse(r#"{"memory":{"limit":100,"swap":200,"reservation":50}}"#);
        let new = parse(r#"{"memory":{"limit":-1}}"#);
        assert_eq!(merged(&old, &new), parse(r#"{"memory":{"limit":-1,"swap":-1,"reservation":50}}"#));
        let new = parse(r#"{"memory":{"swap":300}}"#);
        assert_eq!(old.to_write(&new), parse(r#"{"memory":{"limit":100,"swap":300}}"#));
    }

    #[test]
    fn lists_merge_by_what_they_are_about() {
        let old = parse(
            r#"{"devices":[{"allow":true}],"unified":{"a.b":"1","c.d":"2"},
            "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":1,"rate":1}]}}"#,
        );
        let new = parse(
            r#"{"devices":[],"unified":{"c.d":"3"},"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
        );
        let expected = parse(
            r#"{"devices":[{"allow":true}],"unified":{"a.b":"1","c.d":"3"},
            "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1,"rate":1},{"major":8,"minor":0,"rate":2}]}}"#,
        );
        assert_eq!(merged(&old, &new), expected);
    }
}
