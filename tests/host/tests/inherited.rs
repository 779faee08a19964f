//! What of its caller reaches a container, and what does not: the table in docs/architecture.md,
//! row by row. Callers are daemons, written in Go, C and shell, and each leaves something behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, Done, MACHINE_OF_32_BITS, done, eventually, need, need_host, rt};
use serde_json::json;

const CALLER: &str = include_str!("../src/caller.py");

/// `rt` of `container`, called by a process with these habits.
fn called(container: &Container, habits: &[&str], arguments: &[&str]) -> Done {
    let mut command = Command::new("python3");
    command.args(["-c", CALLER]).args(habits).arg("--").arg(rt()).arg("--root").arg(container.root()).args(arguments);
    done(command)
}

/// What the program of `run` prints under such a caller.
fn run(bundle: &Bundle, habits: &[&str]) -> Done {
    bundle.write();
    let container = Container::new();
    called(&container, habits, &["run", "--bundle", bundle.path().to_str().unwrap(), &container.id])
}

macro_rules! need_python {
    () => {
        need_host!();
        need!(Path::new("/usr/bin/python3").exists() || which("python3"), "needs python3");
    };
}

fn which(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGHUP, SIGINT, and two real-time signals.
const IGNORED: &str = "ignore=1,2,10,12,13,15,17,34,64";
const SIGNALS: &str = "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'";
const DEFAULT: &str = "SigBlk:0000000000000000SigIgn:0000000000000000";

/// A program that wants to die of SIGPIPE or to hear SIGTERM must be able to, whoever starts it
/// (conmon ignores SIGPIPE).
#[test]
fn no_signal_is_ignored_or_blocked_in_the_container() {
    need_python!();
    let habits = [IGNORED, "block=15,16"];
    assert_eq!(run(&Bundle::shell(SIGNALS), &habits).ok(), DEFAULT, "run");
    let sleeper = Bundle::new(&["sleep", "1000"]);
    sleeper.write();
    let c = Container::new();
    called(&c, &habits, &["create", "--bundle", sleeper.path().to_str().unwrap(), &c.id]).ok();
    called(&c, &habits, &["start", &c.id]).ok();
    let of_init = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let field = |name: &str| of_init.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((field("SigBlk:"), field("SigIgn:")), ("0".repeat(16), "0".repeat(16)), "create and start");
    assert_eq!(called(&c, &habits, &["exec", &c.id, "sh", "-c", SIGNALS]).ok(), DEFAULT, "exec");
    assert_eq!(run(&Bundle::shell("trap 'echo heard' PIPE; kill -PIPE $$"), &habits).ok(), "heard\n");
}

/// Otherwise the next file that rt or the program opens would become the standard stream.
#[test]
fn closed_standard_streams_are_the_null_device() {
    need_host!();
    let look = "for n in 0 1 2; do s=\"$s$(readlink /proc/$$/fd/$n || echo closed)|\"; done; echo \"$s\" > /tmp/seen";
    let bundle = Bundle::shell(look);
    bundle.write();
    let seen = bundle.rootfs().join("tmp/seen");
    let sleeper = Bundle::new(&["sleep", "1000"]).start();
    let exec_seen = format!("/proc/{}/root/tmp/seen", sleeper.pid());
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let under = |c: &Container, arguments: &str| {
            let mut command = Command::new("sh");
            let line = format!("{} --debug --root {} {arguments} {closed}", rt().display(), c.root().display());
            command.args(["-c", &line]);
            assert_eq!(done(command).code, 0, "{closed}: {arguments}");
        };
        let expect = |file: &Path, what: &str| {
            let seen = fs::read_to_string(file).unwrap();
            let streams: Vec<&str> = seen.trim_end_matches("|\n").split('|').collect();
            let null = [closed.contains("<&-"), closed.split(' ').any(|c| c == ">&-"), closed.contains("2>&-")];
            assert_eq!(streams.len(), 3, "{what} {closed}: {seen}");
            for (stream, null) in streams.iter().zip(null) {
                assert!(*stream != "closed" && (*stream == "/dev/null" || !null), "{what} {closed}: {seen}");
            }
            fs::remove_file(file).unwrap();
        };
        let path = bundle.path().display();
        let c = Container::new();
        under(&c, &format!("run --bundle {path} {}", c.id));
        expect(&seen, "run");
        under(&c, &format!("create --bundle {path} {}", c.id));
        assert_eq!(c.status(), "created", "{closed}");
        under(&c, &format!("start {}", c.id));
        c.await_status("stopped");
        expect(&seen, "create");
        under(&c, &format!("delete {}", c.id));
        under(&sleeper, &format!("exec {} sh -c '{look}'", sleeper.id));
        expect(Path::new(&exec_seen), "exec");
    }
}

/// A limit of the caller's on the size of files is an error, and not the end of rt in the middle of its
/// work, which would leave a cgroup.
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    for arguments in ["create", "run", "run --detach"] {
        let c = Container::new();
        let mut command = Command::new("sh");
        let (rt, root, path) = (rt(), c.root().display().to_string(), bundle.path().display());
        let command_line = format!("{} --root {root} {arguments} --bundle {path} {}", rt.display(), c.id);
        // Into a pipe, which has no size.
        command.args(["-c", &format!("(ulimit -f 0; {command_line}; echo code $?) 2>&1 | cat")]);
        let done = done(command);
        assert!(done.ok().contains("file too large\n") && done.out.ends_with("code 1\n"), "{done:?}");
        assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
    }
}

/// The same for hooks, those of the host and those of the container.
#[test]
fn no_signal_is_ignored_in_a_hook() {
    need_python!();
    let bundle = Bundle::new(&["true"]);
    let out = bundle.path().join("out");
    fs::write(bundle.rootfs().join("tmp/out"), "").unwrap();
    let hook = |file: String| {
        let script = format!("{SIGNALS} >> {file}; echo >> {file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let outside = || hook(out.display().to_string());
    let bundle = bundle.with(|c| {
        c["hooks"] = json!({
            "prestart": outside(), "createRuntime": outside(), "createContainer": outside(),
            "startContainer": hook("/tmp/out".to_owned()), "poststart": outside(), "poststop": outside(),
        });
    });
    run(&bundle, &[IGNORED]).ok();
    let said = fs::read_to_string(&out).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), [DEFAULT; 5], "{said}");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("tmp/out")).unwrap().trim(), DEFAULT);
}

/// With SIGCHLD ignored the kernel reaps children by itself, and every wait fails.
#[test]
fn a_caller_that_ignores_its_children_gets_exit_codes() {
    need_python!();
    let habits = ["ignore=17"];
    assert_eq!(run(&Bundle::shell("exit 3"), &habits).code, 3, "run");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]);
    let hooked = Bundle::shell("exit 5").with(|c| c["hooks"] = json!({"createRuntime": hook, "startContainer": hook}));
    assert_eq!(run(&hooked, &habits).code, 5, "run with hooks");
    let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 4"]}]);
    let refused = Bundle::new(&["true"]).with(|c| c["hooks"] = json!({"createRuntime": failing}));
    run(&refused, &habits).fails(1, "error running createRuntime hook #0: \"/bin/sh\": exit status 4");
    let c = Bundle::new(&["sleep", "1000"]).start();
    assert_eq!(called(&c, &habits, &["exec", &c.id, "sh", "-c", "exit 4"]).code, 4, "exec");
    called(&c, &habits, &["exec", "--detach", &c.id, "true"]).ok();
    assert!(called(&c, &habits, &["ps", &c.id]).ok().contains("sleep"), "ps");
    called(&c, &habits, &["delete", "--force", &c.id]).ok();
    assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
}

fn cpus_of(status: &str) -> String {
    status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

/// A unit with CPUAffinity=, or an engine that was bound to one CPU, does not bind its containers.
#[test]
fn the_cpus_of_the_caller_are_not_the_containers() {
    need_python!();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim().to_owned();
    need!(online != "0", "needs two processors");
    let print = ["sh", "-c", "cat /proc/self/status"];
    let ran = run(&Bundle::new(&print), &["cpus=0"]);
    assert_eq!(cpus_of(ran.ok()), online, "run");
    // Its own cpuset is what binds it.
    let bound = Bundle::new(&print).with(|c| c["linux"]["resources"]["cpu"] = json!({"cpus": "1"}));
    assert_eq!(cpus_of(run(&bound, &["cpus=0"]).ok()), "1", "run in a cpuset");
    let c = bound.with(|c| c["process"]["args"] = json!(["sleep", "1000"])).start();
    let executed = called(&c, &["cpus=0"], &["exec", &c.id, "cat", "/proc/self/status"]);
    assert_eq!(cpus_of(executed.ok()), "1", "exec in a cpuset");
    let c = Bundle::new(&["sleep", "1000"]).start();
    let executed = called(&c, &["cpus=0"], &["exec", &c.id, "cat", "/proc/self/status"]);
    assert_eq!(cpus_of(executed.ok()), online, "exec");
}

/// A process that is asked for one CPU gets that one.
#[test]
fn an_executed_process_has_the_cpus_that_it_was_given() {
    need_python!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let file = c.root().join("process.json");
    let process = json!({
        "args": ["cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0", "final": "1"}
    });
    fs::write(&file, process.to_string()).unwrap();
    let done = called(&c, &["cpus=0"], &["exec", "--process", file.to_str().unwrap(), &c.id]);
    assert_eq!(cpus_of(done.ok()), "1");
}

/// What the config says, or the specification's defaults, and not what the caller has.
#[test]
fn these_are_not_the_callers() {
    need_python!();
    let script = "umask; pwd; grep Groups /proc/self/status | tr -d ' \\t'; cut -d' ' -f6 /proc/self/stat; \
                  test -t 0 || echo no terminal; grep -c . /proc/self/environ";
    let here = std::env::temp_dir();
    let habits = ["umask=077", &format!("cwd={}", here.display()), "groups=7,8", "pdeathsig=9"];
    let done = run(&Bundle::shell(script), &habits);
    let said: Vec<&str> = done.ok().lines().collect();
    assert_eq!(said[..3], ["0022", "/", "Groups:"], "{done:?}");
    assert_eq!(said[3..5], ["1", "no terminal"], "a session of its own: {done:?}");
    // The keyring is a new one, of the container's name.
    let keys = run(&Bundle::shell("cat /proc/keys").with(|c| c["linux"]["maskedPaths"] = json!([])), &[]);
    need!(keys.code == 0, "needs a kernel with keyrings");
    assert!(keys.out.contains("_ses."), "{keys:?}");
    // A caller that cannot be traced makes containers that can.
    let dumpable = run(
        &Bundle::shell("stat -c %u /proc/1/mem").with(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000})),
        &["undumpable"],
    );
    assert_eq!(dumpable.ok(), "1000\n");
}

/// What the config leaves out is inherited, as with runc: an operator sets it for the engine, and
/// so for all its containers.
#[test]
fn these_are_the_callers_unless_the_config_says_otherwise() {
    need_python!();
    let script = "cat /proc/self/oom_score_adj; cut -d' ' -f19 /proc/self/stat; ionice; cat /proc/self/timerslack_ns; uname -m; \
                  ulimit -n; grep NoNewPrivs /proc/self/status | tr -d '\\t'";
    let habits = ["score=200", "nice=3", "idle-io", "slack=70000", "linux32", "nofile=500", "nonewprivs"];
    let bare = Bundle::shell(script).with(|c| {
        c["process"]["noNewPrivileges"] = json!(false);
        c["process"]["rlimits"] = json!([]);
    });
    let inherited = format!("200\n3\nidle\n70000\n{MACHINE_OF_32_BITS}\n500\nNoNewPrivs:1\n");
    assert_eq!(run(&bare, &habits).ok(), inherited);
    let said = bare.with(|c| {
        c["process"]["oomScoreAdj"] = json!(300);
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 400, "hard": 400}]);
        c["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 5});
        c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        c["linux"]["personality"] = json!({"domain": "LINUX"});
    });
    let machine = std::env::consts::ARCH;
    assert_eq!(run(&said, &habits).ok(), format!("300\n5\nbest-effort: prio 6\n70000\n{machine}\n400\nNoNewPrivs:1\n"));
}

/// Securebits stay (execve(2) clears SECBIT_KEEP_CAPS alone), and the user still has no capability
/// that the config does not give.
#[test]
fn securebits_of_the_caller_give_no_capabilities() {
    need_python!();
    let bundle = Bundle::shell("grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | tr -d '\\t\\n'").with(|c| {
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        c["process"]["capabilities"] =
            json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
    });
    let none = ["CapPrm:", "CapEff:", "CapAmb:"].map(|name| format!("{name}{}", "0".repeat(16))).concat();
    assert_eq!(run(&bundle, &[]).ok(), none);
    assert_eq!(run(&bundle, &["noroot"]).ok(), none);
}

/// /dev/null of the caller would show the host's devtmpfs in /proc/self/fd, and no CRIU could dump
/// the container.
#[test]
fn standard_streams_on_the_null_device_are_the_containers() {
    need_host!();
    let script = "(for n in 0 1 2; do readlink /proc/1/fd/$n; done) > /tmp/fds; stat -L -c %d /proc/1/fd/0 /dev/null >> /tmp/fds; sleep 1000";
    let bundle = Bundle::shell(script);
    bundle.write();
    let c = Container::new();
    let mut command = Command::new("sh");
    let line = "exec \"$0\" --root \"$1\" run --detach --bundle \"$2\" \"$3\" </dev/null >/dev/null 2>&1";
    command.args(["-c", line]).arg(rt()).arg(c.root()).arg(bundle.path()).arg(&c.id);
    assert_eq!(done(command).code, 0);
    let fds = bundle.rootfs().join("tmp/fds");
    eventually("the program's report", || fs::read_to_string(&fds).is_ok_and(|text| text.lines().count() == 5));
    let text = fs::read_to_string(&fds).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["/dev/null"; 3]);
    assert_eq!(lines[3], lines[4], "on the container's own /dev");
}
