//! What is written to which file of cgroup v2, seen in a directory of plain files.
//!
//! This host's kernel has few controllers of version 2 to try it on; the real ones are the VM's
//! business.

use std::path::Path;

use rt_cgroups::{Cgroup, Driver, Error, Layout, Resources};

const FILES: [&str; 20] = [
    "cgroup.controllers",
    "cgroup.freeze",
    "cpu.weight",
    "cpu.max",
    "cpu.max.burst",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "hugetlb.2MB.max",
    "hugetlb.2MB.rsvd.max",
    "hugetlb.1GB.max",
    "io.max",
    "io.weight",
    "memory.current",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.swap.max",
    "pids.max",
    "rdma.max",
];

/// A cgroup of plain files. Those of `contents` are filled, the others empty; those of `missing` do
/// not exist.
struct Fake {
    root: tempfile::TempDir,
    cgroup: Cgroup,
}

impl Fake {
    fn new(missing: &[&str], contents: &[(&str, &str)]) -> Fake {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::V2 { root: root.path().to_owned() };
        let location = rt_cgroups::locate(&layout, Driver::Cgroupfs, Some("/c"), "c", false).unwrap();
        std::fs::create_dir(root.path().join("c")).unwrap();
        for file in FILES.into_iter().filter(|file| !missing.contains(file)) {
            let content = contents.iter().find(|(name, _)| *name == file).map_or("", |(_, content)| content);
            std::fs::write(root.path().join("c").join(file), content).unwrap();
        }
        Fake { root, cgroup: Cgroup::open(&location).unwrap() }
    }

    fn apply(&self, json: &str) -> Result<(), Error> {
        self.cgroup.apply(&serde_json::from_str::<Resources>(json).unwrap())
    }

    /// Applies and returns the files that have contents then.
    fn written(&self, json: &str) -> Vec<(String, String)> {
        self.apply(json).unwrap();
        FILES
            .iter()
            .filter_map(|file| {
                let path = self.root.path().join("c").join(file);
                let text = std::fs::read_to_string(path).ok()?;
                (!text.is_empty()).then(|| ((*file).to_owned(), text))
            })
            .collect()
    }
}

/// Applies to a fresh directory and compares the files that were written.
#[track_caller]
fn writes(json: &str, expected: &[(&str, &str)]) {
    let written = Fake::new(&[], &[]).written(json);
    let written: Vec<_> = written.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    assert_eq!(written, expected, "{json}");
}

#[test]
fn nothing_is_written_for_nothing() {
    writes("{}", &[]);
    writes(r#"{"memory":{},"cpu":{},"pids":{},"blockIO":{}}"#, &[]);
    writes(r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0,"period":0},"blockIO":{"weight":0}}"#, &[]);
    writes(
        r#"{"memory":{"swappiness":10,"disableOOMKiller":true,"kernel":1},"cpu":{"realtimeRuntime":1},"network":{"classID":1},
        "blockIO":{"leafWeight":10}}"#,
        &[],
    );
}

#[test]
fn cpu() {
    writes(r#"{"cpu":{"shares":512}}"#, &[("cpu.weight", "59")]);
    writes(r#"{"cpu":{"quota":50000}}"#, &[("cpu.max", "50000 100000")]);
    writes(r#"{"cpu":{"period":50000}}"#, &[("cpu.max", "max 50000")]);
    writes(r#"{"cpu":{"quota":-1,"period":50000,"burst":10}}"#, &[("cpu.max", "max 50000"), ("cpu.max.burst", "10")]);
    writes(
        r#"{"cpu":{"idle":1,"cpus":"0-3","mems":"0"}}"#,
        &[("cpu.idle", "1"), ("cpuset.cpus", "0-3"), ("cpuset.mems", "0")],
    );
}

/// Equal limits of memory and memory+swap are "no swap": a 0 in the file, and not an untouched
/// file.
#[test]
fn memory() {
    writes(r#"{"memory":{"limit":1000,"swap":1000}}"#, &[("memory.max", "1000"), ("memory.swap.max", "0")]);
    writes(
        r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
        &[("memory.low", "500"), ("memory.max", "1000"), ("memory.swap.max", "2000")],
    );
    writes(r#"{"memory":{"limit":-1}}"#, &[("memory.max", "max"), ("memory.swap.max", "max")]);
    writes(r#"{"memory":{"limit":1000}}"#, &[("memory.max", "1000")]);
}

#[test]
fn memory_without_swap_accounting() {
    let fake = Fake::new(&["memory.swap.max"], &[("cgroup.controllers", "memory")]);
    fake.apply(r#"{"memory":{"limit":1000,"swap":1000}}"#).unwrap();
    fake.apply(r#"{"memory":{"limit":-1}}"#).unwrap();
    let error = fake.apply(r#"{"memory":{"limit":1000,"swap":1001}}"#).unwrap_err();
    assert_eq!(error.pointer(), Some("/memory/swap"));
    assert!(error.to_string().ends_with("memory.swap.max: no such file or directory"), "{error}");
}

#[test]
fn a_memory_limit_below_usage_is_refused_on_request() {
    let fake = Fake::new(&[], &[("memory.current", "5000\n")]);
    let error = fake.apply(r#"{"memory":{"limit":5000,"checkBeforeUpdate":true}}"#).unwrap_err();
    assert_eq!(error.to_string(), "rejecting memory limit 5000 <= usage 5000");
    fake.apply(r#"{"memory":{"limit":5001,"checkBeforeUpdate":true}}"#).unwrap();
    fake.apply(r#"{"memory":{"limit":5}}"#).unwrap();
}

#[test]
fn pids() {
    writes(r#"{"pids":{"limit":0}}"#, &[("pids.max", "1")]);
    writes(r#"{"pids":{"limit":-1}}"#, &[("pids.max", "max")]);
    writes(r#"{"pids":{"limit":99}}"#, &[("pids.max", "99")]);
}

#[test]
fn block_io() {
    writes(r#"{"blockIO":{"weight":100}}"#, &[("io.weight", "910")]);
    writes(
        r#"{"blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
        &[("io.max", "8:16 wiops=max")],
    );
    let rates = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7}]}}"#;
    writes(rates, &[("io.max", "8:0 rbps=7")]);
}

/// BFQ has its own file, in which weights have the unit of v1.
#[test]
fn block_io_with_bfq() {
    let fake = Fake::new(&[], &[]);
    let bfq = fake.root.path().join("c/io.bfq.weight");
    std::fs::write(&bfq, "default 100\n").unwrap();
    fake.apply(r#"{"blockIO":{"weight":300}}"#).unwrap();
    assert!(std::fs::read_to_string(&bfq).unwrap().starts_with("300"));
    fake.apply(r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":400}]}}"#).unwrap();
    assert!(std::fs::read_to_string(&bfq).unwrap().starts_with("8:0 400"));
    std::fs::write(&bfq, "100\n").unwrap();
    fake.apply(r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":400}]}}"#).unwrap();
    assert_eq!(std::fs::read_to_string(&bfq).unwrap(), "100\n");
}

#[test]
fn huge_pages_are_limited_in_use_and_reserved() {
    writes(
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
    );
    // A kernel before 5.7 does not count reservations.
    let fake = Fake::new(&[], &[("cgroup.controllers", "hugetlb")]);
    let written = fake.written(r#"{"hugepageLimits":[{"pageSize":"1GB","limit":0}]}"#);
    assert!(written.contains(&("hugetlb.1GB.max".to_owned(), "0".to_owned())));
}

#[test]
fn rdma() {
    writes(
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4}}}"#,
        &[("rdma.max", "mlx5_1 hca_handle=3 hca_object=4")],
    );
}

#[test]
fn unified_files_come_last_and_line_by_line() {
    writes(
        r#"{"memory":{"limit":1000},"unified":{"memory.max":"max","memory.high":"5"}}"#,
        &[("memory.high", "5"), ("memory.max", "max0")],
    );
    writes(r#"{"unified":{"io.max":"8:0 rbps=1\n"}}"#, &[("io.max", "8:0 rbps=1")]);
}

/// A config must not be able to write files of other containers, or of the host.
#[test]
fn no_file_name_leads_out_of_the_cgroup() {
    let fake = Fake::new(&[], &[]);
    let outside = fake.root.path().join("outside.x");
    std::fs::write(&outside, "").unwrap();
    for key in ["../outside.x", "/etc/passwd.x", "..", "c/x.y", ""] {
        let json = serde_json::json!({"unified": {key: "x"}}).to_string();
        assert!(matches!(fake.apply(&json), Err(Error::Invalid { .. })), "{key}");
    }
    let error = fake.apply(r#"{"hugepageLimits":[{"pageSize":"2MB.max/../../outside.","limit":1}]}"#).unwrap_err();
    assert_eq!(error.pointer(), Some("/hugepageLimits/0/pageSize"));
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "");
    assert_eq!(error_of_slash(fake.root.path()), Some("/unified/a~1b"));
}

fn error_of_slash(root: &Path) -> Option<&'static str> {
    let layout = Layout::V2 { root: root.to_owned() };
    let location = rt_cgroups::locate(&layout, Driver::Cgroupfs, Some("/c"), "c", false).unwrap();
    let resources = serde_json::from_str::<Resources>(r#"{"unified":{"a/b":"1"}}"#).unwrap();
    let error = Cgroup::open(&location).unwrap().apply(&resources).unwrap_err();
    (error.pointer() == Some("/unified/a~1b")).then_some("/unified/a~1b")
}

/// "No such file or directory" would be taken by engines for a missing program.
#[test]
fn a_missing_controller_is_named() {
    let fake = Fake::new(&["pids.max", "io.weight"], &[("cgroup.controllers", "cpu memory\n")]);
    for (json, pointer, controller) in [
        (r#"{"pids":{"limit":5}}"#, "/pids/limit", "pids"),
        (r#"{"blockIO":{"weight":100}}"#, "/blockIO/weight", "io"),
        (r#"{"unified":{"misc.max":"x 1"}}"#, "/unified/misc.max", "misc"),
    ] {
        let error = fake.apply(json).unwrap_err();
        assert_eq!(error.pointer(), Some(pointer));
        assert!(
            matches!(&error, Error::ControllerUnavailable { controller: name, .. } if name == controller),
            "{error}"
        );
        assert!(!error.to_string().contains("no such file"), "{error}");
    }
    let error = fake.apply(r#"{"unified":{"memory.nonsense":"1"}}"#).unwrap_err();
    assert!(error.to_string().ends_with("memory.nonsense: no such file or directory"), "{error}");
}

#[test]
fn limits_without_cgroups_are_an_error() {
    let layout = Layout::V2 { root: "/cg".into() };
    let location = rt_cgroups::locate(&layout, Driver::Disabled, None, "c", false).unwrap();
    let cgroup = Cgroup::create(&layout, &location).unwrap();
    cgroup.apply(&Resources::default()).unwrap();
    let error = cgroup.apply(&serde_json::from_str(r#"{"pids":{"limit":5}}"#).unwrap()).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.pointer()),
        ("a limit is set, but cgroups are disabled", Some("/pids"))
    );
    let entry = cgroup.entry().unwrap();
    assert!(entry.unified.is_none() && entry.tasks.is_empty());
    cgroup.kill_all().unwrap();
    cgroup.remove().unwrap();
    assert!(cgroup.processes().unwrap().is_empty());
}
