//! Filters in real containers: 32-bit programs, an agent that answers, and what `rt seccomp
//! explain` says.

use std::fs;
use std::process::Command;

use rt_tests::seccomp::{Agent, refuse_mkdir, small_32_bit_program};
use rt_tests::{Bundle, Container, need, need_host};
use serde_json::json;

/// A 32-bit program in a 64-bit container is under the same rules.
#[test]
fn a_32_bit_program_is_filtered() {
    need_host!();
    let bundle = Bundle::new(&["/bin/small"]).with(|c| {
        c["linux"]["seccomp"] = refuse_mkdir("SCMP_ACT_ERRNO");
        c["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = 77.into();
    });
    need!(small_32_bit_program(&bundle.rootfs().join("bin/small")), "this kernel runs no 32-bit programs");
    assert_eq!(bundle.run().code, 77);
}

/// NOTIFY: the agent gets the state and the descriptor, and its answer is the call's result.
#[test]
fn an_agent_answers() {
    need_host!();
    need!(Command::new("python3").arg("-V").output().is_ok(), "needs python3");
    for no_new_privileges in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::start(dir.path());
        let bundle = Bundle::shell("mkdir /tmp/x; echo $?").with(|c| {
            c["process"]["noNewPrivileges"] = no_new_privileges.into();
            c["linux"]["seccomp"] = refuse_mkdir("SCMP_ACT_NOTIFY");
            c["linux"]["seccomp"]["listenerPath"] = agent.path.to_str().unwrap().into();
            c["linux"]["seccomp"]["listenerMetadata"] = "meta".into();
            c["annotations"] = json!({"k": "v"});
        });
        let seen = bundle.run();
        assert_eq!(seen.out, "1\n", "{seen:?}");
        assert!(seen.err.contains("No medium found"), "errno 123 was the answer: {seen:?}");
        let state = &agent.messages()[0];
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "meta");
        assert!(state["pid"].as_i64().unwrap() > 1, "the pid as the agent sees it: {state}");
        assert_eq!(state["state"]["annotations"]["k"], "v");
    }
}

/// The same for a process of `exec`, whose filter is the one that `create` compiled.
#[test]
fn an_agent_answers_an_executed_process() {
    need_host!();
    need!(Command::new("python3").arg("-V").output().is_ok(), "needs python3");
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path());
    let c = Bundle::new(&["sleep", "1000"])
        .with(|c| {
            c["linux"]["seccomp"] = refuse_mkdir("SCMP_ACT_NOTIFY");
            c["linux"]["seccomp"]["listenerPath"] = agent.path.to_str().unwrap().into();
        })
        .start();
    let seen = c.exec(&["mkdir", "/tmp/y"]);
    assert!(seen.code == 1 && seen.err.contains("No medium found"), "errno 123 was the answer: {seen:?}");
}

/// A profile that lists what a program needs has execve and not execveat, as what strace shows is
/// execve.
#[test]
fn execve_is_all_that_a_profile_has_to_allow() {
    need_host!();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["execveat", "sendto", "sendmsg", "recvfrom", "close"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    });
    let done = bundle.run();
    assert_eq!(done.code, 0, "{done:?}");
}

/// A profile under which no program can start is an error of create that names it; init could tell
/// nobody, nor end.
#[test]
fn a_profile_without_execve() {
    need_host!();
    for (profile, why) in [
        (json!({"defaultAction": "SCMP_ACT_ERRNO"}), "execve gets SCMP_ACT_ERRNO(1), by default action"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"}]}),
            "execve gets SCMP_ACT_KILL_PROCESS, by rule /syscalls/0",
        ),
    ] {
        let bundle = Bundle::new(&["true"]).with(|c| c["linux"]["seccomp"] = profile.clone());
        let c = Container::new();
        bundle.try_create(&c, &[]).fails(1, &format!("/linux/seccomp: the program could not be executed: {why}"));
        assert!(c.leftovers().is_empty());
    }
}

/// Where a filter looks at execve's arguments, only the call itself tells; init still ends, though
/// it may not even exit.
#[test]
fn init_ends_where_it_may_not_exit() {
    need_host!();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["execve"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}]});
    });
    bundle.run().fails(1, "killed by signal 4");
}

/// An agent that is not there is told by its path, and nothing is left.
#[test]
fn a_missing_agent() {
    need_host!();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["linux"]["seccomp"] = refuse_mkdir("SCMP_ACT_NOTIFY");
        c["linux"]["seccomp"]["listenerPath"] = "/no/agent".into();
    });
    let c = Container::new();
    bundle.try_create(&c, &[]).fails(1, "failed to connect with seccomp agent /no/agent: no such file or directory");
    assert!(c.leftovers().is_empty());
}

/// What explain says is what happens.
#[test]
fn explain_agrees_with_the_kernel() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    fs::write(&file, refuse_mkdir("SCMP_ACT_ERRNO").to_string()).unwrap();
    let file = file.to_str().unwrap();
    let c = Container::new();
    let mkdir = c.rt(&["seccomp", "explain", file, "mkdirat"]);
    assert!(mkdir.ok().contains("SCMP_ACT_ERRNO(1)") && mkdir.out.contains("/syscalls/0"), "{mkdir:?}");
    assert!(c.rt(&["seccomp", "explain", file, "read", "1", "0x10"]).ok().contains("SCMP_ACT_ALLOW"));
    assert!(c.rt(&["seccomp", "explain", file]).ok().contains("instructions"));
    assert!(c.rt(&["seccomp", "explain", "--disassemble", file]).ok().lines().count() > 5);
    c.rt(&["seccomp", "explain", file, "nosuchcall"]).fails(1, "is no system call");
    c.rt(&["seccomp", "explain", "/no/file"]).fails(1, "no such file or directory");
    let seen = Bundle::new(&["mkdir", "/tmp/x"]).with(|c| c["linux"]["seccomp"] = refuse_mkdir("SCMP_ACT_ERRNO")).run();
    assert!(seen.err.contains("Operation not permitted"), "{seen:?}");
}
