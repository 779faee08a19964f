//! The same limits, written by us and by libcgroups into directories of plain files that stand for
//! a cgroup of version 2. What differs has to be in [`explained`], with who is right.

use std::collections::BTreeMap;
use std::path::Path;

use libcgroups::common::{CgroupManager, ControllerOpt};
use libcgroups::v2::manager::Manager;
use proptest::prelude::*;
use rt_cgroups::{Cgroup, Driver, Layout, Resources};
use serde_json::{Value, json};

const FILES: [&str; 12] = [
    "cgroup.controllers",
    "cpu.weight",
    "cpu.max",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "io.weight",
    "memory.low",
    "memory.max",
    "memory.swap.max",
    "pids.max",
    "memory.current",
];

/// A cgroup `/c` of empty files.
fn fake() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("cgroup.controllers"), "cpu cpuset io memory pids").unwrap();
    std::fs::create_dir(root.path().join("c")).unwrap();
    for file in FILES {
        std::fs::write(root.path().join("c").join(file), "").unwrap();
    }
    root
}

/// The files that have been written.
fn written(root: &Path) -> BTreeMap<&'static str, String> {
    let read = |file: &'static str| (file, std::fs::read_to_string(root.join("c").join(file)).unwrap());
    FILES.into_iter().map(read).filter(|(_, text)| !text.is_empty()).collect()
}

fn ours(resources: &Value) -> Option<BTreeMap<&'static str, String>> {
    let root = fake();
    let layout = Layout::V2 { root: root.path().to_owned() };
    let location = rt_cgroups::locate(&layout, Driver::Cgroupfs, Some("/c"), "c", false).unwrap();
    let resources: Resources = serde_json::from_value(resources.clone()).unwrap();
    Cgroup::open(&location).unwrap().apply(&resources).ok()?;
    Some(written(root.path()))
}

fn theirs(resources: &Value) -> Option<BTreeMap<&'static str, String>> {
    let root = fake();
    let resources = serde_json::from_value(resources.clone()).unwrap();
    let manager = Manager::new(root.path().to_owned(), "/c".into()).unwrap();
    let options =
        ControllerOpt { resources: &resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None };
    manager.apply(&options).ok()?;
    Some(written(root.path()))
}

/// Why a file differs, if it may.
fn explained(file: &str, resources: &Value, ours: Option<&String>, theirs: Option<&String>) -> Option<&'static str> {
    let memory = &resources["memory"];
    match file {
        // systemd and crun map 1024 shares to weight 100 since 2025, and so do we; libcgroups keeps
        // the line from 2 to 10000.
        "cpu.weight" if ours.is_some() && theirs.is_some() => Some("another formula for the same shares"),
        // runc, too, writes the period that a quota without one means.
        "cpu.max" if theirs.is_some_and(|t| ours == Some(&format!("{t} 100000"))) => {
            Some("the default period, spelled out")
        }
        "cpu.max" if theirs.is_none() && resources["cpu"]["quota"].is_null() => {
            Some("a period without a quota is a period; libcgroups drops it")
        }
        "memory.swap.max" if memory["swap"] == memory["limit"] && theirs.is_none() => {
            Some("no swap at all is 0; libcgroups leaves the file alone, so that the container may swap without limit")
        }
        _ => None,
    }
}

fn resources() -> impl Strategy<Value = Value> {
    let bytes = prop_oneof![Just(-1_i64), (1_i64..1 << 20).prop_map(|pages| pages * 4096)];
    // Swap counts with memory: below the limit it is an error, which each words for itself.
    let memory = (bytes.clone(), proptest::option::of(0_i64..1 << 20), proptest::option::of(bytes));
    let cpu = (
        proptest::option::of(2_u64..=262_144),
        proptest::option::of(prop_oneof![Just(-1_i64), 1000_i64..1_000_000]),
        proptest::option::of(1000_u64..=1_000_000),
        proptest::option::of("[0-3](-[4-7])?(,8)?"),
    );
    let pids = proptest::option::of(prop_oneof![Just(-1_i64), 1_i64..1 << 22]);
    (proptest::option::of(memory), cpu, pids).prop_map(|(memory, (shares, quota, period, cpus), pids)| {
        let mut value = json!({});
        if let Some((limit, swap, reservation)) = memory {
            value["memory"] = json!({"limit": limit});
            if let Some(swap) = swap.filter(|_| limit > 0) {
                value["memory"]["swap"] = (limit + swap / 2 * 4096).into();
            }
            if let Some(reservation) = reservation {
                value["memory"]["reservation"] = reservation.into();
            }
        }
        for (key, number) in
            [("shares", shares.map(|n| n as i64)), ("quota", quota), ("period", period.map(|n| n as i64))]
        {
            if let Some(number) = number {
                value["cpu"][key] = number.into();
            }
        }
        if let Some(cpus) = cpus {
            value["cpu"]["cpus"] = cpus.into();
        }
        if let Some(limit) = pids {
            value["pids"]["limit"] = limit.into();
        }
        value
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two projects that read the same documents write the same files.
    #[test]
    fn limits_become_the_same_files(resources in resources()) {
        let (Some(ours), Some(theirs)) = (ours(&resources), theirs(&resources)) else {
            return Err(TestCaseError::fail(format!("one of them refuses {resources}")));
        };
        for file in FILES {
            let (our, their) = (ours.get(file), theirs.get(file));
            if our != their {
                prop_assert!(explained(file, &resources, our, their).is_some(), "{file}: we {our:?}, libcgroups {their:?}: {resources}");
            }
        }
    }
}
