//! Filters under `docker run --runtime=rt`: Docker's own profile, a user's, none, and one that asks
//! an agent.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::docker::Daemon;
use rt_tests::seccomp::{Agent, filters_of, refuse_mkdir, small_32_bit_program};
use rt_tests::{Bundle, Done, need, need_docker, need_host};
use serde_json::Value;

/// Needs no right but that of an ordinary user, so that only a filter can refuse it.
const NEW_USER_NAMESPACE: &[&str] = &["unshare", "-U", "true"];

/// The fields of /proc/PID/status that tell of filters.
const SECCOMP_STATUS: &[&str] = &["grep", "Seccomp", "/proc/self/status"];

/// Runs a program of the image with `options` of `docker run`.
fn run(d: &Daemon, options: &[&str], program: &[&str]) -> Done {
    d.run(&[&["--runtime", "rt"], options, &["bb"], program].concat())
}

/// Writes a profile, and gives the option that names it.
fn profile(dir: &Path, name: &str, profile: &Value) -> String {
    let path = dir.join(name);
    fs::write(&path, profile.to_string()).unwrap();
    format!("seccomp={}", path.display())
}

/// A container gets the profile that was asked for, and what `docker exec` adds to it gets the
/// same, byte for byte.
#[test]
fn init_and_exec_get_the_profile_that_was_asked_for() {
    need_host!();
    need_docker!();
    let bundle = Bundle::new(&["true"]);
    let runs_32_bit = small_32_bit_program(&bundle.rootfs().join("bin/small"));
    let d = Daemon::with_image(&bundle);
    let unconfined = ["--security-opt", "seccomp=unconfined"];

    // Docker's own profile.
    assert_eq!(run(&d, &[], SECCOMP_STATUS).ok(), "Seccomp:\t2\nSeccomp_filters:\t1\n");
    let refused = run(&d, &[], NEW_USER_NAMESPACE);
    assert!(refused.code == 1 && refused.err.contains("Operation not permitted"), "{refused:?}");

    // None. What the profile refused goes well, so it was the profile that refused it.
    assert_eq!(run(&d, &unconfined, SECCOMP_STATUS).ok(), "Seccomp:\t0\nSeccomp_filters:\t0\n");
    run(&d, &unconfined, NEW_USER_NAMESPACE).ok();

    // A user's profile, with the errno that it names: 28 is ENOSPC.
    let plain = profile(d.dir(), "plain.json", &refuse_mkdir("SCMP_ACT_ERRNO"));
    let mut custom = refuse_mkdir("SCMP_ACT_ERRNO");
    custom["syscalls"][0]["errnoRet"] = 28.into();
    let custom = profile(d.dir(), "custom.json", &custom);
    let plain = ["--security-opt", &plain];
    let custom = ["--security-opt", &custom];
    let mkdir = ["mkdir", "/tmp/x"];
    assert!(run(&d, &plain, &mkdir).err.contains("Operation not permitted"));
    assert!(run(&d, &custom, &mkdir).err.contains("No space left on device"));
    assert!(run(&d, &custom, NEW_USER_NAMESPACE).code == 0, "the profile allows all but mkdir");

    // A 32-bit program, under each.
    if runs_32_bit {
        assert_eq!(run(&d, &unconfined, &["small"]).code, 17, "EEXIST: the call was made");
        assert_eq!(run(&d, &[], &["small"]).code, 17, "Docker's profile allows mkdir to 32-bit programs");
        assert_eq!(run(&d, &plain, &["small"]).code, 1);
        assert_eq!(run(&d, &custom, &["small"]).code, 28);
    } else {
        eprintln!("skipped: this kernel runs no 32-bit programs");
    }

    // exec, by what it may do, by what the kernel says, and by the filter itself.
    for (name, options, exit) in [("default", &[][..], 0), ("custom", &custom, 1), ("unconfined", &unconfined, 0)] {
        d.docker(&[&["run", "-d", "--runtime", "rt", "--name", name], options, &["bb", "sleep", "1000"]].concat()).ok();
        let exec = |program: &[&str]| d.docker(&[&["exec", name], program].concat());
        assert_eq!(exec(SECCOMP_STATUS).ok(), run(&d, options, SECCOMP_STATUS).ok(), "{name}");
        assert_eq!(exec(NEW_USER_NAMESPACE).code, run(&d, options, NEW_USER_NAMESPACE).code, "{name}");
        assert_eq!(exec(&mkdir).code, exit, "{name}");
        if runs_32_bit {
            assert_eq!(exec(&["small"]).code, run(&d, options, &["small"]).code, "{name}");
        }
        if Command::new("python3").arg("-V").output().is_err() {
            eprintln!("skipped: comparing the filters themselves needs python3");
            continue;
        }
        let pid_of = |program: &str| {
            let list = d.docker(&["top", name, "-eo", "pid,args"]).ok().to_owned();
            let pid = list.lines().find_map(|line| line.trim().strip_suffix(program).map(|pid| pid.trim().to_owned()));
            pid.unwrap_or_else(|| panic!("no \"{program}\" in {list}"))
        };
        d.docker(&["exec", "-d", name, "sleep", "1001"]).ok();
        rt_tests::eventually("the second process", || d.docker(&["top", name]).ok().contains("sleep 1001"));
        let filters = filters_of(&pid_of("sleep 1000"));
        assert_eq!(filters.len(), usize::from(name != "unconfined"), "{name}");
        assert_eq!(filters_of(&pid_of("sleep 1001")), filters, "{name}");
    }
}

/// NOTIFY through Docker: the agent that the profile names answers, for the container's program and
/// for `docker exec`.
#[test]
fn an_agent_answers() {
    need_host!();
    need_docker!();
    need!(Command::new("python3").arg("-V").output().is_ok(), "needs python3");
    let d = Daemon::start();
    let version = d.docker(&["version", "-f", "{{.Server.Version}}"]).ok().trim().to_owned();
    let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    // The VM's is newer, and docker.sh does the same there.
    need!(major >= 23, "needs Docker 23.0, where a profile's listenerPath reaches the runtime; this is {version}");
    let agent = Agent::start(d.dir());
    let mut notify = refuse_mkdir("SCMP_ACT_NOTIFY");
    notify["listenerPath"] = agent.path.to_str().unwrap().into();
    let notify = profile(d.dir(), "notify.json", &notify);
    let script = "mkdir /tmp/x; echo $?; exec sleep 1000";
    d.docker(&["run", "-d", "--runtime", "rt", "--name", "asks", "--security-opt", &notify, "bb", "sh", "-c", script])
        .ok();
    let logs = || d.docker(&["logs", "asks"]);
    rt_tests::eventually("the answer", || logs().out == "1\n");
    assert!(logs().err.contains("No medium found"), "errno 123 was the answer: {:?}", logs());
    let exec = d.docker(&["exec", "asks", "mkdir", "/tmp/y"]);
    assert!(exec.code == 1 && exec.err.contains("No medium found"), "{exec:?}");

    // Each is told with the pid that it has in the agent's pid namespace, and the state of the
    // container.
    let told = agent.messages();
    let id = d.docker(&["inspect", "-f", "{{.Id}}", "asks"]).ok().trim().to_owned();
    let pid = d.docker(&["inspect", "-f", "{{.State.Pid}}", "asks"]).ok().trim().to_owned();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|t| t["state"]["id"] == id.as_str()), "{told:?}");
    assert_eq!(told[0]["pid"].to_string(), pid);
    assert_ne!(told[1]["pid"], told[0]["pid"]);
}
