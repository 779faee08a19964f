//! exec: the same container, the same limits, the same filter (docs/contracts.md, part 4).

use std::fs;

use rt_tests::{Bundle, MACHINE_OF_32_BITS, need_host};
use serde_json::json;

/// Exit codes are the program's; rt's own failures are 255, so that conmon and CRI-O can tell them
/// apart.
#[test]
fn exit_codes() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    assert_eq!(c.exec(&["sh", "-c", "exit 3"]).code, 3);
    assert_eq!(c.exec(&["sh", "-c", "kill -9 $$"]).code, 137);
    c.exec(&["nosuch"]).fails(255, "exec: \"nosuch\": executable file not found in $PATH");
    c.exec(&["/nosuch"]).fails(255, "exec: \"/nosuch\": stat /nosuch: no such file or directory");
    c.exec(&["/etc"]).fails(255, "exec: \"/etc\": is a directory");
    c.exec(&["/etc/passwd"]).fails(255, "exec: \"/etc/passwd\": permission denied");
}

/// What exec takes from the container's process, and what the options change.
#[test]
fn what_an_executed_process_inherits() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7], "umask": 0o77});
        c["process"]["cwd"] = "/tmp".into();
        c["process"]["env"].as_array_mut().unwrap().push("MARK=1".into());
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
        c["process"]["oomScoreAdj"] = 500.into();
    });
    let c = bundle.start();
    let seen =
        c.exec(&["sh", "-c", "id -u; id -G; pwd; echo $MARK $HOME; ulimit -n; umask; cat /proc/self/oom_score_adj"]);
    assert_eq!(seen.ok(), "1000\n1000 7\n/tmp\n1 /home/user\n100\n0077\n500\n");
    let options = ["--user", "5:6", "--cwd", "/etc", "--env", "X=y", "-e", "MARK=2", "-g", "8"];
    let seen = c.exec_with(&options, &["sh", "-c", "id -u; id -g; id -G; pwd; echo $X $MARK"]);
    assert_eq!(seen.ok(), "5\n6\n6 7 8\n/etc\ny 2\n");
    for bad in ["1x", "", "1000:", "-1", "4294967295"] {
        c.exec_with(&["--user", bad], &["id"]).fails(255, "--user");
    }
}

/// Added capabilities never become inheritable (CVE-2022-29162 and its kin).
#[test]
fn added_capabilities_are_not_inheritable() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let status = c.exec_with(&["--cap", "CAP_SYS_CHROOT"], &["grep", "Cap", "/proc/self/status"]);
    let status = status.ok();
    assert!(status.contains("CapInh:\t0000000000000000"), "{status}");
    assert!(status.contains("CapAmb:\t0000000000000000"), "{status}");
    assert!(status.contains("CapEff:\t0000000020040420"), "{status}");
}

/// The process is in all namespaces and every cgroup of the container.
#[test]
fn namespaces_and_cgroups_are_the_containers() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
    let own = c.exec(&["sh", "-c", script]);
    let init = c.exec(&["sh", "-c", &script.replace("self", "1")]);
    assert_eq!(own.ok(), init.ok());
    let inside = own.out.lines().filter(|l| l.contains(':') && !l.contains('[')).all(|l| l.ends_with(":/"));
    assert!(inside, "its root is the container's cgroup: {}", own.out);
}

/// An exec'd process is filtered exactly like init.
#[test]
fn the_seccomp_filter_is_applied() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]});
    });
    for nnp in [true, false] {
        let mut bundle = Bundle::new(&["sleep", "1000"]).with(|c| *c = bundle.config.clone());
        bundle.config["process"]["noNewPrivileges"] = nnp.into();
        let c = bundle.start();
        assert_eq!(c.exec(&["grep", "Seccomp:", "/proc/self/status"]).ok(), "Seccomp:\t2\n", "no_new_privs {nnp}");
        let refused = c.exec(&["mkdir", "/tmp/x"]);
        assert!(refused.err.contains("File descriptor in bad state"), "errno 77 was asked for: {refused:?}");
        let options = ["--user", "1000:1000"];
        assert_eq!(c.exec_with(&options, &["grep", "Seccomp:", "/proc/self/status"]).ok(), "Seccomp:\t2\n");
    }
}

/// containerd's way: the whole process from a file, detached, with a pid file.
#[test]
fn a_process_from_a_file() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let file = c.root().join("process.json");
    let process = json!({"args": ["sh", "-c", "sleep 1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 3, "gid": 4},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}});
    fs::write(&file, process.to_string()).unwrap();
    let pid_file = c.root().join("pid");
    let (file, pid_path) = (file.to_str().unwrap(), pid_file.to_str().unwrap());
    c.rt(&["exec", "--process", file, "--detach", "--pid-file", pid_path, &c.id]).ok();
    let pid = fs::read_to_string(&pid_file).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t3\t3\t3\t3"), "{status}");
    assert!(status.contains("CapBnd:\t0000000000000020"), "{status}");
    // conmon takes a missing pid file as the failure.
    let missing = c.root().join("none");
    c.rt(&["exec", "-d", "--pid-file", missing.to_str().unwrap(), &c.id, "nosuch"])
        .fails(255, "executable file not found");
    assert!(!missing.exists());
}

/// exec works in a created container, as with runc.
#[test]
fn exec_before_start() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).create();
    assert_eq!(c.exec(&["echo", "hi"]).ok(), "hi\n");
}

/// Fifty at once all end as they should, while the container lives.
#[test]
fn fifty_at_once() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    std::thread::scope(|s| {
        let all: Vec<_> = (0..50)
            .map(|n| {
                (
                    n,
                    s.spawn({
                        let c = &c;
                        move || c.exec(&["sh", "-c", &format!("exit {n}")]).code
                    }),
                )
            })
            .collect();
        for (n, one) in all {
            assert_eq!(one.join().unwrap(), n);
        }
    });
    assert_eq!(c.status(), "running");
}

/// What belongs to every process of a container and not to a namespace: an executed process has it,
/// too, with the process of the config as with one of its own (the table in docs/spec-coverage.md).
#[test]
fn an_executed_process_lives_in_the_same_surroundings() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["linux"]["personality"] = json!({"domain": "LINUX32"});
        c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
        c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 4});
        c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
        c["process"]["user"]["umask"] = json!(0o27);
        c["process"]["oomScoreAdj"] = json!(300);
        c["process"]["execCPUAffinity"] = json!({"final": "0"});
    });
    let c = bundle.start();
    let script = "uname -m; cut -d' ' -f3 /proc/self/numa_maps | head -1; head -1 /proc/self/numa_maps | cut -d' ' -f2; \
                  cut -d' ' -f19,41 /proc/self/stat; ionice; umask; cat /proc/self/oom_score_adj; \
                  grep Cpus_allowed_list /proc/self/status | cut -f2";
    let file = c.root().join("process.json");
    let process = json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(&file, process.to_string()).unwrap();
    let own = c.rt(&["exec", "--process", file.to_str().unwrap(), &c.id]);
    let of_the_config = c.exec(&["sh", "-c", script]);
    let lines: Vec<&str> = own.ok().lines().collect();
    assert_eq!((lines[0], &lines[3..]), (MACHINE_OF_32_BITS, &["4 3", "idle", "0027", "300", "0"][..]), "{own:?}");
    assert!(lines[2].starts_with("bind"), "{own:?}");
    assert_eq!(own.out.lines().skip(2).collect::<Vec<_>>(), of_the_config.ok().lines().skip(2).collect::<Vec<_>>());
}

/// A cgroup below the container's that is none is the option's fault, not that of a limit.
#[test]
fn a_wrong_cgroup_is_named() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    for (path, text) in [
        ("../x", "--cgroup \"../x\": bad sub cgroup path: "),
        ("nosuch", "--cgroup \"nosuch\": bad sub cgroup path: "),
        ("nosuch:x", "--cgroup \"nosuch:x\": bad sub cgroup path: "),
    ] {
        c.exec_with(&["--cgroup", path], &["true"]).fails(255, text);
    }
}
