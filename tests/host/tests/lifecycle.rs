//! create, start, state, kill, delete, run, list, ps: what callers build on (docs/contracts.md,
//! parts 2 to 4).

use std::fs;
use std::process::Command;

use rt_tests::{Bundle, Container, done, eventually, need_host, on_cgroup2};

/// The whole way of a container, with the status at each step.
#[test]
fn a_container_from_create_to_delete() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).create();
    assert_eq!(c.status(), "created");
    let pid = c.pid();
    assert!(pid > 0);
    c.rt(&["start", &c.id]).ok();
    assert_eq!(c.status(), "running");
    assert_eq!(c.pid(), pid, "init becomes the program");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    c.rt(&["kill", &c.id, "KILL"]).ok();
    c.await_status("stopped");
    assert_eq!(c.pid(), 0);
    c.rt(&["delete", &c.id]).ok();
    assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
    c.rt(&["state", &c.id]).fails(1, "container does not exist");
}

/// The exit code of the program is the exit code of run, and signals add 128.
#[test]
fn run_passes_the_exit_code_on() {
    need_host!();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("exit 255", 255)] {
        assert_eq!(Bundle::shell(script).run().code, code, "{script}");
    }
    // In a pid namespace of its own nobody inside can kill init.
    let killed = Bundle::shell("kill -9 $$").without_namespace("pid").run();
    assert_eq!(killed.code, 137, "{killed:?}");
}

/// A short-lived program must not be missed by the waiting parent (a race that hung another runtime
/// for ever).
#[test]
fn a_hundred_short_runs_all_end() {
    need_host!();
    let bundle = Bundle::shell("exit 7");
    for _ in 0..100 {
        assert_eq!(bundle.run().code, 7);
    }
}

/// Engines read these words and exit codes.
#[test]
fn wrong_verbs_for_the_status_are_refused_in_runcs_words() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let c = bundle.create();
    bundle.try_create(&c, &[]).fails(1, "container with given ID already exists");
    c.rt(&["resume", &c.id]).fails(1, "container not paused");
    c.rt(&["start", &c.id]).ok();
    c.rt(&["start", &c.id]).fails(1, "cannot start an already running container");
    c.rt(&["delete", &c.id]).fails(1, &format!("cannot delete container {} that is not stopped: running", c.id));
    c.rt(&["pause", &c.id]).ok();
    assert_eq!(c.status(), "paused");
    c.rt(&["pause", &c.id]).fails(1, "container paused");
    c.exec(&["true"]).fails(255, "cannot exec in a paused container");
    c.rt(&["resume", &c.id]).ok();
    c.rt(&["kill", &c.id, "9"]).ok();
    c.await_status("stopped");
    c.rt(&["kill", &c.id, "TERM"]).fails(1, "container not running");
    c.rt(&["start", &c.id]).fails(1, "cannot start a container that has stopped");
    c.exec(&["true"]).fails(255, "cannot exec in a stopped container");
    for verb in ["state", "start", "kill", "delete", "pause", "resume"] {
        c.rt(&[verb, "nobody"]).fails(1, "container does not exist");
    }
    c.rt(&["exec", "nobody", "true"]).fails(255, "container does not exist");
    c.rt(&["delete", "--force", "nobody"]).ok();
    for id in ["a/b", "..", "", "a b"] {
        c.rt(&["state", id]).fails(1, "invalid container ID format");
    }
}

/// A created container ends by SIGTERM though it is pid 1 of its namespace, and can be deleted
/// without force.
#[test]
fn a_created_container_can_be_ended() {
    need_host!();
    let c = Bundle::new(&["true"]).create();
    c.rt(&["kill", &c.id, "TERM"]).ok();
    c.await_status("stopped");
    let c = Bundle::new(&["true"]).create();
    c.rt(&["delete", &c.id]).ok();
    assert!(c.leftovers().is_empty());
}

/// go-runc reads the pid file with Atoi: a newline breaks it.
#[test]
fn the_pid_file_is_a_bare_number() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let c = Container::new();
    let file = c.root().join("pid");
    bundle.try_create(&c, &["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
}

/// The form of `list` and `ps`.
#[test]
fn list_and_ps() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let table = c.rt(&["list"]).ok().to_owned();
    assert!(table.starts_with("ID   "), "{table}");
    assert!(table.contains(&c.id) && table.contains("running") && table.contains("root"), "{table}");
    assert_eq!(c.rt(&["list", "-q"]).ok(), format!("{}\n", c.id));
    let json: serde_json::Value = serde_json::from_str(c.rt(&["list", "-f", "json"]).ok()).unwrap();
    assert_eq!(json[0]["owner"], "root");
    let pids: Vec<i32> = serde_json::from_str(c.rt(&["ps", "-f", "json", &c.id]).ok()).unwrap();
    assert_eq!(pids, [c.pid()]);
    let table = c.rt(&["ps", &c.id]).ok().to_owned();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("sleep 1000"), "{table}");
    let empty = Container::new();
    assert_eq!(empty.rt(&["list", "--format=json"]).ok(), "null\n");
}

/// As in crun, but an empty expression, as from a variable that is not set, is not all containers.
#[test]
fn kill_and_delete_by_a_regular_expression() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let other = bundle.start();
    let id = |name: &str| format!("{}-{name}", other.id);
    let jobs = [id("job1"), id("job2")];
    for job in &jobs {
        other.rt(&["run", "--detach", "--bundle", bundle.path().to_str().unwrap(), job]).ok();
    }
    other.rt(&["kill", "--regex", "", "KILL"]).fails(1, "--regex: the expression is empty");
    other.rt(&["delete", "-f", "-r", "job("]).fails(1, "--regex: \"job(\" is no regular expression");
    other.rt(&["delete", "-f", "--regex", "^job"]).ok();
    other.rt(&["delete", "--regex", "job[12]$"]).fails(1, &format!("{}: cannot delete container", jobs[1]));
    let all = |status: &str| jobs.iter().all(|job| other.rt(&["state", job]).ok().contains(status));
    assert!(all("running"));
    other.rt(&["kill", "-r", "job[12]$", "KILL"]).ok();
    eventually("the containers stop", || all("stopped"));
    other.rt(&["kill", "-r", "job[12]$", "KILL"]).fails(1, &format!("{}: container not running", jobs[0]));
    other.rt(&["delete", "--regex", "job[12]$"]).ok();
    assert_eq!(other.rt(&["list", "-q"]).ok(), format!("{}\n", other.id));
    assert_eq!(other.status(), "running");
}

/// Without a pid namespace SIGKILL must reach what init started, or it would live on.
#[test]
fn kill_without_a_pid_namespace_takes_all() {
    need_host!();
    let c = Bundle::shell("sleep 1000 & sleep 1000").without_namespace("pid").start();
    eventually("two processes", || c.rt(&["ps", "-f", "json", &c.id]).ok().matches(',').count() >= 1);
    c.rt(&["kill", &c.id, "KILL"]).ok();
    eventually("no process", || c.rt(&["ps", "-f", "json", &c.id]).ok() == "[]\n");
}

/// Signals sent to `rt run` reach the program.
#[test]
fn run_forwards_signals() {
    need_host!();
    let bundle = Bundle::shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done");
    bundle.write();
    let c = Container::new();
    let mut child = c
        .command()
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(&c.id)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

/// Two starts at once: one wins, the other is told.
#[test]
fn of_two_starts_one_wins() {
    need_host!();
    for _ in 0..10 {
        let c = Bundle::new(&["sleep", "1000"]).create();
        let codes: Vec<i32> = std::thread::scope(|s| {
            let starts: Vec<_> = (0..4).map(|_| s.spawn(|| c.rt(&["start", &c.id]).code)).collect();
            starts.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
        assert_eq!(c.status(), "running");
    }
}

/// --keep leaves the stopped container for inspection.
#[test]
fn run_keep() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let c = Container::new();
    let path = bundle.path().to_str().unwrap().to_owned();
    c.rt(&["run", "--keep", "-b", &path, &c.id]).ok();
    assert_eq!(c.status(), "stopped");
}

/// A program that fails to execute after the barrier is reported by start, and the container is
/// over.
#[test]
fn start_reports_a_program_that_cannot_run() {
    need_host!();
    let bundle = Bundle::new(&["/bin/script"]);
    fs::write(bundle.rootfs().join("bin/script"), "no program").unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(bundle.rootfs().join("bin/script"), mode).unwrap();
    let c = bundle.create();
    c.rt(&["start", &c.id]).fails(1, "exec format error");
    c.await_status("stopped");
    c.rt(&["delete", &c.id]).ok();
}

/// BuildKit and go-runc wait for the end of the pipes that they gave to create.
#[test]
fn create_keeps_no_pipe_of_the_caller_but_stdio() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let c = Container::new();
    // The writer is inheritable, and no one asked for it to be preserved.
    bundle.try_create(&c, &[]).ok();
    drop(writer);
    let mut one = [0; 1];
    assert_eq!(rustix::io::read(&reader, &mut one).unwrap(), 0, "init holds the caller's pipe");
}

/// An engine mounts the rootfs itself. Of a container without a mount namespace rt takes its own
/// mount, and never that one.
#[test]
fn an_engines_mount_of_the_rootfs_stays() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]).without_namespace("mount").with(|c| {
        c["mounts"] = serde_json::json!([{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]);
        (c["linux"]["maskedPaths"], c["linux"]["readonlyPaths"]) = Default::default();
    });
    bundle.write();
    let c = Container::new();
    // Deleted after a creation that went well; after one that was killed before it had a state, and
    // made no mount.
    let script = "set -e
        rootfs=$1/rootfs; shift
        count() { grep -c \" $rootfs \" /proc/self/mountinfo || :; }
        mount --make-rprivate /
        mount --bind $rootfs $rootfs
        \"$@\" create --bundle ${rootfs%/rootfs} $C; count
        \"$@\" delete --force $C; count
        \"$@\" create --bundle ${rootfs%/rootfs} $C; rm $ROOT/$C/state.json
        umount -l $rootfs; count
        \"$@\" delete --force $C; count; ls $ROOT";
    let rt = c.command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]);
    command
        .arg("sh")
        .arg(bundle.path())
        .arg(rt.get_program())
        .args(rt.get_args())
        .envs([("ROOT", c.root().as_os_str()), ("C", c.id.as_ref())]);
    assert_eq!(done(command).ok(), "2\n1\n1\n1\n");
}

/// A creator that was killed leaves a container that nobody can start; gc finds it and takes all of
/// it, but neither a container that lives, nor a stopped one, nor one that is being made.
#[test]
fn gc_takes_what_killed_commands_left() {
    need_host!();
    let living = Bundle::new(&["sleep", "1000"]).start();
    let gc = |args: &[&str]| living.rt(&[&["gc"], args].concat());
    assert_eq!(gc(&[]).ok(), "nothing to remove\n");
    // As a create that was killed at its last step leaves it: a cgroup with a process, and no
    // state.
    let orphan = format!("{}-orphan", living.id);
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let path = bundle.path().to_str().unwrap().to_owned();
    living.rt(&["create", "--bundle", &path, &orphan]).ok();
    let directory = living.root().join(&orphan);
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(directory.join("state.json")).unwrap()).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    fs::remove_file(directory.join("state.json")).unwrap();
    let locked = fs::File::open(&directory).unwrap();
    locked.lock().unwrap();
    assert_eq!(gc(&[]).ok(), "nothing to remove\n", "somebody is making it");
    locked.unlock().unwrap();
    let found = format!("{orphan}: would be removed: its creator ended before it was made\n");
    assert_eq!(gc(&["--dry-run"]).ok(), found);
    assert!(directory.exists());
    assert_eq!(gc(&[]).ok(), found.replace("would be removed", "removed"));
    assert!(!directory.exists());
    assert!(rt_tests::cgroups_named(&orphan).is_empty());
    eventually("the orphan's end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(living.status(), "running");
}

/// A container that was frozen, by `pause` or by an engine, before it was started or after: a kill
/// ends it at once, and a forced delete leaves nothing. On cgroup v1 a frozen process does not die
/// of SIGKILL.
#[test]
fn frozen_containers_end() {
    need_host!();
    for started in [false, true] {
        let made =
            || if started { Bundle::new(&["sleep", "1000"]).start() } else { Bundle::new(&["sleep", "1000"]).create() };
        let freeze = |c: &Container| {
            let v1 = rt_tests::cgroup_dir(c.pid(), "freezer").join("freezer.state");
            if v1.exists() {
                fs::write(v1, "FROZEN").unwrap();
            } else {
                fs::write(rt_tests::cgroup_dir(c.pid(), "").join("cgroup.freeze"), "1").unwrap();
            }
        };
        let begin = std::time::Instant::now();
        for by_engine in [false, true] {
            let halt =
                |c: &Container| if by_engine { freeze(c) } else { drop(c.rt(&["pause", &c.id]).ok().to_owned()) };
            let c = made();
            halt(&c);
            c.rt(&["delete", "--force", &c.id]).ok();
            assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
            let c = made();
            halt(&c);
            c.rt(&["kill", &c.id, "KILL"]).ok();
            c.await_status("stopped");
            c.rt(&["delete", &c.id]).ok();
        }
        assert!(begin.elapsed().as_secs() < 30, "it took {:?}", begin.elapsed());
    }
}

/// A creator that was killed while its container was in a frozen pod: init, frozen before it executed
/// the stub, kept the container's lock, and a forced delete waited for it until somebody thawed the pod.
#[test]
fn a_creator_killed_in_a_frozen_pod_leaves_nothing() {
    need_host!();
    let pod = format!("rt-frozen-{}", std::process::id());
    let bundle = Bundle::new(&["true"]).with(|c| c["linux"]["cgroupsPath"] = format!("/{pod}/c").into());
    bundle.write();
    let c = Container::new();
    let script = r#"
        pod=/sys/fs/cgroup/$1 id=$2; shift 2
        mkdir "$pod" && echo 1 > "$pod/cgroup.freeze" || exit 1
        "$@" create "$id" < /dev/null > /dev/null 2>&1 & creator=$!
        for try in $(seq 400); do grep -q . "$pod/c/cgroup.procs" 2> /dev/null && break; sleep 0.05; done
        kill -9 $creator; wait $creator
        timeout 20 "$@" delete --force "$id"; echo "delete: $?"
        "$@" list -q; cat "$pod/c/cgroup.procs"
        rmdir "$pod/c" "$pod"; true"#;
    let mut command = on_cgroup2();
    command.args(["sh", "-c", script, "sh", &pod, &c.id]).arg(rt_tests::rt()).arg("--root").arg(c.root());
    command.current_dir(bundle.path());
    let done = done(command);
    assert_eq!(done.out, "delete: 0\n", "{done:?}");
    assert!(rt_tests::cgroups_named(&pod).is_empty());
}

/// `--debug` writes a line for each step, with its object and the time; the log is there after
/// every command, whatever it had to say.
#[test]
fn debug_tells_each_step() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["hooks"] = serde_json::json!({"createRuntime": [{"path": "/bin/true"}]});
    });
    bundle.write();
    let c = Container::new();
    let log = bundle.path().join("log");
    let told = |args: &[&str]| -> Vec<serde_json::Value> {
        let _ = fs::remove_file(&log);
        let global = ["--debug", "--log-format", "json", "--log", log.to_str().unwrap()];
        c.rt(&[&global[..], args].concat()).ok();
        let text = fs::read_to_string(&log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let say = |lines: &[serde_json::Value], words: &[&str]| {
        for word in words {
            let found = lines.iter().any(|line| line["msg"].as_str().unwrap().contains(word));
            assert!(found, "{word:?} is not in {lines:#?}");
        }
        assert!(lines.iter().all(|line| line["level"] == "debug" && line["time"].as_str().unwrap().ends_with('Z')));
    };
    let created = told(&["create", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
    let init = format!("init is process {}", c.pid());
    let steps = [
        "made the cgroup /",
        &init,
        "running createRuntime hook #0: /bin/true",
        "mount of proc",
        "init is ready",
        "state.json",
    ];
    say(&created, &steps);
    say(&told(&["start", &c.id]), &["the program of init", "exec sleep"]);
    say(&told(&["exec", &c.id, "true"]), &["the process is ", "the program is executed"]);
    say(&told(&["kill", &c.id, "KILL"]), &["sent signal 9 to init"]);
    c.await_status("stopped");
    say(&told(&["delete", &c.id]), &["removed the cgroup /", "removed /"]);
    // Off, nothing is written, but the file is there.
    let _ = fs::remove_file(&log);
    c.rt(&["--log", log.to_str().unwrap(), "list"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}

/// The commands of README, "By hand", as they stand there.
#[test]
fn by_hand_as_the_readme_says() {
    need_host!();
    let readme = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let section = readme.split_once("**By hand**").unwrap().1;
    let block = section.split("```").nth(1).unwrap();
    assert!(block.lines().filter(|line| line.starts_with("rt ")).count() >= 6, "{block}");
    let bundle = Bundle::new(&["true"]);
    let _ = fs::remove_file(bundle.path().join("config.json"));
    let c = Container::new();
    let bin = tempfile::tempdir().unwrap();
    let wrapper = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", rt_tests::rt().display(), c.root().display());
    fs::write(bin.path().join("rt"), wrapper).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bin.path().join("rt"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("sh");
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", bin.path().display());
    command.args(["-exc", &block.replace("c1", &c.id)]).current_dir(bundle.path()).env("PATH", path);
    let done = done(command);
    assert!(done.ok().contains("sleep"), "{done:?}");
    assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
}

/// Readers that are no JSON parsers look at how a line of `events` begins.
#[test]
fn events_begin_with_type_and_id() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let line = c.rt(&["events", "--stats", &c.id]);
    assert!(line.ok().starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", c.id)), "{line:?}");
}
