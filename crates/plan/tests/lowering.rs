//! Lowering is pure and total: any config gives a plan or an error, the same one each time, and no
//! op leaves the rootfs.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use rt_plan::spec::{Document, Spec, SpecError};
use rt_plan::{Console, Host, Op, Plan, Request, lower};
use rt_protocol::op;
use rt_resources::{Driver, Layout};
use serde_json::{Value, json};

fn lowered(config: &Value) -> Result<Plan, SpecError> {
    let document = Document::new("config.json", config.to_string().into_bytes());
    let spec: Spec<'_> = document.parse()?;
    let host = Host {
        layout: Layout::V2 { root: "/sys/fs/cgroup".into() },
        root: true,
        first_user_namespace: true,
        kcore: true,
        arch: rt_seccomp::Arch::X86_64,
    };
    let cgroup = rt_cgroups::locate(&host.layout, Driver::Cgroupfs, Some("/x"), "id", false).unwrap();
    let plain = Request::plain("id", Path::new("/bundle"), &cgroup);
    let request = Request { console: Console::Socket, barrier: true, ..plain };
    lower(&spec, &host, &request)
}

fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h",
        "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1, "gid": 2, "additionalGids": [3]},
            "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
            "noNewPrivileges": false, "oomScoreAdj": 5, "terminal": true,
            "scheduler": {"policy": "SCHED_BATCH", "nice": 1}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1}},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "ro"]},
            {"destination": "/m/../n", "type": "bind", "source": "/srv", "options": ["rbind", "rro", "rslave", "idmap=uids=0-1-2;gids=0-1-2"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
        ],
        "hooks": {"createContainer": [{"path": "/h", "args": ["h"], "timeout": 3}], "prestart": [{"path": "/p"}]},
        "annotations": {"a": "b"},
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "pid"}, {"type": "network", "path": "/n"}],
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 438}],
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "sysctl": {"net.a.b": "1"},
            "resources": {"memory": {"limit": 100000}, "pids": {"limit": 3}},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "execve"], "action": "SCMP_ACT_ALLOW"}]},
            "personality": {"domain": "LINUX"}, "timeOffsets": {}, "rootfsPropagation": "rshared",
            "netDevices": {"eth1": {"name": "eth0"}}, "intelRdt": {"closID": "x", "schemata": ["L3:0=f"]},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": []}
        }
    })
}

/// The ops of a whole config, by name and field: the order is the documentation.
#[test]
fn the_plan_of_a_whole_config() {
    let plan = lowered(&base()).unwrap();
    let text: Vec<String> = plan.ops.iter().map(|(op, at)| format!("{} {at}", op.name())).collect();
    let position =
        |wanted: &str| text.iter().position(|t| t == wanted).unwrap_or_else(|| panic!("{wanted} is not in {text:#?}"));
    let order = [
        "MountsPropagation /linux/rootfsPropagation",
        "Root /root/path",
        "Mount /mounts/0",
        "Mount /mounts/1",
        "Bind /mounts/2",
        "Mount /mounts/3",
        "Node /linux/devices/0",
        "Terminal /process/terminal",
        "AwaitHooks /hooks/createRuntime",
        "Hook /hooks/createContainer/0",
        "Sysctl /linux/sysctl",
        "ReadOnly /linux/readonlyPaths/0",
        "Mask /linux/maskedPaths/0",
        "PivotRoot /root/path",
        "RootAttributes /root/readonly",
        "Attributes /mounts/1/options",
        "Hostname /hostname",
        "Limit /process/rlimits/0",
        "Bounding /process/capabilities/bounding",
        "User /process/user",
        "Capabilities /process/capabilities",
        "FindProgram /process/args/0",
        "Ready /process",
        "AwaitStart /process",
        "Seccomp /linux/seccomp",
        "Exec /process/args",
    ];
    assert!(order.map(position).is_sorted(), "{text:#?}");
}

/// Init keeps CAP_SYS_ADMIN only where a filter without no_new_privs needs it.
#[test]
fn privileges_are_held_only_for_the_filter() {
    let held = |config: &Value| {
        let plan = lowered(config).unwrap();
        plan.ops
            .iter()
            .find_map(|(op, _)| if let Op::Capabilities { held, .. } = op { Some(*held) } else { None })
            .unwrap()
    };
    let mut config = base();
    assert_eq!(held(&config), 1 << 21);
    config["process"]["noNewPrivileges"] = true.into();
    assert_eq!(held(&config), 0);
    config["process"]["noNewPrivileges"] = false.into();
    config["linux"]["seccomp"] = Value::Null;
    assert_eq!(held(&config), 0);
}

/// A call that nobody would answer is told by its field, not by a descriptor that is missing later.
#[test]
fn notify_needs_an_agent() {
    let mut config = base();
    config["linux"]["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_NOTIFY".into();
    for path in [Value::Null, "".into()] {
        config["linux"]["seccomp"]["listenerPath"] = path;
        let error = lowered(&config).unwrap_err();
        assert_eq!(error.to_string(), "/linux/seccomp/listenerPath: must be set where SCMP_ACT_NOTIFY is used");
    }
    config["linux"]["seccomp"]["listenerPath"] = "/agent".into();
    assert_eq!(lowered(&config).unwrap().seccomp_agent.as_deref(), Some(Path::new("/agent")));
}
/// What configs are bent from: one with a bit of everything, and those that engines make.
static STARTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let fixtures = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
    let fixtures = fixtures.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    // Half of the cases are about the one that has the rarer fields.
    std::iter::repeat_n(base(), 12).chain(fixtures).collect()
});

/// Values that mean trouble somewhere.
fn trouble() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("/")),
        Just(json!("../../../etc")),
        Just(json!("/a/../../..//b/.")),
        Just(json!("a\u{0}b")),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["", "x", "rbind", "idmap=uids=0-0-0"])),
        any::<i64>().prop_map(|n| json!(n)),
        "[ -~]{0,12}".prop_map(|s| json!(s)),
    ]
}

/// All places of a document.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    out.push(at.clone());
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| places(v, format!("{at}/{}", k.replace('/', "~1")), out)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| places(v, format!("{at}/{i}"), out)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However a config is bent: no panic, the same plan twice, and every path in the rootfs clean
    /// and absolute.
    #[test]
    fn lowering_is_total_pure_and_stays_inside(
        start in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), trouble()), 1..5),
        parameter in "(net|kernel|fs)([./](\\.\\.|mqueue|ipv4|kernel|\\.)){0,4}",
    ) {
        let mut config = start.get(&STARTS).clone();
        if parameter.len() % 2 == 0 {
            config["linux"]["sysctl"] = json!({parameter: "1"});
        }
        for (index, value) in changes {
            let mut all = Vec::new();
            places(&config, String::new(), &mut all);
            let place = &all[index.index(all.len())];
            if let Some(spot) = config.pointer_mut(place) {
                *spot = value;
            }
        }
        let (first, second) = (lowered(&config), lowered(&config));
        match (first, second) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(&a.ops, &b.ops);
                for (op, _) in &a.ops {
                    let inside = match op {
                        Op::Mount(op::Mount { target, .. }) | Op::Bind(op::Bind { target, .. }) => Some(target),
                        Op::Mask { path } | Op::ReadOnly { path } | Op::Directory { path, .. } | Op::Node { path, .. }
                        | Op::Symlink { path, .. } | Op::Attributes { path, .. } => Some(path),
                        _ => None,
                    };
                    if let Some(path) = inside {
                        let path = path.0.to_string_lossy();
                        prop_assert!(path.starts_with('/') && !path.split('/').any(|p| p == ".."), "{}", path);
                    }
                    if let Op::Sysctl { path, .. } = op {
                        let path = path.0.to_string_lossy();
                        prop_assert!(path.starts_with("sys/") && !path.split('/').any(|p| p == ".."), "{}", path);
                    }
                }
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            _ => prop_assert!(false, "one plan and one error"),
        }
    }
}

/// The lines of schemata, in the specification's order: the cache's, the bandwidth's (which wins
/// over what the cache's schema says of it), and the rest.
#[test]
fn intel_rdt_schemata_are_combined() {
    let mut config = base();
    config["linux"]["intelRdt"] = json!({
        "closID": "gold", "l3CacheSchema": "L3:0=7f0;1=1f\nMB:0=10", "memBwSchema": "MB:0=20;1=70",
        "schemata": ["L2:0=f", ""], "enableMonitoring": true
    });
    let wanted = lowered(&config).unwrap().resctrl.unwrap();
    assert_eq!(wanted.schemata, ["L3:0=7f0;1=1f", "MB:0=20;1=70", "L2:0=f"]);
    assert_eq!((wanted.class.as_deref(), wanted.monitoring), (Some("gold"), true));
    for bad in [".", "..", "a/b"] {
        config["linux"]["intelRdt"]["closID"] = bad.into();
        let error = lowered(&config).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/intelRdt/closID"), "{bad}");
    }
    config["linux"]["intelRdt"]["closID"] = "/".into();
    assert_eq!(lowered(&config).unwrap().resctrl.unwrap().class.as_deref(), Some("/"));
}

/// Fields whose effect no test machine can show: the label of every filesystem that takes one,
/// under the name that Podman asks for, and flags of a personality, which the specification names
/// and does not define.
#[test]
fn labels_of_mounts_and_flags_of_personalities() {
    let mut config = base();
    config["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2".into();
    config["linux"]["personality"]["flags"] = json!(["X"]);
    let options = |config: &Value| {
        let plan = lowered(config).unwrap();
        let data = plan.ops.iter().find_map(|(op, at)| match op {
            Op::Mount(op::Mount { options, .. }) if at.to_string() == "/mounts/1" => Some(options.0.clone()),
            _ => None,
        });
        String::from_utf8(data.unwrap()).unwrap().replace('\0', " ")
    };
    assert_eq!(options(&config), "smode 755 scontext system_u:object_r:container_file_t:s0:c1,c2 ");
    config["annotations"]["run.oci.mount_context_type"] = "rootcontext".into();
    assert_eq!(options(&config), "smode 755 srootcontext system_u:object_r:container_file_t:s0:c1,c2 ");
    let warnings: Vec<String> = lowered(&config).unwrap().warnings.iter().map(|w| w.pointer.clone()).collect();
    assert_eq!(warnings, ["/linux/personality/flags"]);
}

/// A name that begins in the container's namespaces and leads out of them is the host's parameter.
#[test]
fn kernel_parameters_do_not_lead_elsewhere() {
    let mut config = base();
    for bad in ["net/../kernel/core_pattern", "net/./x", "net//x", "net/ipv4/../../kernel/pid_max", "net/"] {
        config["linux"]["sysctl"] = json!({bad: "1"});
        let error = lowered(&config).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/sysctl"), "{bad}");
    }
    config["linux"]["sysctl"] = json!({"net/ipv4/conf/eth0.1/forwarding": "1", "net.ipv4.conf.eth0/1.forwarding": "1"});
    lowered(&config).unwrap();
}

/// What the ops of `config` are, by name and path, from the network namespace on and before it.
fn around_network(config: &Value) -> (Vec<String>, Vec<String>) {
    let plan = lowered(config).unwrap();
    let text = |(op, _): &(Op, _)| {
        let mut text = op.name().to_owned();
        op.fields(|name, value| {
            if matches!(name, "target" | "path") && !text.contains(' ') {
                text += &format!(" {value:?}");
            }
        });
        text.replace(['"', '\\'], "")
    };
    let at = plan.ops.iter().position(|(op, _)| matches!(op, Op::JoinNetwork {})).unwrap();
    let (before, behind) = plan.ops.split_at(at);
    (before.iter().map(text).collect(), behind.iter().map(text).collect())
}

fn with_network(mounts: Value) -> Value {
    let mut list = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs"}
    ]);
    list.as_array_mut().unwrap().extend(mounts.as_array().unwrap().iter().cloned());
    json!({
        "ociVersion": "1.3.0", "root": {"path": "rootfs"}, "hostname": "h",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "mounts": list,
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "pid"}, {"type": "network"}, {"type": "cgroup"}],
            "maskedPaths": ["/proc/kcore", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]
        }
    })
}

/// Init must not idle while the parent makes the network namespace.
#[test]
fn what_needs_no_network_comes_before_it() {
    let (before, behind) =
        around_network(&with_network(json!([{"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}])));
    for early in [
        "Mount /dev/shm",
        "Node /dev/null",
        "ReadOnly /proc/sys",
        "Mask /proc/kcore",
        "PivotRoot",
        "Hostname",
        "Bounding",
    ] {
        assert!(before.iter().any(|op| op == early), "{early} in {before:?}");
    }
    // What is in /sys keeps its place.
    assert_eq!(behind[..5], ["JoinNetwork", "Mount /sys", "NewSession", "LoopbackUp", "Mask /sys/firmware"]);
}

/// Nothing may be done before what it depends on: sources of the host before its root is left, a
/// path before what is below it, hooks and kernel parameters before what they may see or allow.
#[test]
fn what_depends_on_others_waits_for_them() {
    let bound = with_network(json!([
        {"destination": "/dev/x", "type": "bind", "source": "/srv", "options": ["bind"]},
        {"destination": "/dev/x/y", "type": "tmpfs", "source": "y"},
        {"destination": "/dev/z", "type": "tmpfs", "source": "z"}
    ]));
    let (before, behind) = around_network(&bound);
    assert!(before.contains(&"Mount /dev/z".into()) && !before.contains(&"PivotRoot".into()), "{before:?}");
    assert_eq!(behind[1..4], ["Mount /sys", "Bind /dev/x", "Mount /dev/x/y"]);

    // The host's null device covers a file, which this may be.
    for file in ["/etc/shadow", "/sys/power/state"] {
        let mut masked = with_network(json!([]));
        masked["linux"]["maskedPaths"] = json!([file, "/sys/firmware"]);
        let (before, behind) = around_network(&masked);
        assert!(!before.contains(&"PivotRoot".into()) && behind.contains(&format!("Mask {file}")), "{before:?}");
    }

    let over_proc =
        with_network(json!([{"destination": "/proc", "type": "bind", "source": "/srv", "options": ["bind"]}]));
    let (before, _) = around_network(&over_proc);
    assert!(!before.iter().any(|op| op.ends_with("/proc/kcore") || op.ends_with("/proc/sys")), "{before:?}");

    for (field, value) in [("hooks", json!({"createContainer": [{"path": "/h"}]})), ("sysctl", json!({"net.a": "1"}))] {
        let mut config = with_network(json!([]));
        match field {
            "sysctl" => config["linux"][field] = value,
            _ => config[field] = value,
        }
        let (before, _) = around_network(&config);
        assert!(!before.iter().any(|op| op.starts_with("Mask") || op == "PivotRoot"), "{field}: {before:?}");
    }
}

/// Numbers around the places where a field is cut or a value is a sentinel, and any others.
fn number() -> impl Strategy<Value = i64> {
    let edges =
        [0, 1, 0o777, 0o1000, 0o7777, 0o10000, 4095, 4096, 1 << 16, (1 << 20) - 1, 1 << 20, (1 << 31) - 1, 1 << 31];
    let last = [(1_i64 << 32) - 2, (1 << 32) - 1, 1 << 32, i64::MAX, -1, i64::MIN];
    prop_oneof![4 => proptest::sample::select([&edges[..], &last].concat()), 1 => any::<i64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No id, limit, mode or device number reaches the kernel as another value than the config's:
    /// it is in an op as it stands, or there is an error. (A mask has nine bits, and the type of
    /// file beside a mode is said by `type`.)
    #[test]
    fn no_number_becomes_another(which in 0..10_usize, value in number()) {
        // One number at a time: together they would nearly always be an error.
        let mut numbers = [1, 2, 3, 10, 20, 0o22, 1, 3, 0o640, 5];
        numbers[which] = value;
        let [uid, gid, group, soft, hard, umask, major, minor, mode, owner] = numbers;
        let mut config = base();
        config["process"]["user"] = json!({"uid": uid, "gid": gid, "additionalGids": [group], "umask": umask});
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
        config["linux"]["devices"] =
            json!([{"path": "/dev/x", "type": "c", "major": major, "minor": minor, "fileMode": mode, "uid": owner}]);
        let Ok(plan) = lowered(&config) else { return Ok(()) };
        let no_id = u32::MAX;
        let mut seen = 0;
        for (op, _) in &plan.ops {
            match op {
                Op::User { uid: to, gid: group_to, groups, .. } => {
                    seen += 1;
                    prop_assert_eq!((i64::from(*to), i64::from(*group_to)), (uid, gid));
                    prop_assert_eq!(&groups.0, &u32::try_from(group).unwrap().to_le_bytes());
                    prop_assert!(*to != no_id && *group_to != no_id && group != i64::from(no_id));
                }
                Op::Limit { soft: now, hard: most, .. } => {
                    seen += 1;
                    prop_assert_eq!((i128::from(*now), i128::from(*most)), (i128::from(soft), i128::from(hard)));
                }
                Op::Umask { mask } => prop_assert_eq!(i64::from(*mask), umask & 0o777),
                Op::Node { path, mode: bits, major: one, minor: two, uid: user, .. } if &*path.0 == c"/dev/x" => {
                    seen += 1;
                    prop_assert_eq!((i64::from(*one), i64::from(*two), i64::from(*user)), (major, minor, owner));
                    prop_assert!(*user != no_id && *one < 1 << 12 && *two < 1 << 20);
                    prop_assert_eq!(i64::from(*bits), (mode & 0o7777) | 0o020_000);
                    prop_assert!(mode <= 0o177_777);
                }
                _ => {}
            }
        }
        prop_assert_eq!(seen, 3);
    }
}
