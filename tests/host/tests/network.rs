//! linux.netDevices: interfaces of the host that become the container's. All in network namespaces
//! made for the test.

use std::process::Command;

use rt_tests::{Bundle, Container, Done, done, need, need_host, rt};
use serde_json::{Value, json};

/// Runs `setup` in a network namespace of its own and the bundle from there.
fn run_beside(setup: &str, bundle: &Bundle) -> Done {
    let container = Container::new();
    bundle.write();
    let script = format!(
        "set -e; ip link set lo up; {setup}
         set +e; {} --root {} run --bundle {bundle} {}; code=$?; ip -o link > {bundle}/left; exit $code",
        rt().display(),
        container.root().display(),
        container.id,
        bundle = bundle.path().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script]);
    done(command)
}

fn devices(wanted: Value) -> impl FnOnce(&mut Value) {
    move |c| c["linux"]["netDevices"] = wanted
}

fn has_ip() -> bool {
    Command::new("ip").arg("-V").output().is_ok()
}

/// The device arrives under its new name, up, with its MTU, its hardware address and its permanent
/// addresses of both families; the hooks that configure the network see it already; and the
/// runtime's namespace has it no more.
#[test]
fn a_network_device_moves_with_all_it_has() {
    need_host!();
    need!(has_ip(), "needs iproute2");
    let setup = "ip link add stays type veth peer name other
        ip link add moved type veth peer name end
        ip link set moved address 02:00:00:00:12:34 mtu 1280 up
        ip addr add 10.9.8.7/24 brd 10.9.8.255 dev moved
        ip addr add 10.9.8.6/24 dev moved valid_lft 600 preferred_lft 600
        ip addr add 169.254.3.4/16 dev moved scope link
        ip -6 addr add fd00:9::7/64 dev moved nodad";
    let seen = tempfile::NamedTempFile::new().unwrap();
    let hook =
        format!("nsenter -t $(grep -o '\"pid\":[0-9]*' | cut -d: -f2) -n ip -o link > {}", seen.path().display());
    let bundle =
        Bundle::shell("ip -o addr show dev eth7; ip -o link show dev eth7").with(devices(json!({"moved": {"name": "eth7"}}))).with(|c| {
            c["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook], "env": [format!("PATH={}", std::env::var("PATH").unwrap())]}]});
        });
    let done = run_beside(setup, &bundle);
    let out = done.ok();
    for wanted in
        ["10.9.8.7/24 brd 10.9.8.255 scope global", "fd00:9::7/64 scope global", "02:00:00:00:12:34", "mtu 1280", "UP"]
    {
        assert!(out.contains(wanted), "{wanted:?} is not in {out}");
    }
    for unwanted in ["10.9.8.6", "169.254.3.4", "tentative"] {
        assert!(!out.contains(unwanted), "{unwanted:?} is in {out}");
    }
    let hook_saw = std::fs::read_to_string(seen.path()).unwrap();
    assert!(hook_saw.contains("eth7"), "{hook_saw}");
    let left = std::fs::read_to_string(bundle.path().join("left")).unwrap();
    assert!(left.contains("stays") && !left.contains("moved") && !left.contains("eth7"), "{left}");
}

/// Without a new name it keeps its own; a namespace joined by path takes it as one that was made.
#[test]
fn a_network_device_moves_into_a_joined_namespace() {
    need_host!();
    need!(has_ip(), "needs iproute2");
    let pod = Bundle::new(&["sleep", "1000"]).start();
    let bundle = Bundle::shell("ip -o link show dev moved; readlink /proc/self/ns/net")
        .with(devices(json!({"moved": {}})))
        .with(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.iter_mut().find(|n| n["type"] == "network").unwrap()["path"] =
                format!("/proc/{}/ns/net", pod.pid()).into();
        });
    let done = run_beside("ip link add moved type veth peer name kept", &bundle);
    let namespace = std::fs::read_link(format!("/proc/{}/ns/net", pod.pid())).unwrap();
    assert!(done.ok().contains("moved") && done.out.contains(&*namespace.to_string_lossy()), "{done:?}");
}

/// A root of a user namespace gets one, too: the runtime has the rights over both sides.
#[test]
fn a_network_device_moves_into_a_user_namespace() {
    need_host!();
    need!(has_ip(), "needs iproute2");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle =
        Bundle::shell("ip -o addr show dev eth0").with(devices(json!({"moved": {"name": "eth0"}}))).with(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map.clone();
        });
    for dir in [bundle.path().to_owned(), bundle.rootfs()] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let done = run_beside("ip link add moved type veth peer name kept; ip addr add 10.9.8.7/24 dev moved", &bundle);
    assert!(done.ok().contains("10.9.8.7/24"), "{done:?}");
}

/// What cannot be moved is named by its field, and the container is not made.
#[test]
fn a_network_device_that_cannot_move_is_told() {
    need_host!();
    need!(has_ip(), "needs iproute2");
    let bundle = Bundle::new(&["true"]).with(devices(json!({"nosuch0": {}})));
    bundle.run().fails(1, "/linux/netDevices/nosuch0: find network device \"nosuch0\": no such device");
    let taken = Bundle::new(&["true"]).with(devices(json!({"moved": {"name": "lo"}})));
    let done = run_beside("ip link add moved type veth peer name kept", &taken);
    done.fails(1, "/linux/netDevices/moved: move network device \"moved\": file exists");
    let left = std::fs::read_to_string(taken.path().join("left")).unwrap();
    assert!(left.contains("moved"), "what could not be moved stays where it was: {left}");
    let shared = Bundle::new(&["true"])
        .with(devices(json!({"a/b": {}, "ok": {"name": "sixteen-letters-"}})))
        .without_namespace("network");
    let done = shared.run();
    for wanted in [
        "/linux/netDevices: need a network namespace in /linux/namespaces",
        "/linux/netDevices/a~1b: \"a/b\" is no name for a network device",
        "/linux/netDevices/ok/name: \"sixteen-letters-\" is no name for a network device",
    ] {
        assert!(done.err.contains(wanted), "{wanted:?} is not in {done:?}");
    }
}

/// Rootless Podman without a network: root of a user namespace whose network is the host's may
/// leave that and not return.
#[test]
fn a_network_namespace_for_root_of_a_user_namespace() {
    need_host!();
    let container = Container::new();
    let bundle = Bundle::shell("readlink /proc/self/ns/net; ls /sys/class/net").with(|c| {
        // The namespace has one group only, and lets nobody change what a process has.
        c["annotations"] = json!({"run.oci.keep_original_groups": "1"});
        let devpts = c["mounts"].as_array_mut().unwrap().iter_mut().find(|m| m["type"] == "devpts").unwrap();
        devpts["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
    });
    bundle.write();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]).arg(rt()).arg("--root").arg(container.root());
    command.args(["--cgroup-manager", "disabled", "run", "--bundle"]).arg(bundle.path()).arg(&container.id);
    let done = done(command);
    let lines: Vec<&str> = done.ok().lines().collect();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(lines[0], own.to_string_lossy());
    assert_eq!(lines[1..], ["lo"], "{done:?}");
}
