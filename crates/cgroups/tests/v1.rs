//! On this host's real cgroup v1 hierarchies.

mod common;

use std::io::Read;

use common::{Scratch, eventually, locate, pid, resources, skip, spawn_in, state};
use rt_cgroups::{Cgroup, Error, FreezerState};

/// The first process is in every hierarchy, named ones and version 2 included, before its program
/// starts.
#[test]
fn a_process_enters_every_hierarchy() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("enter");
    let mut child = spawn_in(&scratch.cgroup, "exec cat /proc/self/cgroup");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let name = format!("/rt-test-{}-enter", std::process::id());
    for hierarchy in scratch.layout.hierarchies() {
        assert!(text.contains(&format!(":{}:{name}\n", hierarchy.name)), "{text}");
    }
    if scratch.layout.unified().is_some() {
        assert!(text.contains(&format!("0::{name}\n")), "{text}");
    }
}

/// What is written reads back, memory and swap in an order the kernel takes, whether they grow or
/// shrink.
#[test]
fn limits_are_in_force() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("limits");
    let apply = |json| scratch.cgroup.apply(&resources(json)).unwrap();
    apply(
        r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"swappiness":10},
            "cpu":{"shares":512,"quota":50000,"period":200000,"burst":20000,"cpus":"0","mems":"0"},"pids":{"limit":0}}"#,
    );
    assert_eq!(scratch.read("memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(scratch.read("memory", "memory.memsw.limit_in_bytes"), "134217728");
    assert_eq!(scratch.read("memory", "memory.soft_limit_in_bytes"), "33554432");
    assert_eq!(scratch.read("memory", "memory.swappiness"), "10");
    assert_eq!(scratch.read("cpu", "cpu.shares"), "512");
    assert_eq!(scratch.read("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(scratch.read("cpu", "cpu.cfs_period_us"), "200000");
    assert_eq!(scratch.read("cpu", "cpu.cfs_burst_us"), "20000");
    assert_eq!(scratch.read("cpuset", "cpuset.cpus"), "0");
    assert_eq!(scratch.read("pids", "pids.max"), "1");
    apply(r#"{"memory":{"limit":268435456,"swap":268435456}}"#);
    assert_eq!(scratch.read("memory", "memory.memsw.limit_in_bytes"), "268435456");
    apply(r#"{"memory":{"limit":33554432,"swap":33554432}}"#);
    assert_eq!(scratch.read("memory", "memory.memsw.limit_in_bytes"), "33554432");
    apply(r#"{"memory":{"limit":-1}}"#);
    let unlimited: u64 = scratch.read("memory", "memory.memsw.limit_in_bytes").parse().unwrap();
    assert!(unlimited > 1 << 60);
    // A burst above the quota in force, and a shorter period: both fit the new quota only.
    apply(r#"{"cpu":{"quota":400000,"period":100000,"burst":300000}}"#);
    assert_eq!(scratch.read("cpu", "cpu.cfs_burst_us"), "300000");
    apply(r#"{"cpu":{"idle":1}}"#);
    assert_eq!(scratch.read("cpu", "cpu.idle"), "1");
    apply(r#"{"cpu":{"idle":1,"shares":100}}"#);
    apply(r#"{"cpu":{"idle":0,"shares":100}}"#);
    assert_eq!(scratch.read("cpu", "cpu.shares"), "100");
}

/// Rates are per block device.
#[test]
fn block_devices_are_throttled() {
    if skip(true) {
        return;
    }
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let Some(device) = devices.map(|entry| entry.path().join("dev")).find(|path| path.exists()) else {
        println!("skipped: no block device");
        return;
    };
    let numbers = std::fs::read_to_string(device).unwrap().trim().to_owned();
    let (major, minor) = numbers.split_once(':').unwrap();
    let scratch = Scratch::new("throttle");
    let limits = |rate: u32| {
        let list = format!(r#"[{{"major":{major},"minor":{minor},"rate":{rate}}}]"#);
        resources(&format!(r#"{{"blockIO":{{"throttleReadBpsDevice":{list},"throttleWriteIOPSDevice":{list}}}}}"#))
    };
    scratch.cgroup.apply(&limits(1_048_576)).unwrap();
    let line = format!("{numbers} 1048576");
    assert_eq!(scratch.read("blkio", "blkio.throttle.read_bps_device"), line);
    assert_eq!(scratch.read("blkio", "blkio.throttle.write_iops_device"), line);
    scratch.cgroup.apply(&limits(0)).unwrap();
    assert_eq!(scratch.read("blkio", "blkio.throttle.read_bps_device"), "");
}

/// A refused value names its field, file, value and errno.
#[test]
fn a_refused_limit_says_everything() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("refused");
    let apply = |json| scratch.cgroup.apply(&resources(json)).unwrap_err();
    let error = apply(r#"{"cpu":{"cpus":"4000"}}"#);
    let path = scratch.location.path_for("cpuset").unwrap().join("cpuset.cpus");
    assert_eq!(error.pointer(), Some("/cpu/cpus"));
    let text = error.to_string();
    assert!(text.starts_with(&format!("write \"4000\" to {}: ", path.display())), "{text}");
    let error = apply(r#"{"cpu":{"shares":1}}"#);
    assert_eq!(error.to_string(), "cpu shares 1 are out of range, the kernel made them 2");
    let error = apply(r#"{"unified":{"memory.high":"1"}}"#);
    assert_eq!(error.to_string(), "\"memory.high\": invalid configuration: cannot use unified on cgroup v1");
    let error = apply(r#"{"network":{"classID":1}}"#);
    assert!(matches!(error, Error::ControllerUnavailable { .. }), "{error}");
    let error = apply(r#"{"memory":{"swap":1048576}}"#);
    assert_eq!(error.pointer(), Some("/memory/swap"));
}

/// `rt update` is all or nothing.
#[test]
fn a_failed_update_is_taken_back() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("update");
    let old = resources(r#"{"memory":{"limit":67108864},"cpu":{"quota":50000,"period":200000}}"#);
    scratch.cgroup.apply(&old).unwrap();
    let cgroup = scratch.reopen();
    let change = resources(r#"{"cpu":{"quota":60000}}"#);
    cgroup.update(&old, &change).unwrap();
    let merged = old.updated(&change);
    let expected = resources(r#"{"memory":{"limit":67108864},"cpu":{"quota":60000,"period":200000}}"#);
    assert_eq!(merged, expected);
    let bad = resources(
        r#"{"memory":{"limit":134217728,"swap":134217728},"cpu":{"shares":100,"quota":-1,"cpus":"0"},"pids":{"limit":99999999999}}"#,
    );
    let error = cgroup.update(&merged, &bad).unwrap_err();
    assert_eq!(error.pointer(), Some("/pids/limit"));
    assert_eq!(scratch.read("memory", "memory.limit_in_bytes"), "67108864");
    let swap: u64 = scratch.read("memory", "memory.memsw.limit_in_bytes").parse().unwrap();
    assert!(swap > 1 << 60);
    assert_eq!(scratch.read("cpu", "cpu.shares"), "1024");
    assert_eq!(scratch.read("cpu", "cpu.cfs_quota_us"), "60000");
}

/// The container's devices are usable, the host's are not, and an update takes effect on running
/// processes.
#[test]
fn devices_are_filtered() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("devices");
    let rules = resources(
        r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","access":"m"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#,
    );
    scratch.cgroup.apply_devices(&rules.devices).unwrap();
    assert_eq!(scratch.read("devices", "devices.list"), "c *:* m\nc 1:3 rwm\nc 1:5 rm");
    let works = |cgroup: &Cgroup, script: &str| spawn_in(cgroup, script).wait().unwrap().success();
    let cgroup = scratch.reopen();
    assert!(works(&cgroup, "echo > /dev/null && head -c1 /dev/zero > /dev/null"));
    assert!(!works(&cgroup, "(echo > /dev/zero) 2>&-"));
    assert!(!works(&cgroup, "head -c1 /dev/urandom 2>&- >/dev/null"));
    let rules = resources(
        r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":9,"access":"r"}]}"#,
    );
    cgroup.apply_devices(&rules.devices).unwrap();
    assert_eq!(scratch.read("devices", "devices.list"), "c 1:3 rwm\nc 1:9 r");
    assert!(works(&cgroup, "head -c1 /dev/urandom > /dev/null"));
    assert!(!works(&cgroup, "head -c1 /dev/zero 2>&- >/dev/null"));
    cgroup.apply_devices(&resources(r#"{"devices":[{"allow":true}]}"#).devices).unwrap();
    assert_eq!(scratch.read("devices", "devices.list"), "a *:* rwm");
    assert!(works(&cgroup, "head -c1 /dev/zero > /dev/null"));
}

#[test]
fn a_frozen_container_stands_until_it_is_thawed() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("freeze");
    let mut child = spawn_in(&scratch.cgroup, "while :; do :; done");
    let cgroup = scratch.reopen();
    assert_eq!(cgroup.freezer_state().unwrap(), FreezerState::Running);
    cgroup.freeze().unwrap();
    assert_eq!(cgroup.freezer_state().unwrap(), FreezerState::Frozen);
    assert_eq!(scratch.read("freezer", "freezer.state"), "FROZEN");
    eventually("asleep", || state(pid(&child)) == 'D');
    cgroup.thaw().unwrap();
    assert_eq!(cgroup.freezer_state().unwrap(), FreezerState::Running);
    eventually("running again", || state(pid(&child)) == 'R');
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// Killing reaches processes in cgroups that the container made below its own, and their children.
#[test]
fn killing_reaches_sub_cgroups() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("kill");
    let path = scratch.location.path_for("devices").unwrap().join("sub");
    let script = format!("mkdir {0} && echo 0 > {0}/cgroup.procs && sleep 1000 & sleep 1001 & wait", path.display());
    let mut child = spawn_in(&scratch.cgroup, &script);
    let cgroup = scratch.reopen();
    eventually("processes", || cgroup.processes().unwrap().len() == 3 && path.exists());
    cgroup.kill_all().unwrap();
    child.wait().unwrap();
    eventually("an empty cgroup", || cgroup.processes().unwrap().is_empty());
    cgroup.remove().unwrap();
    assert!(!cgroup.exists().unwrap());
}

/// Other signals reach everybody, too, and each process once.
#[test]
fn a_signal_reaches_every_process() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("signal");
    let script = "trap 'echo got; kill $!; exit 0' USR1; sleep 1000 >&- & echo ready; wait";
    let mut child = spawn_in(&scratch.cgroup, script);
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    scratch.cgroup.signal_all(rustix::process::Signal::USR1).unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(text, "got\n");
    assert!(child.wait().unwrap().success());
}

/// Delete may be repeated, and may come after somebody else removed everything.
#[test]
fn removing_twice_is_fine() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("remove");
    let cgroup = scratch.reopen();
    assert!(cgroup.exists().unwrap());
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    let late = scratch.reopen();
    assert!(!late.exists().unwrap());
    assert!(late.processes().unwrap().is_empty());
    assert_eq!(late.freezer_state().unwrap(), FreezerState::Running);
    late.kill_all().unwrap();
    late.stats().unwrap();
    assert_eq!(late.oom_kills().unwrap(), 0);
    assert!(late.entry().is_err());
}

/// Two containers in one cgroup would be killed together.
#[test]
fn a_used_cgroup_is_refused() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("used");
    Cgroup::create(&scratch.layout, &scratch.location).unwrap();
    let mut child = spawn_in(&scratch.cgroup, "exec sleep 1000");
    let error = Cgroup::create(&scratch.layout, &scratch.location).unwrap_err();
    assert_eq!(error.to_string(), "container's cgroup is not empty: 1 process(es) found");
    scratch.cgroup.kill_all().unwrap();
    child.wait().unwrap();
    scratch.cgroup.freeze().unwrap();
    let error = Cgroup::create(&scratch.layout, &scratch.location).unwrap_err();
    assert_eq!(error.to_string(), "container's cgroup unexpectedly frozen");
}

/// A create that fails leaves nothing behind.
#[test]
fn a_failed_create_leaves_nothing() {
    if skip(true) {
        return;
    }
    let layout = rt_cgroups::detect().unwrap();
    let mut location = locate(&layout, "fails/deep");
    let last = location.paths.iter_mut().rfind(|(name, _)| !name.is_empty()).unwrap();
    last.1 = "/proc/no/such/place".into();
    assert!(Cgroup::create(&layout, &location).is_err());
    for (_, path) in &location.paths {
        assert!(!path.parent().unwrap().exists(), "{}", path.display());
    }
}

/// `runc events --stats` is parsed by programs that know runc's names.
#[test]
fn stats_have_runcs_shape() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("stats");
    scratch.cgroup.apply(&resources(r#"{"pids":{"limit":10},"memory":{"limit":67108864}}"#)).unwrap();
    let mut child =
        spawn_in(&scratch.cgroup, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; exec sleep 1000");
    child.stdout.take().unwrap().read_exact(&mut [0; 5]).unwrap();
    let stats = serde_json::to_value(scratch.reopen().stats().unwrap()).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let top = ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
    assert_eq!(keys(&stats), top);
    assert!(stats["network_interfaces"].is_null());
    assert!(stats["cpu"]["usage"]["total"].as_u64().unwrap() > 1_000_000);
    assert_eq!(stats["cpu"]["throttling"], serde_json::json!({}));
    assert_eq!(stats["pids"], serde_json::json!({"current": 1, "limit": 10}));
    assert_eq!(stats["memory"]["usage"]["limit"], 67_108_864);
    assert!(stats["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
    assert!(stats["memory"]["raw"]["total_rss"].is_u64());
    assert!(stats["memory"]["kernelTCP"]["limit"].is_u64());
    assert!(!stats["cpuset"]["cpus"].as_array().unwrap().is_empty());
    scratch.cgroup.kill_all().unwrap();
    child.wait().unwrap();
}

/// A failed start says so when it was the memory limit.
#[test]
fn oom_kills_are_counted() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("oom");
    scratch.cgroup.apply(&resources(r#"{"memory":{"limit":16777216,"swap":16777216}}"#)).unwrap();
    assert_eq!(scratch.cgroup.oom_kills().unwrap(), 0);
    let mut child = spawn_in(&scratch.cgroup, "head -c 100000000 /dev/zero | tail > /dev/null; :");
    child.wait().unwrap();
    assert_eq!(scratch.reopen().oom_kills().unwrap(), 1);
}

/// `exec` without CLONE_INTO_CGROUP, and into a sub-cgroup.
#[test]
fn a_process_can_be_moved_in_and_below() {
    if skip(true) {
        return;
    }
    let scratch = Scratch::new("move");
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    scratch.cgroup.add_process(pid(&child)).unwrap();
    assert_eq!(scratch.cgroup.processes().unwrap(), [pid(&child)]);
    std::fs::create_dir(scratch.location.path_for("pids").unwrap().join("sub")).unwrap();
    let below = scratch.cgroup.descend(Some("pids"), "sub").unwrap();
    below.add_process(pid(&child)).unwrap();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    assert!(text.contains(&format!(":pids:/rt-test-{}-move/sub\n", std::process::id())), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
}
