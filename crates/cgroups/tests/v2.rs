//! On a real cgroup v2 tree: this host's, mounted in a private mount namespace as if there were
//! nothing else.
//!
//! Of the controllers, this host's kernel has hugetlb only in version 2; the limits of the others
//! are tried on plain files in `v2_files.rs` and in the VM.

mod common;

use std::io::Read;

use common::{Scratch, eventually, pid, rerun_on_v2, resources, skip, spawn_in, state};
use rt_cgroups::{Cgroup, FreezerState, Layout};
use rt_resources::{DeviceKind, DeviceRule};
use rustix::process::Pid;

#[test]
fn on_cgroup_v2() {
    if !skip(false) {
        rerun_on_v2();
    }
}

#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn the_layout_is_v2() {
    assert_eq!(rt_cgroups::detect().unwrap(), Layout::V2 { root: "/sys/fs/cgroup".into() });
}

/// Controllers are enabled on the way down, and a nested path is made.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn controllers_are_enabled_on_the_way() {
    let scratch = Scratch::new("nested/inner");
    let path = scratch.location.unified().unwrap().to_owned();
    let read = |path: &std::path::Path, file| std::fs::read_to_string(path.join(file)).unwrap();
    let offered = read("/sys/fs/cgroup".as_ref(), "cgroup.controllers");
    assert_eq!(read(&path, "cgroup.controllers"), offered);
    assert_eq!(read(path.parent().unwrap(), "cgroup.subtree_control"), offered);
    scratch.cgroup.apply(&resources(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#)).unwrap();
    assert_eq!(read(&path, "hugetlb.2MB.max"), "4194304\n");
    assert_eq!(read(&path, "hugetlb.2MB.rsvd.max"), "4194304\n");
    let applied = scratch.cgroup.apply(&resources(r#"{"memory":{"limit":1048576}}"#));
    if offered.contains("memory") {
        applied.unwrap();
        assert_eq!(read(&path, "memory.max"), "1048576\n");
    } else {
        let refused = format!("controller \"memory\" is not available for {}", path.display());
        assert_eq!(applied.unwrap_err().to_string(), refused);
    }
    let stats = scratch.cgroup.stats().unwrap();
    assert!(stats.hugetlb.contains_key("2MB"));
    assert!(stats.cpu.psi.is_some());
    drop(scratch);
    std::fs::remove_dir(path.parent().unwrap()).unwrap();
}

/// Where `exec` goes when the container's own cgroup has handed its controllers down: to init, if
/// it is below.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn a_process_below_is_found() {
    let scratch = Scratch::new("below");
    let path = scratch.location.unified().unwrap();
    std::fs::create_dir_all(path.join("a/init.scope")).unwrap();
    let mut child = spawn_in(&scratch.cgroup, "sleep 1000");
    let cgroup = scratch.reopen();
    let below = || cgroup.path_below(&scratch.layout, pid(&child)).unwrap();
    assert_eq!(below(), None);
    std::fs::write(path.join("a/init.scope/cgroup.procs"), child.id().to_string()).unwrap();
    assert_eq!(below().as_deref(), Some("a/init.scope"));
    let outside = Pid::from_raw(std::process::id() as i32).unwrap();
    assert_eq!(cgroup.path_below(&scratch.layout, outside).unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn freezing_waits_for_the_kernel() {
    let scratch = Scratch::new("freeze");
    let mut child = spawn_in(&scratch.cgroup, "while :; do :; done");
    let cgroup = scratch.reopen();
    for _ in 0..20 {
        cgroup.freeze().unwrap();
        assert_eq!(cgroup.freezer_state().unwrap(), FreezerState::Frozen);
        let events = std::fs::read_to_string(scratch.location.unified().unwrap().join("cgroup.events")).unwrap();
        assert!(events.contains("frozen 1"), "{events}");
        // Frozen again before it was back in its program, it may be on its way to sleep in the
        // kernel.
        eventually("asleep", || state(pid(&child)) == 'S');
        cgroup.thaw().unwrap();
        eventually("running", || state(pid(&child)) == 'R');
    }
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    child.wait().unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.exists().unwrap());
}

/// Removing right after killing waits for the processes to be gone instead of failing or guessing.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn killing_and_removing_reach_sub_cgroups() {
    let scratch = Scratch::new("kill");
    let sub = scratch.location.unified().unwrap().join("sub");
    let script = format!("mkdir {0} && echo 0 > {0}/cgroup.procs && sleep 1000 & sleep 1001 & wait", sub.display());
    // No controller may be enabled for sub-cgroups of one with processes, which this script does
    // not.
    let mut child = spawn_in(&scratch.cgroup, &script);
    let cgroup = scratch.reopen();
    eventually("processes", || cgroup.processes().unwrap().len() == 3 && sub.exists());
    cgroup.kill_all().unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.exists().unwrap());
    child.wait().unwrap();
    cgroup.remove().unwrap();
}

#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn a_used_cgroup_is_refused() {
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

/// The eBPF filter: what it lets through, that an update replaces it at once, and that nothing of
/// it is leaked.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn devices_are_filtered() {
    let scratch = Scratch::new("devices");
    let works = |cgroup: &Cgroup, script: &str| spawn_in(cgroup, script).wait().unwrap().success();
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let rules = |json: &str| resources(json).devices;
    let default = rules(
        r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","access":"m"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#,
    );
    scratch.cgroup.apply_devices(&default).unwrap();
    let cgroup = scratch.reopen();
    assert!(works(&cgroup, "echo > /dev/null && head -c1 /dev/zero > /dev/null"));
    assert!(!works(&cgroup, "(echo > /dev/zero) 2>&-"));
    assert!(!works(&cgroup, "head -c1 /dev/urandom 2>&- >/dev/null"));

    let before = fds();
    // A hole in a wildcard, which v1 cannot have.
    let hole = rules(
        r#"{"devices":[{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":5,"access":"w"}]}"#,
    );
    for _ in 0..100 {
        cgroup.apply_devices(&hole).unwrap();
    }
    assert_eq!(fds(), before);
    assert!(works(&cgroup, "head -c1 /dev/urandom > /dev/null && head -c1 /dev/zero >/dev/null"));
    assert!(!works(&cgroup, "(echo > /dev/zero) 2>&-"));

    // Many rules are no problem for the verifier, whatever they have in common.
    let accesses: [&[&str]; 4] = [&["rwm"], &["rw"], &["r", "w", "m"], &["rw", "rwm", "m"]];
    let cases = accesses.iter().flat_map(|access| [(access, true), (access, false)]);
    for ((access, by_major), count) in cases.flat_map(|case| [(case, 40), (case, 2_000), (case, 5_000)]) {
        let many: Vec<DeviceRule> = (0..count)
            .map(|index| DeviceRule {
                allow: index % 7 != 3,
                kind: Some(if index % 5 == 0 { DeviceKind::Block } else { DeviceKind::Char }),
                major: Some(if by_major { 20 + index } else { 7 }),
                minor: Some(if by_major { 0 } else { index }),
                access: Some(access[index as usize % access.len()].to_owned()),
            })
            .collect();
        let start = std::time::Instant::now();
        cgroup.apply_devices(&many).unwrap_or_else(|error| panic!("{count} {access:?} {by_major}: {error}"));
        println!("{count} {access:?} by_major={by_major} {:?}", start.elapsed());
        assert!(!works(&cgroup, "(echo > /dev/zero) 2>&-"));
    }

    cgroup.apply_devices(&rules(r#"{"devices":[{"allow":true}]}"#)).unwrap();
    assert!(works(&cgroup, "echo > /dev/zero"));
    assert_eq!(fds(), before);
}

/// Delegation gives away the files that the kernel calls safe, and no limit.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn delegation_gives_away_no_limits() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new("delegate");
    scratch.cgroup.chown_for_delegation(rustix::fs::Uid::from_raw(1234), rustix::fs::Gid::from_raw(1235)).unwrap();
    let owner = |file: &str| {
        let meta = std::fs::metadata(scratch.location.unified().unwrap().join(file)).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner("."), (1234, 1235));
    assert_eq!(owner("cgroup.procs"), (1234, 1235));
    assert_eq!(owner("cgroup.freeze"), (0, 0));
    assert_eq!(owner("hugetlb.2MB.max"), (0, 0));
}

/// The handle's descriptor puts a process into the cgroup as it is born.
#[test]
#[ignore = "run by on_cgroup_v2, in its mount namespace"]
fn the_entry_is_a_directory_of_cgroup2() {
    let scratch = Scratch::new("entry");
    let entry = scratch.cgroup.entry().unwrap();
    assert!(entry.tasks.is_empty());
    let stat = rustix::fs::fstatfs(entry.unified.unwrap()).unwrap();
    assert_eq!(stat.f_type, 0x6367_7270);
    let mut text = String::new();
    let mut child = spawn_in(&scratch.cgroup, "exec cat /proc/self/cgroup");
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert!(text.contains(&format!("0::/rt-test-{}-entry\n", std::process::id())), "{text}");
}
