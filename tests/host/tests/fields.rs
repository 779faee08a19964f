//! Fields of `process` and `linux` that need more than one line to be seen inside the container.

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rt_tests::{Bundle, Container, need, need_host};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

/// Runs `script` with a changed config and compares what it printed.
#[track_caller]
fn shows(script: &str, change: impl FnOnce(&mut Value), expected: &str) {
    let done = Bundle::shell(script).with(change).run();
    assert_eq!(done.ok(), expected, "{script}");
}

/// The terminal's master, as an engine receives it.
fn master(listener: &UnixListener) -> OwnedFd {
    let (socket, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::empty()).unwrap();
    let fds =
        control.drain().find_map(|m| if let RecvAncillaryMessage::ScmRights(mut fds) = m { fds.next() } else { None });
    fds.expect("a descriptor of the terminal")
}

/// The program has a controlling terminal of the container's own devpts, with the size that the
/// config says, which is /dev/console, too; what is typed at the master reaches it.
#[test]
fn terminal_and_console_size() {
    need_host!();
    let script =
        "read word; echo \"[$word]\"; stty size; tty; echo console > /dev/console; cut -d' ' -f7 /proc/$$/stat";
    let bundle = Bundle::shell(script).with(|c| {
        c["process"]["terminal"] = true.into();
        c["process"]["consoleSize"] = json!({"height": 33, "width": 99});
    });
    let socket = bundle.path().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let container = Container::new();
    bundle.try_create(&container, &["--console-socket", socket.to_str().unwrap()]).ok();
    let mut master = fs::File::from(master(&listener));
    container.rt(&["start", &container.id]).ok();
    master.write_all(b"typed\n").unwrap();
    let mut text = String::new();
    let mut space = [0; 512];
    // EIO is the end: nobody has the other side open any more.
    while let Ok(n @ 1..) = master.read(&mut space) {
        text.push_str(&String::from_utf8_lossy(&space[..n]));
    }
    assert_eq!(text, "typed\r\n[typed]\r\n33 99\r\n/dev/pts/0\r\nconsole\r\n34816\r\n");
    container.await_status("stopped");
}

/// Every policy, with what belongs to it: the numbers are those of /proc/PID/stat (proc(5), fields
/// 19, 40 and 41).
#[test]
fn every_scheduling_policy() {
    need_host!();
    let policy = "cut -d' ' -f41 /proc/$$/stat";
    for (name, number) in [("SCHED_OTHER", "0"), ("SCHED_BATCH", "3"), ("SCHED_IDLE", "5"), ("SCHED_ISO", "")] {
        let bundle = Bundle::shell(policy).with(|c| c["process"]["scheduler"] = json!({"policy": name}));
        if number.is_empty() {
            // Named in the specification, in no kernel.
            assert!(bundle.run().err.contains("/process/scheduler"), "{name}");
        } else {
            assert_eq!(bundle.run().ok(), format!("{number}\n"), "{name}");
        }
    }
    // Where real-time tasks have shares of the processor (cgroup v1), a group starts without any.
    let share = |c: &mut Value| {
        if fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap() {
            c["linux"]["resources"] = json!({"cpu": {"realtimeRuntime": 10_000}});
        }
    };
    let numbers = "cut -d' ' -f40,41 /proc/$$/stat; cut -d' ' -f40,41 /proc/self/stat; true";
    for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let set = json!({"policy": name, "priority": 7});
        let change = |c: &mut Value| {
            share(c);
            c["process"]["scheduler"] = set;
        };
        shows(numbers, change, &format!("7 {number}\n7 {number}\n"));
        let set = json!({"policy": name, "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        let change = |c: &mut Value| {
            share(c);
            c["process"]["scheduler"] = set;
        };
        shows(numbers, change, &format!("7 {number}\n0 0\n"));
    }
    // A deadline task must not fork without the flag, so the program itself is what looks.
    let deadline =
        json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000});
    let stat = Bundle::new(&["cut", "-d ", "-f41", "/proc/self/stat"]).with(|c| c["process"]["scheduler"] = deadline);
    assert_eq!(stat.run().ok(), "6\n");
    // An exec'd process inherits it like everything else of the container's process.
    let c = Bundle::new(&["sleep", "1000"])
        .with(|c| c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 3}))
        .start();
    assert_eq!(c.exec(&["cut", "-d ", "-f19,41", "/proc/self/stat"]).ok(), "3 3\n");
}

#[test]
fn io_priorities() {
    need_host!();
    for (class, priority, seen) in [
        ("IOPRIO_CLASS_RT", 2, "realtime: prio 2\n"),
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n"),
    ] {
        shows("ionice -p $$", |c| c["process"]["ioPriority"] = json!({"class": class, "priority": priority}), seen);
    }
}

/// execCPUAffinity is about exec: `final` holds for the program, `initial` for what happens before
/// it.
#[test]
fn cpu_affinity_of_executed_processes() {
    need_host!();
    let cpus = fs::read_to_string("/proc/self/status").unwrap();
    need!(cpus.contains("Cpus_allowed_list:\t0-"), "needs two CPUs");
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    for (set, seen) in
        [(json!({"initial": "0,1", "final": "1"}), "1"), (json!({"initial": "0"}), "0"), (json!({"final": "0-0"}), "0")]
    {
        let c = Bundle::new(&["sleep", "1000"]).with(|c| c["process"]["execCPUAffinity"] = set.clone()).start();
        assert_eq!(c.exec(&allowed).ok(), format!("Cpus_allowed_list:\t{seen}\n"), "{set}");
        let own = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        assert!(!own.contains(&format!("Cpus_allowed_list:\t{seen}\n")), "init is not meant: {own}");
    }
}

/// The policy of the memory that the program gets, as the kernel names it (numa_maps in proc(5)).
#[test]
fn memory_policies() {
    need_host!();
    // The name only: that of the many is written "prefer (many)".
    let maps = "cut -d' ' -f2 /proc/self/numa_maps | sort -u";
    need!(fs::exists("/proc/self/numa_maps").unwrap(), "this kernel has no NUMA");
    for (policy, seen) in [
        (json!({"mode": "MPOL_DEFAULT"}), "default\n"),
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0\n"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "bind=static:0\n"),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "interleave=relative:0\n",
        ),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0\n"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer\n"),
        (json!({"mode": "MPOL_LOCAL"}), "local\n"),
    ] {
        let done = Bundle::shell(maps).with(|c| c["linux"]["memoryPolicy"] = policy.clone()).run();
        assert_eq!(done.ok(), seen, "{policy}");
    }
}

/// Both clocks, and a namespace that another container made.
#[test]
fn time_namespaces() {
    need_host!();
    need!(fs::exists("/proc/self/ns/time").unwrap(), "this kernel has no time namespaces");
    let offsets = |c: &mut Value| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        c["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1000, "nanosecs": 5}, "monotonic": {"secs": -7, "nanosecs": 9}});
    };
    let first = Bundle::new(&["sleep", "1000"]).with(offsets).start();
    let seen = "monotonic -7 9\nboottime 1000 5\n";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(first.exec(&["cat", "/proc/self/timens_offsets"]).ok()), words(seen));
    let pid = first.pid();
    let joined = Bundle::shell("cat /proc/self/timens_offsets; readlink /proc/self/ns/time").with(|c| {
        let path = format!("/proc/{pid}/ns/time");
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time", "path": path}));
    });
    let link = fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
    assert_eq!(words(joined.run().ok()), format!("{} {}", words(seen), link.display()));
    assert_ne!(link, fs::read_link("/proc/self/ns/time").unwrap());
}

/// All kinds of nodes; one that cannot be made in a user namespace is the host's, bound.
#[test]
fn kinds_of_devices() {
    need_host!();
    let script = "stat -c '%F %t:%T %a %u:%g' /dev/b /dev/c /dev/u /dev/p /dev/deep/er";
    let devices = json!([
        {"path": "/dev/b", "type": "b", "major": 7, "minor": 0, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/c", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/u", "type": "u", "major": 1, "minor": 5, "fileMode": 0o600},
        {"path": "/dev/p", "type": "p", "fileMode": 0o622, "uid": 7},
        {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 3, "gid": 9}
    ]);
    shows(
        script,
        |c| c["linux"]["devices"] = devices,
        "block special file 7:0 640 5:6\ncharacter special file 1:3 666 0:0\ncharacter special file 1:5 600 0:0\nfifo 0:0 622 7:0\ncharacter special file 1:3 666 0:9\n",
    );
    let bound = json!([{"path": "/dev/full", "type": "c", "major": 1, "minor": 7}]);
    let bundle =
        Bundle::shell("cat /dev/full | head -c 3 | wc -c; grep -c ' /dev/full ' /proc/self/mountinfo").with(|c| {
            c["linux"]["devices"] = bound;
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        });
    for dir in [bundle.path().to_owned(), bundle.rootfs()] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(bundle.run().ok(), "3\n1\n");
}

/// The parameters of each namespace's own, in the spellings of sysctl(8).
#[test]
fn parameters_of_each_namespace() {
    need_host!();
    shows(
        "cd /proc/sys; cat kernel/shmmni fs/mqueue/msg_max net/ipv4/conf/lo/forwarding kernel/domainname",
        |c| {
            c["linux"]["sysctl"] = json!({"kernel.shmmni": "77", "fs.mqueue.msg_max": "12", "net/ipv4/conf/lo/forwarding": "1", "kernel.domainname": "d"});
        },
        "77\n12\n1\nd\n",
    );
}

/// What the state says: the version it complies with itself, the annotations of the config, and
/// where it is.
#[test]
fn version_annotations_and_root() {
    need_host!();
    let container = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["ociVersion"] = "1.0.2".into();
        c["annotations"] = json!({"org.example.key": "value"});
    });
    let rootfs = container.rootfs();
    let absolute = container.with(|c| c["root"]["path"] = rootfs.display().to_string().into());
    let state = absolute.create().state();
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["rootfs"], rootfs.display().to_string());
}

/// Podman's keep-groups: the groups of whoever called stay, those of the config are ignored.
#[test]
fn original_groups_are_kept_by_annotation() {
    need_host!();
    for (value, seen) in [("1", "0 4711\n"), ("0", "0\n")] {
        let bundle = Bundle::shell("id -G").with(|c| c["annotations"] = json!({"run.oci.keep_original_groups": value}));
        bundle.write();
        let container = Container::new();
        let mut command = std::process::Command::new("setpriv");
        command.args(["--groups", "0,4711"]).arg(rt_tests::rt()).arg("--root").arg(container.root());
        command.args(["run", "--bundle"]).arg(bundle.path()).arg(&container.id);
        assert_eq!(rt_tests::done(command).ok(), seen, "{value}");
    }
}

/// Labels of a module that this host does not run are an error that names the field, as with runc;
/// rt check says why.
#[test]
fn labels_without_their_module() {
    need_host!();
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    for (field, value, module) in
        [("selinuxLabel", "system_u:system_r:container_t:s0", "selinux"), ("apparmorProfile", "nosuch", "apparmor")]
    {
        need!(!modules.split(',').any(|m| m.trim() == module), "{module} is active here");
        let bundle = Bundle::new(&["true"]).with(|c| c["process"][field] = value.into());
        let done = bundle.run();
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains(&format!("/process/{field}: ")), "{done:?}");
        let checked = Container::new().rt(&["check", bundle.path().to_str().unwrap()]);
        assert!(checked.out.contains(&format!("/process/{field}: {module} is not active")), "{checked:?}");
    }
}

/// A hook gets its own arguments and environment, and is killed after its timeout.
#[test]
fn arguments_environment_and_timeout_of_hooks() {
    need_host!();
    let seen = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo \"$0 $1 $VAR $(env | grep -c PATH)\" > {}", seen.path().display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["VAR=x"], "timeout": 10});
    Bundle::new(&["true"]).with(|c| c["hooks"] = json!({"createRuntime": [hook]})).run().ok();
    assert!(fs::read_to_string(seen.path()).unwrap().starts_with("zero one x "));
}

/// The container has a session keyring of its own, which exec'd processes join; with
/// --no-new-keyring it has the caller's.
#[test]
fn session_keyrings() {
    need_host!();
    need!(fs::exists("/proc/keys").unwrap(), "this kernel has no keyrings");
    let unmasked = |c: &mut Value| c["linux"]["maskedPaths"] = json!([]);
    let c = Bundle::new(&["sleep", "1000"]).with(unmasked).start();
    let name = format!("_ses.{}", c.id);
    let keys = c.exec(&["cat", "/proc/keys"]);
    let line = keys.ok().lines().find(|l| l.contains(&name)).unwrap_or_else(|| panic!("{name}: {keys:?}")).to_owned();
    // Its owner may search it: a process that joins it by its number finds what is in it.
    assert_eq!(line.split_whitespace().nth(4), Some("3f1b0000"), "{line}");
    let without = Container::new();
    let bundle = Bundle::new(&["cat", "/proc/keys"]).with(unmasked);
    bundle.write();
    let path = bundle.path().to_str().unwrap();
    let done = without.rt(&["run", "--no-new-keyring", "--bundle", path, &without.id]);
    assert!(!done.ok().contains(&format!("_ses.{}", without.id)), "{done:?}");
}

/// exec passes on what it is asked to, from 3 on, and nothing else.
#[test]
fn descriptors_of_executed_processes() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "through\n").unwrap();
    let exec = |count: u32, redirect: &str| {
        let script = format!(
            "exec {} --root {} exec --preserve-fds {count} {} sh -c 'cat <&3; ls -l /proc/self/fd | grep -c null' {redirect}",
            rt_tests::rt().display(),
            c.root().display(),
            c.id
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]);
        rt_tests::done(shell)
    };
    let input = file.path().display();
    // Standard input is the null device, too.
    assert_eq!(exec(1, &format!("3<{input} 4</dev/null 7</dev/null")).out, "through\n1\n");
    let missing = exec(2, &format!("3<{input}"));
    assert!(missing.err.contains("unable to stat preserved-fd 4"), "{missing:?}");
}
