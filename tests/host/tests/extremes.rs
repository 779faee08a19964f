//! Numbers of the config whose extreme values mean something else to the kernel: -1 as "unset",
//! cuts to 32, 16 or 12 bits, modes with more bits than there are. Each is refused, or has the
//! effect that it states.

use std::fs;

use rt_tests::{Bundle, need_host};
use serde_json::{Value, json};

const NOBODY: u32 = u32::MAX;

/// To set*id(2) and chown(2) the last number is -1, "leave it as it is": asked for by a config, it
/// would leave root.
#[test]
fn an_id_of_minus_one_is_refused_wherever_it_comes_in() {
    need_host!();
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("/process/user/uid", |c| c["process"]["user"]["uid"] = json!(NOBODY)),
        ("/process/user/gid", |c| c["process"]["user"]["gid"] = json!(NOBODY)),
        ("/process/user/additionalGids/1", |c| c["process"]["user"]["additionalGids"] = json!([5, NOBODY])),
        ("/linux/devices/0/uid", |c| c["linux"]["devices"] = device(json!({"uid": NOBODY}))),
        ("/linux/devices/0/gid", |c| c["linux"]["devices"] = device(json!({"gid": NOBODY}))),
        ("/linux/uidMappings/0", |c| maps(c, json!({"containerID": 0, "hostID": NOBODY, "size": 1}))),
        ("/linux/uidMappings/0", |c| maps(c, json!({"containerID": 0, "hostID": 1, "size": NOBODY}))),
        ("/linux/uidMappings/0", |c| maps(c, json!({"containerID": 0, "hostID": 1, "size": 0}))),
        ("/mounts/uidMappings/0", |c| {
            let map = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
            let mount = json!({"destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind"],
                               "uidMappings": map, "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]});
            c["mounts"].as_array_mut().unwrap().push(mount);
        }),
    ];
    for (pointer, change) in changes {
        let done = Bundle::new(&["id"]).with(change).run();
        done.fails(1, &format!("{pointer}: "));
        assert_eq!(done.out, "", "{pointer}: the program ran");
    }
}

fn device(more: Value) -> Value {
    let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
    device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([device])
}

fn maps(config: &mut Value, map: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["uidMappings"] = json!([map]);
}

/// The same for processes that are executed in a container.
#[test]
fn an_executed_process_has_no_id_of_minus_one() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let file = c.root().join("process.json");
    for user in [json!({"uid": NOBODY, "gid": 0}), json!({"uid": 5, "gid": NOBODY})] {
        let process = json!({"args": ["id"], "cwd": "/", "env": ["PATH=/bin"], "user": user});
        fs::write(&file, process.to_string()).unwrap();
        let done = c.rt(&["exec", "--process", file.to_str().unwrap(), &c.id]);
        done.fails(255, "/process/user/");
    }
    for options in [&["--user", "4294967295"][..], &["--user", "1:4294967295"], &["-g", "4294967295"]] {
        let done = c.exec_with(options, &["id"]);
        assert_eq!((done.code, done.out.as_str()), (255, ""), "{options:?}: {done:?}");
    }
}

/// The highest id that is one, and the numbers beside it.
#[test]
fn the_highest_ids_are_ids() {
    need_host!();
    let bundle = Bundle::shell("id -u; id -g").with(|c| {
        c["process"]["user"] = json!({"uid": NOBODY - 1, "gid": NOBODY - 1});
    });
    assert_eq!(bundle.run().ok(), "4294967294\n4294967294\n");
}

/// mknod(2) takes 32 bits of a device number, twelve of which are the major one: 4097:3 would
/// become the null device.
#[test]
fn device_numbers_are_not_cut() {
    need_host!();
    for (more, pointer) in [
        (json!({"major": 4097}), "/linux/devices/0/major"),
        (json!({"major": -1}), "/linux/devices/0/major"),
        (json!({"major": 4294967297_i64}), "/linux/devices/0/major"),
        (json!({"minor": 1 << 20}), "/linux/devices/0/minor"),
        (json!({"fileMode": 0o200666}), "/linux/devices/0/fileMode"),
        (json!({"fileMode": 438000}), "/linux/devices/0/fileMode"),
    ] {
        Bundle::new(&["true"]).with(|c| c["linux"]["devices"] = device(more)).run().fails(1, pointer);
    }
    // As stat(2) gives a mode, with the type beside the permissions; and the last numbers that
    // there are.
    let bundle = Bundle::shell("stat -c '%a %t:%T' /dev/x").with(|c| {
        c["linux"]["devices"] = device(json!({"major": 4095, "minor": (1 << 20) - 1, "fileMode": 0o020640}));
    });
    assert_eq!(bundle.run().ok(), "640 fff:fffff\n");
    // What programs and rt itself take for the null device must be that one.
    let other = Bundle::new(&["true"]).with(|c| {
        c["linux"]["devices"] = json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}]);
    });
    other.run().fails(1, "/linux/devices/0: \"/dev/null\" must be the null device");
}

/// To the device list of cgroup v1 4294967295 is "every number".
#[test]
fn a_device_rule_has_no_sentinel_but_minus_one() {
    need_host!();
    for field in ["major", "minor"] {
        let mut rule = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
        rule[field] = json!(NOBODY);
        let bundle = Bundle::new(&["true"]).with(|c| c["linux"]["resources"]["devices"] = json!([rule]));
        bundle.run().fails(1, &format!("/linux/resources/devices/0/{field}: "));
    }
    // Old configs have "rwa"; what is known of it counts, as with runc.
    let old = Bundle::new(&["true"]).with(|c| {
        c["linux"]["resources"]["devices"] =
            json!([{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwa"}]);
    });
    old.run().ok();
}

/// umask(2) drops what is beyond 0777, and so does every other runtime.
#[test]
fn a_umask_has_nine_bits() {
    need_host!();
    let bundle = Bundle::shell("umask").with(|c| c["process"]["user"]["umask"] = json!(0o7027));
    assert_eq!(bundle.run().ok(), "0027\n");
}

/// A time-out beyond what a clock can count is no reason to crash, nor one that is over at once.
#[test]
fn a_hook_may_have_all_the_time_there_is() {
    need_host!();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"], "timeout": i64::MAX}]);
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["hooks"] = json!({"createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststart": hook, "poststop": hook});
    });
    assert_eq!(bundle.run().ok(), "");
}

/// The number of descriptors to pass on is added to the three standard ones.
#[test]
fn more_descriptors_than_there_are_numbers() {
    need_host!();
    for count in ["4294967295", "4294967293", "4294967292"] {
        let done = Bundle::new(&["true"]).run_with(&["--preserve-fds", count]);
        assert_eq!(done.code, 1, "{count}: {done:?}");
        assert!(done.err.contains("preserved-fd 3"), "{count}: {done:?}");
    }
}

/// Unlimited is a number of its own, and nothing else becomes it.
#[test]
fn resource_limits_are_what_they_say() {
    need_host!();
    let bundle = Bundle::shell("grep -E 'core|cpu time' /proc/self/limits | tr -s ' '").with(|c| {
        c["process"]["rlimits"] = json!([
            {"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX},
            {"type": "RLIMIT_CPU", "soft": 4294967295_u64, "hard": 4294967296_u64},
        ]);
    });
    let done = bundle.run();
    if done.code != 0 {
        // Raising a hard limit takes CAP_SYS_RESOURCE.
        done.fails(1, "/process/rlimits/0: set RLIMIT_CORE to unlimited: operation not permitted");
        return;
    }
    assert_eq!(
        done.out, "Max cpu time 4294967295 4294967296 seconds \nMax core file size unlimited unlimited bytes \n",
        "{done:?}"
    );
}

/// Only the specification's names grant a capability; an engine's filter may not know other
/// spellings for one.
#[test]
fn other_spellings_grant_no_capability() {
    need_host!();
    for name in ["NET_ADMIN", "kill", "cap_kill", "Cap_Kill", "CAP_NOSUCH"] {
        let sets = json!({"bounding": [name], "effective": [name], "permitted": [name]});
        let bundle = Bundle::shell("grep CapEff /proc/self/status").with(|c| c["process"]["capabilities"] = sets);
        let done = bundle.run();
        assert_eq!(done.ok(), "CapEff:\t0000000000000000\n", "{name}");
        assert!(done.err.contains(name), "{name}: no warning names it: {done:?}");
    }
    // Without the field there are none, and that is said.
    let bare = Bundle::shell("grep CapEff /proc/self/status").with(|c| {
        c["process"].as_object_mut().unwrap().remove("capabilities");
    });
    let done = bare.run();
    assert_eq!(done.ok(), "CapEff:\t0000000000000000\n");
    assert!(done.err.contains("/process/capabilities: is missing"), "{done:?}");
}

/// null is the zero value wherever a value may stand, as Go reads it.
#[test]
fn null_is_nothing() {
    need_host!();
    let bundle = Bundle::shell("echo ran").with(|c| {
        c["annotations"] = json!({"a": null});
        c["process"]["user"] = json!({"uid": null, "gid": 0, "additionalGids": null});
        c["process"]["rlimits"] = json!(null);
        c["linux"]["sysctl"] = json!(null);
        c["linux"]["resources"] = json!({"unified": null, "memory": null, "devices": null, "hugepageLimits": null});
    });
    assert_eq!(bundle.run().ok(), "ran\n");
}
