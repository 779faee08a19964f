//! What is written to which file of cgroup v1 for the controllers that few kernels still have, seen
//! in directories of plain files; those of this host are tested for real beside this.

use rt_cgroups::{Cgroup, Driver, Layout, Resources};
use rt_resources::Hierarchy;

const FILES: [(&str, &str); 13] = [
    ("blkio", "blkio.weight"),
    ("blkio", "blkio.leaf_weight"),
    ("blkio", "blkio.weight_device"),
    ("blkio", "blkio.leaf_weight_device"),
    ("cpu", "cpu.rt_period_us"),
    ("cpu", "cpu.rt_runtime_us"),
    ("hugetlb", "hugetlb.2MB.limit_in_bytes"),
    ("memory", "memory.kmem.tcp.limit_in_bytes"),
    ("memory", "memory.oom_control"),
    ("memory", "memory.swappiness"),
    ("net_cls", "net_cls.classid"),
    ("net_prio", "net_prio.ifpriomap"),
    ("rdma", "rdma.max"),
];

/// Applies to fresh directories and gives the files that have contents then.
fn written(json: &str) -> Vec<(&'static str, String)> {
    let root = tempfile::tempdir().unwrap();
    let mut names: Vec<&str> = FILES.iter().map(|(controller, _)| *controller).collect();
    names.dedup();
    let hierarchy = |name: &&str| Hierarchy {
        name: (*name).to_owned(),
        controllers: vec![(*name).to_owned()],
        mount_point: root.path().join(name),
    };
    let layout = Layout::V1 { hierarchies: names.iter().map(hierarchy).collect() };
    for (controller, file) in FILES {
        std::fs::create_dir_all(root.path().join(controller).join("c")).unwrap();
        std::fs::write(root.path().join(controller).join("c").join(file), "").unwrap();
    }
    let location = rt_cgroups::locate(&layout, Driver::Cgroupfs, Some("/c"), "c", false).unwrap();
    let resources: Resources = serde_json::from_str(json).unwrap();
    Cgroup::open(&location).unwrap().apply(&resources).unwrap();
    let read = |(controller, file): &(&str, &'static str)| {
        let text = std::fs::read_to_string(root.path().join(controller).join("c").join(file)).unwrap();
        (!text.is_empty()).then_some((*file, text))
    };
    FILES.iter().filter_map(read).collect()
}

#[track_caller]
fn writes(json: &str, expected: &[(&str, &str)]) {
    let written = written(json);
    let written: Vec<_> = written.iter().map(|(file, text)| (*file, text.as_str())).collect();
    assert_eq!(written, expected, "{json}");
}

#[test]
fn network_classes_and_priorities() {
    writes(
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}}"#,
        &[("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "eth0 500")],
    );
}

#[test]
fn weights_of_block_devices() {
    writes(
        r#"{"blockIO":{"weight":100,"leafWeight":200,"weightDevice":[{"major":8,"minor":16,"weight":300,"leafWeight":400}]}}"#,
        &[
            ("blkio.weight", "100"),
            ("blkio.leaf_weight", "200"),
            ("blkio.weight_device", "8:16 300"),
            ("blkio.leaf_weight_device", "8:16 400"),
        ],
    );
}

#[test]
fn real_time_of_processors() {
    writes(
        r#"{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":950000}}"#,
        &[("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "950000")],
    );
}

/// Kernel memory has no limit any more, and every kernel accounts hierarchically: both fields are
/// read and ignored.
#[test]
fn memory_beside_its_limit() {
    writes(
        r#"{"memory":{"kernelTCP":4096,"disableOOMKiller":true,"swappiness":0,"kernel":5,"useHierarchy":true}}"#,
        &[("memory.kmem.tcp.limit_in_bytes", "4096"), ("memory.oom_control", "1"), ("memory.swappiness", "0")],
    );
}

#[test]
fn huge_pages_and_rdma() {
    writes(
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10}}}"#,
        &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10")],
    );
}
