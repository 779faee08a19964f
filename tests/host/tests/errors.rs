//! Bad input: one error that names the field, runc's exit code, nothing left behind.

use std::fs;
use std::path::Path;

use rt_tests::{Bundle, Container, need, need_host};
use serde_json::{Value, json};

/// Every row: what is wrong, the change, and what the one line must say.
type Case = (&'static str, fn(&mut Value), &'static str);

const CASES: &[Case] = &[
    (
        "program not found",
        |c| c["process"]["args"] = json!(["nosuch"]),
        "exec: \"nosuch\": executable file not found in $PATH",
    ),
    ("program is a directory", |c| c["process"]["args"] = json!(["/etc"]), "exec: \"/etc\": is a directory"),
    ("no program", |c| c["process"]["args"] = json!([]), "/process/args: must not be empty"),
    (
        "wrong type",
        |c| c["process"]["args"] = json!([5]),
        "/process/args/0: invalid type: integer `5`, expected a string",
    ),
    ("relative cwd", |c| c["process"]["cwd"] = json!("x"), "/process/cwd: \"x\" must be an absolute path"),
    ("no rootfs", |c| c["root"]["path"] = json!("nothing"), "/root/path: rootfs"),
    ("no root", |c| drop(c.as_object_mut().unwrap().remove("root")), "/root/path: must be set"),
    (
        "unknown namespace",
        |c| c["linux"]["namespaces"][0]["type"] = json!("bogus"),
        "/linux/namespaces/0/type: unknown value \"bogus\"",
    ),
    ("namespace twice", |c| c["linux"]["namespaces"][0]["type"] = json!("mount"), "appears twice"),
    (
        "namespace path absent",
        |c| c["linux"]["namespaces"][1]["path"] = json!("/proc/nothing/ns/net"),
        "/linux/namespaces/1: open namespace \"/proc/nothing/ns/net\": no such file or directory",
    ),
    (
        "bind source absent",
        |c| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/m", "type": "bind", "source": "/no/such", "options": ["bind"]}))
        },
        "/mounts/7: bind mount of \"/no/such\" on \"/m\": open the source: no such file or directory",
    ),
    (
        "directory on a file",
        |c| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/bin/busybox", "type": "bind", "source": "/etc", "options": ["bind"]}))
        },
        "not a directory",
    ),
    (
        "file on a directory",
        |c| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/bin", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}))
        },
        "/mounts/7: bind mount of \"/etc/passwd\" on \"/bin\": attach the mount: not a directory",
    ),
    (
        "limit above what any kernel gives",
        |c| {
            c["process"]["rlimits"][0] =
                json!({"type": "RLIMIT_NOFILE", "soft": 99999999999_u64, "hard": 99999999999_u64})
        },
        "/process/rlimits/0: set RLIMIT_NOFILE to 99999999999: operation not permitted",
    ),
    ("unknown mount option", |c| c["mounts"][0]["options"] = json!(["bogus"]), "Unknown parameter 'bogus'"),
    (
        "unknown filesystem",
        |c| c["mounts"][1]["type"] = json!("nofs"),
        "mount of nofs \"tmpfs\" on \"/dev\": filesystem type: no such device",
    ),
    ("bind without bind", |c| c["mounts"][0]["type"] = json!("bind"), "/mounts/0/type: \"bind\" needs"),
    (
        "rlimit unknown",
        |c| c["process"]["rlimits"][0]["type"] = json!("RLIMIT_X"),
        "/process/rlimits/0/type: unknown value",
    ),
    (
        "soft above hard",
        |c| c["process"]["rlimits"][0]["soft"] = json!(5000),
        "/process/rlimits/0: soft must not be above hard",
    ),
    (
        "host sysctl",
        |c| c["linux"]["sysctl"] = json!({"kernel.pid_max": "5"}),
        "\"kernel.pid_max\" is not in a separate kernel namespace",
    ),
    (
        "parameter that leads to the host's",
        |c| c["linux"]["sysctl"] = json!({"net/../kernel/printk_ratelimit": "5"}),
        "/linux/sysctl: \"net/../kernel/printk_ratelimit\" is no name of a kernel parameter",
    ),
    (
        "parameter of the runtime's own network",
        |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.iter_mut().find(|n| n["type"] == "network").unwrap()["path"] = "/proc/self/ns/net".into();
        },
        "/linux/sysctl: net.* would change the host: /linux/namespaces has its network namespace \"/proc/self/ns/net\"",
    ),
    (
        "hostname without uts",
        |c| c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "uts"),
        "/hostname: needs a uts namespace",
    ),
    (
        "an id map that is no range",
        |c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
            c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 4294967295_u32, "size": 1}]);
        },
        "/linux/uidMappings/0: \"0 4294967295 1\" is no range of ids",
    ),
    (
        "swap below memory",
        |c| c["linux"]["resources"] = json!({"memory": {"limit": 2097152, "swap": 1048576}}),
        "/linux/resources/memory",
    ),
    ("unified with a slash", |c| c["linux"]["resources"]["unified"] = json!({"../x": "1"}), "/linux/resources/unified"),
    (
        "seccomp action",
        |c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOPE"}),
        "/linux/seccomp/defaultAction",
    ),
    (
        "hook absent",
        |c| c["hooks"] = json!({"createRuntime": [{"path": "/no/hook"}]}),
        "/hooks/createRuntime/0: error running createRuntime hook #0: \"/no/hook\": no such file or directory",
    ),
    (
        "hook fails",
        |c| c["hooks"] = json!({"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 4"]}]}),
        "/hooks/prestart/0: error running prestart hook #0: \"/bin/sh\": exit status 4: why",
    ),
    (
        "container hook fails",
        |c| c["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo why; exit 4"]}]}),
        "/hooks/createContainer/0: error running createContainer hook #0: hook \"/bin/sh\": exit status 4 (why)",
    ),
    (
        "hook too slow",
        |c| c["hooks"] = json!({"prestart": [{"path": "/bin/sleep", "args": ["sleep", "20"], "timeout": 1}]}),
        "killed after its timeout of 1 s",
    ),
    (
        "working directory is a file",
        |c| c["process"]["cwd"] = json!("/etc/passwd"),
        "/process/cwd: directory \"/etc/passwd\": create the destination in the rootfs: not a directory",
    ),
    ("class of cache that is not there", |c| c["linux"]["intelRdt"] = json!({"closID": "rt-test"}), "/linux/intelRdt"),
];

/// One line, exit code 1, and no state directory, cgroup, mount or process.
#[test]
fn each_mistake_gives_one_error_that_names_it_and_leaves_nothing() {
    need_host!();
    for (name, change, text) in CASES {
        let bundle = Bundle::new(&["true"]).with(change);
        let c = Container::new();
        let done = bundle.try_create(&c, &[]);
        assert_eq!(done.code, 1, "{name}: {done:?}");
        assert!(done.err.starts_with("rt create failed: "), "{name}: {done:?}");
        assert!(done.err.contains(text), "{name}: {text:?} is not in {:?}", done.err);
        assert_eq!(done.err.lines().count(), 1, "{name}: {done:?}");
        assert!(c.leftovers().is_empty(), "{name}: {:?}", c.leftovers());
    }
}

/// Ten mistakes are ten pointers in one run, of `check` and of `create` alike, and nothing is made.
#[test]
fn all_mistakes_are_told_at_once() {
    need_host!();
    let mistakes: [(&str, Value); 10] = [
        ("/mounts/2/destination", Value::Null),
        ("/process/cwd", "x".into()),
        ("/process/rlimits/0/type", "RLIMIT_X".into()),
        ("/process/oomScoreAdj", 2000.into()),
        ("/process/user/uid", u32::MAX.into()),
        ("/linux/namespaces/0/type", "bogus".into()),
        ("/linux/devices/0/type", "z".into()),
        ("/linux/intelRdt/closID", "..".into()),
        ("/linux/seccomp/defaultAction", "SCMP_ACT_NOPE".into()),
        ("/hooks/prestart/0/path", "hook".into()),
    ];
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["process"]["oomScoreAdj"] = 0.into();
        c["hooks"] = json!({"prestart": [{"path": "/bin/true"}]});
        c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]);
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        c["linux"]["intelRdt"] = json!({"closID": "x"});
        for (pointer, value) in &mistakes {
            *c.pointer_mut(pointer).unwrap() = value.clone();
        }
    });
    let container = Container::new();
    let done = bundle.try_create(&container, &[]);
    let checked = container.rt(&["check", "--json", bundle.path().to_str().unwrap()]);
    assert_eq!((done.code, checked.code), (1, 1), "{done:?} {checked:?}");
    let report: Value = serde_json::from_str(&checked.out).unwrap();
    let of_the_config = |f: &&Value| f["kind"] == "config";
    let told =
        report["findings"].as_array().unwrap().iter().filter(of_the_config).map(|f| f["field"].as_str().unwrap());
    let told: Vec<&str> = told.collect();
    let expected = mistakes.clone().map(|(pointer, _)| pointer);
    assert_eq!(told, expected, "in the order of the specification");
    let places =
        expected.map(|pointer| done.err.find(&format!("{pointer}: ")).unwrap_or_else(|| panic!("{pointer}: {done:?}")));
    assert!(places.is_sorted(), "{done:?}");
    assert_eq!(done.err.trim_end().lines().count(), 1, "{done:?}");
    assert_eq!(fs::read_dir(container.root()).unwrap().count(), 0);
    assert!(container.leftovers().is_empty(), "{:?}", container.leftovers());
}

/// Files that are missing or no JSON.
#[test]
fn broken_bundles() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let c = Container::new();
    let path = bundle.path().to_str().unwrap();
    c.rt(&["create", "-b", "/no/bundle", &c.id]).fails(1, "open /no/bundle/config.json: no such file or directory");
    fs::write(bundle.path().join("config.json"), "{ \"process\": ").unwrap();
    c.rt(&["create", "-b", path, &c.id]).fails(1, "EOF while parsing");
    fs::write(bundle.path().join("config.json"), "{} x").unwrap();
    c.rt(&["create", "-b", path, &c.id]).fails(1, "config.json");
    assert!(c.leftovers().is_empty());
}

/// containerd decodes every line of the log, Podman the file as one object: one line is what both
/// can read.
#[test]
fn the_log_has_exactly_one_line_per_failure() {
    need_host!();
    let bundle = Bundle::new(&["nosuch"]).with(|c| {
        // A warning comes before the error, and must not become a line.
        c["process"]["capabilities"]["bounding"].as_array_mut().unwrap().push("CAP_FUTURE".into());
    });
    bundle.write();
    let c = Container::new();
    let log = c.root().join("log.json");
    let log_path = log.to_str().unwrap();
    let done =
        c.rt(&["--log", log_path, "--log-format", "json", "create", "-b", bundle.path().to_str().unwrap(), &c.id]);
    done.fails(1, "executable file not found in $PATH");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"].as_str().unwrap(), done.err.trim_end());
    assert_eq!(line["field"], "/process/args/0");
    assert_eq!(line["errno"], 2);
    assert!(line["hint"].as_str().is_some_and(|h| !h.is_empty()));
    let time = line["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T') && time.len() >= 20, "{time}");
    // The next failure is appended.
    c.rt(&["--log", log_path, "--log-format=json", "state", "nobody"]).fails(1, "does not exist");
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

/// Exit codes and words for wrong command lines are runc's.
#[test]
fn wrong_command_lines() {
    need_host!();
    let c = Container::new();
    assert_eq!(c.rt(&["bogus"]).code, 3);
    for wrong in [&["create"][..], &["state"], &["state", "a", "b"], &["run", "--bogus", "x"], &["kill", "x", "NOSIG"]]
    {
        let done = c.rt(wrong);
        assert_eq!(done.code, 1, "{wrong:?}: {done:?}");
        assert_eq!(done.err.lines().count(), 1, "{wrong:?}: {done:?}");
    }
    c.rt(&["--root", "/", "list"]).fails(1, "--root");
    // Podman asks by these two whether it can save containers, and whether it can restore them into
    // pods; containerd's shim writes options with one dash.
    c.rt(&["checkpoint", "--help"]).ok();
    c.rt(&["restore", "--lsm-mount-context"]).fails(1, "flag needs an argument: --lsm-mount-context");
    c.rt(&["restore", "-no-subreaper", "-image-path", "/no/such", "x"]).fails(1, "open ");
    let version = c.rt(&["--version"]);
    let mut lines = version.ok().lines();
    assert!(lines.next().unwrap().starts_with("rt version "));
    assert!(lines.next().unwrap().starts_with("commit: "));
    assert!(lines.next().unwrap().starts_with("spec: "));
}

/// CRI-O reads standard output and error together: one stray byte breaks its parse.
#[test]
fn features_is_json_and_nothing_else() {
    need_host!();
    let done = Container::new().rt(&["features"]);
    assert_eq!(done.err, "");
    let features: Value = serde_json::from_str(done.ok()).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&"rro".into()));
    for (feature, value) in [
        ("/linux/mountExtensions/idmap/enabled", true.into()),
        ("/linux/netDevices/enabled", true.into()),
        ("/linux/intelRdt", json!({"enabled": true, "schemata": true, "monitoring": true})),
        ("/linux/cgroup", json!({"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true})),
        ("/linux/namespaces", json!(["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"])),
    ] {
        assert_eq!(features.pointer(feature), Some(&value), "{feature}");
    }
}

/// `check` tells everything at once, of the config and of the host, needs no root, and creates
/// nothing.
#[test]
fn check_tells_all_and_plan_shows_the_ops() {
    need_host!();
    let bundle = Bundle::new(&["nosuch"]).mount("/m", "bind", "/no/such", &["bind"]).with(|c| {
        c["linux"]["namespaces"][0]["type"] = "bogus".into();
        c["process"]["cwd"] = "x".into();
        c["mounts"][0]["type"] = "nofs".into();
    });
    bundle.write();
    let c = Container::new();
    let path = bundle.path().to_str().unwrap();
    let done = c.rt(&["check", "--json", path]);
    assert_eq!(done.code, 1, "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    let fields: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    for field in ["/linux/namespaces/0/type", "/process/cwd", "/mounts/0/type", "/mounts/7/source", "/process/args/0"] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    assert_eq!(fs::read_dir(c.root()).unwrap().count(), 0);
    let good = Bundle::new(&["true"]);
    good.write();
    let path = good.path().to_str().unwrap();
    assert_eq!(c.rt(&["check", path]).code, 0);
    let plan: Value = serde_json::from_str(c.rt(&["plan", "--json", path]).ok()).unwrap();
    let ops: Vec<&str> = plan.as_array().unwrap().iter().map(|o| o["op"].as_str().unwrap()).collect();
    assert_eq!(ops.last(), Some(&"Exec"));
    assert!(ops.contains(&"PivotRoot"));
    assert_eq!(fs::read_dir(c.root()).unwrap().count(), 0);
}

/// What docs/debugging.md shows of a config that Docker made is what rt prints: every line, "…"
/// being what is left out.
#[test]
fn the_documented_plan_is_the_plan() {
    need_host!();
    need!(cfg!(target_arch = "x86_64"), "the document shows the filter of x86-64");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/debugging.md")).unwrap();
    let mut blocks = 0;
    for block in page.split("```").filter(|b| b.contains("fixtures/docker.json")) {
        blocks += 1;
        let mut lines = block.trim().lines();
        let words: Vec<&str> = lines.next().unwrap().trim_start_matches("$ rt ").split(' ').collect();
        let mut command = std::process::Command::new(rt_tests::rt());
        command.current_dir(&root).args(words);
        let printed = rt_tests::done(command).out;
        // The number shifts with what the host's cgroups take to mount.
        let step = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim().to_owned();
        let printed: Vec<String> = printed.lines().map(step).collect();
        let mut next = 0;
        for line in lines.map(step).filter(|l| l != "…") {
            let agrees = |printed: &String| {
                let mut rest = printed.as_str();
                line.split('…').all(|part| rest.find(part).map(|at| rest = &rest[at + part.len()..]).is_some())
            };
            let found = printed[next..].iter().position(agrees);
            next += 1 + found.unwrap_or_else(|| panic!("{line:?} is not after line {next} of {printed:#?}"));
        }
    }
    assert_eq!(blocks, 2);
}

/// The kernel says "no such file" of a script whose interpreter is missing and of a program whose
/// loader is, as if they were missing themselves. rt names the program and what it lacks, and
/// `check` says so before.
#[test]
fn a_program_that_cannot_be_executed_says_what_it_lacks() {
    need_host!();
    // The head of an ELF program of 64 bits with one program header, PT_INTERP, whose text is the
    // loader's path.
    let elf = |machine: u8, loader: &str| {
        let mut bytes = vec![0_u8; 0x78];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (bytes[16], bytes[18], bytes[20], bytes[32], bytes[52], bytes[54], bytes[56]) = (2, machine, 1, 64, 64, 56, 1);
        (bytes[64], bytes[72], bytes[96], bytes[104]) = (3, 0x78, loader.len() as u8 + 1, loader.len() as u8 + 1);
        bytes.extend_from_slice(loader.as_bytes());
        bytes.push(0);
        bytes
    };
    let own = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let cases: [(&str, Vec<u8>, &str, &str); 6] = [
        (
            "script",
            b"#!/bin/nosuch -x\necho\n".to_vec(),
            "the interpreter \"/bin/nosuch\" of /run-me does not exist in the container",
            "exec /run-me: no such file or directory",
        ),
        (
            "Windows line ends",
            b"#!/bin/sh\r\necho\r\n".to_vec(),
            "the first line ends in a carriage return: save the file with Unix line ends",
            "exec /run-me: no such file or directory",
        ),
        (
            "loader",
            elf(own, "/lib/ld-nosuch.so"),
            "the loader \"/lib/ld-nosuch.so\" of /run-me does not exist in the container",
            "exec /run-me: no such file or directory",
        ),
        (
            "other processor",
            elf(22, "/lib/ld.so"),
            "/run-me is a program for s390x, and this machine is",
            "exec /run-me: exec format error",
        ),
        (
            "text",
            b"echo hi\n".to_vec(),
            "/run-me is neither an ELF program nor a script",
            "exec /run-me: exec format error",
        ),
        ("nothing", Vec::new(), "/run-me is empty", "exec /run-me: exec format error"),
    ];
    let sleeper = Bundle::new(&["sleep", "1000"]);
    let c = sleeper.start();
    for (name, bytes, why, end) in &cases {
        let put = |rootfs: std::path::PathBuf| {
            use std::os::unix::fs::PermissionsExt;
            fs::write(rootfs.join("run-me"), bytes).unwrap();
            fs::set_permissions(rootfs.join("run-me"), fs::Permissions::from_mode(0o755)).unwrap();
        };
        let bundle = Bundle::new(&["/run-me"]);
        put(bundle.rootfs());
        let ran = bundle.run();
        ran.fails(1, why);
        assert!(ran.err.trim_end().ends_with(end), "{name}: {ran:?}");
        assert!(ran.err.starts_with("rt run failed: /process/args: "), "{name}: {ran:?}");
        let created = bundle.create();
        let started = created.rt(&["start", &created.id]);
        started.fails(1, why);
        put(sleeper.rootfs());
        c.exec(&["/run-me"]).fails(255, why);
        let checked = c.rt(&["check", bundle.path().to_str().unwrap()]);
        assert!(checked.code == 1 && checked.out.contains(why), "{name}: {checked:?}");
    }
}

/// Each of these led to another place, to none, or said it three times.
#[test]
fn errors_name_the_field_that_is_wrong() {
    need_host!();
    let once = |done: &rt_tests::Done, text: &str| {
        done.fails(1, text);
        assert_eq!(done.err.matches(text).count(), 1, "{done:?}");
    };
    let with = |change: fn(&mut Value)| Bundle::new(&["true"]).with(change).run();
    once(
        &with(|c| c["linux"]["rootfsPropagation"] = json!("bogus")),
        "/linux/rootfsPropagation: unknown value \"bogus\"",
    );
    once(
        &with(|c| {
            c["linux"]["namespaces"][2] = json!({"type": "ipc", "path": "/proc/self/ns/uts"});
        }),
        "/linux/namespaces/2/path: join the ipc namespace \"/proc/self/ns/uts\": invalid argument",
    );
    once(
        &with(|c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "no number"})),
        "/linux/sysctl/net.ipv4.ip_forward: write \"no number\" to /proc/sys/net/ipv4/ip_forward: write: invalid argument",
    );
    once(&with(|c| c["linux"]["cgroupsPath"] = json!("/")), "/linux/cgroupsPath: cgroups path \"/\": ");
    once(&with(|c| c["linux"]["cgroupsPath"] = json!("/cgroup.procs/x")), "/linux/cgroupsPath: ");
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        once(
            &with(|c| c["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0")),
            "/process/selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported",
        );
    }
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        once(
            &with(|c| c["process"]["apparmorProfile"] = json!("docker-default")),
            "/process/apparmorProfile: apparmor profile is specified in config, but apparmor is disabled or not supported",
        );
    }
    once(
        &with(|c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "900"})),
        "/linux/memoryPolicy: invalid memory policy: invalid argument",
    );
    once(
        &with(|c| {
            c["linux"]["resources"]["cpu"] = json!({"cpus": "0"});
            c["process"]["scheduler"] =
                json!({"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000, "period": 1000000});
        }),
        "process scheduler can't be used together with AllowedCPUs: operation not permitted",
    );
    // /proc and /sys of an image that are symlinks.
    let bundle = Bundle::new(&["true"]);
    fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("tmp", bundle.rootfs().join("proc")).unwrap();
    once(&bundle.run(), "filesystem \"proc\" must be mounted on ordinary directory");
    let c = Container::new();
    c.rt(&["state", &c.id]).fails(1, &format!("container does not exist: {}", c.id));
    let c = Bundle::new(&["true"]).create();
    Bundle::new(&["true"]).try_create(&c, &[]).fails(1, &format!("container with given ID already exists: {}", c.id));
}

/// What has no effect, or cannot have it, is a warning by name, and the container runs.
#[test]
fn warnings_name_what_has_no_effect() {
    need_host!();
    let ambient = Bundle::new(&["true"]).with(|c| {
        c["process"]["capabilities"]["ambient"] = json!(["CAP_KILL"]);
    });
    let done = ambient.run();
    done.ok();
    assert!(done.err.contains("/process/capabilities/ambient: cannot raise CAP_KILL"), "{done:?}");
    let maps = Bundle::new(&["true"]).with(|c| {
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    });
    let done = maps.run();
    done.ok();
    assert!(done.err.contains("/linux/uidMappings: has no effect without a user namespace"), "{done:?}");
    // runc, too, takes such a profile for none.
    let seccomp = Bundle::new(&["grep", "Seccomp:", "/proc/self/status"]).with(|c| c["linux"]["seccomp"] = json!({}));
    let done = seccomp.run();
    assert_eq!(done.ok(), "Seccomp:\t0\n");
    assert!(done.err.contains("/linux/seccomp: has neither defaultAction nor syscalls"), "{done:?}");
}

/// A log that cannot be written is an error before anything is done, and a pid file that cannot be
/// written before the program runs.
#[test]
fn files_that_cannot_be_written_are_errors_in_time() {
    need_host!();
    let bundle = Bundle::shell("touch /tmp/ran");
    bundle.write();
    let c = Container::new();
    let path = bundle.path().to_str().unwrap();
    c.rt(&["--log", "/nosuch/log", "run", "--bundle", path, &c.id])
        .fails(1, "open /nosuch/log: no such file or directory");
    let done = bundle.run_with(&["--pid-file", "/nosuch/pid"]);
    done.fails(1, "write the pid file /nosuch/pid: no such file or directory");
    assert!(!bundle.rootfs().join("tmp/ran").exists(), "the program has run");
    c.rt(&["list"]).ok();
    let mut listed = std::process::Command::new(rt_tests::rt());
    listed.args(["--root", "/nosuch/root", "list"]);
    rt_tests::done(listed).fails(1, "open /nosuch/root: no such file or directory");
}
