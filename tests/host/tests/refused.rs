//! System calls that a seccomp profile around the runtime refuses, because it is older than they
//! are: docker-in-docker below an old engine, or a sandbox that lacks them. Each has another way
//! that comes to the same, or ends in an error that names it.

use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, Done, done, need, need_host, on_cgroup2, rt};
use serde_json::json;

/// `rt run` with `call` failing with `errno` wherever it is made, in rt, in init, and in the
/// program.
fn refusing(bundle: &Bundle, call: &str, errno: &str, unified: bool) -> Done {
    bundle.write();
    let container = Container::new();
    let traced = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:error={errno}"), "--"];
    let mut command = if unified {
        let mut command = on_cgroup2();
        command.arg("strace");
        command
    } else {
        Command::new("strace")
    };
    command.args(traced).arg(rt()).arg("--root").arg(container.root());
    command.args(["run", "--bundle"]).arg(bundle.path()).arg(&container.id);
    done(command)
}

/// What the program sees must not depend on how it came to be.
const LOOK: &str = "cat /proc/self/comm; id -u; ls /proc/self/fd | wc -l; [ -e /sys/fs/cgroup/cgroup.kill ] && echo own || echo other; \
                    ls -d /proc/acpi/* /sys/firmware/* 2>/dev/null | wc -l; grep -c ' /dev/shm ' /proc/self/mountinfo; \
                    grep -E ' /(sys|proc|dev/mqueue) ' /proc/self/mountinfo | cut -d' ' -f6 | sort; cat /proc/keys 2>/dev/null | wc -c";

#[test]
fn what_can_be_done_another_way_is() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let bundle = Bundle::shell(LOOK).with(|c| {
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}]});
    });
    let usual = bundle.run();
    let usual: Vec<String> = usual.ok().lines().map(str::to_owned).collect();
    for call in ["clone3", "close_range", "memfd_create", "fsopen"] {
        for errno in ["ENOSYS", "EPERM"] {
            for unified in [false, true] {
                // A walk over all numbers is slow under strace: once is enough.
                if call == "close_range" && (errno, unified) != ("EPERM", false) {
                    continue;
                }
                let got = refusing(&bundle, call, errno, unified);
                let mut ours: Vec<String> = got.ok().lines().map(str::to_owned).collect();
                if unified {
                    assert_eq!(ours[3], "own", "{call}, {errno}: the root of a hierarchy has no such file");
                }
                // On cgroup v1 there is no such file at all.
                ours[3].clone_from(&usual[3]);
                assert_eq!(ours, usual, "{call}, {errno}, {unified}");
            }
        }
    }
    // Without a session keyring of its own a container has that of the caller, as with
    // --no-new-keyring; that is said.
    let done = refusing(&bundle, "keyctl", "EPERM", false);
    done.ok();
    assert!(
        done.err.contains("join a new session keyring: operation not permitted; the container goes without"),
        "{done:?}"
    );
    refusing(&bundle, "keyctl", "ENOSYS", false).ok();
}

/// Paths in the rootfs are resolved by the kernel or not at all; without the other two nothing
/// could be mounted by descriptor.
#[test]
fn what_cannot_be_done_another_way_is_named() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let bundle = Bundle::new(&["true"]);
    for call in ["openat2", "open_tree", "move_mount"] {
        for (errno, text) in [("ENOSYS", "function not implemented"), ("EPERM", "operation not permitted")] {
            let done = refusing(&bundle, call, errno, false);
            done.fails(1, &format!("{call} is refused by a seccomp profile around this runtime: {text}"));
        }
    }
}

/// The limits of a container are those of its cgroup, however its first process came into it.
#[test]
fn limits_hold_without_clone3() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let bundle = Bundle::shell("for i in 1 2 3 4 5 6 7 8; do sleep 2 & done; wait; true").with(|c| {
        c["linux"]["resources"]["pids"] = json!({"limit": 4});
    });
    let done = refusing(&bundle, "clone3", "ENOSYS", false);
    assert!(done.err.contains("can't fork"), "{done:?}");
}
