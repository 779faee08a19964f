//! rt's own shim under containerd (Docker in hack/vm/tests, because Debian 12's knows no shims): what users see has to be what they see with containerd's
//! shim, and nothing that clients, loggers or containerd do may cost a container.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rt_tests::containerd::{Containerd, SHIM, command_line, processes_with};
use rt_tests::{cgroups_named, eventually, need_containerd, need_host, need_shim, rt};

/// The pids of shims that serve a container.
fn shims_of(id: &str) -> Vec<i32> {
    let is_server = |pid: &i32| {
        let line = command_line(*pid);
        line.contains("containerd-shim-rt-v1") && line.trim_end().ends_with("start")
    };
    processes_with(&format!("-id {id} ")).into_iter().filter(is_server).collect()
}

/// Servers that no client has reached, because containerd or `start` was killed just then, end by
/// themselves; so does everything else of this daemon's.
fn no_servers(d: &Containerd) {
    eventually("the end of the servers", || processes_with(&format!("-id {}", d.name())).is_empty());
}

/// Memory that a process has written, in KB.
fn written_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The pid of the shim that serves a container.
fn shim_of(id: &str) -> i32 {
    let found = shims_of(id);
    let [pid] = found[..] else { panic!("the shims of {id}: {found:?}") };
    pid
}

fn socket_of(d: &Containerd, id: &str) -> PathBuf {
    let address = d.dir().join(format!("state/io.containerd.runtime.v2.task/default/{id}/address"));
    fs::read_to_string(address).unwrap().trim_start_matches("unix://").into()
}

fn delete(d: &Containerd, id: &str) {
    d.ctr(&["task", "delete", "--force", id]);
    d.ctr(&["container", "delete", id]).ok();
}

fn is_running(d: &Containerd, id: &str) -> bool {
    d.tasks().iter().any(|(name, _, status)| name == id && status == "RUNNING")
}

/// Collects the events of containerd while `work` runs: their topics, and of an end its status.
fn events(d: &Containerd, work: impl FnOnce()) -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let log = d.dir().join(format!("events-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let file = fs::File::create(&log).unwrap();
    let mut child: Child = d.command(&["events"]).stdout(file).stderr(Stdio::null()).spawn().unwrap();
    // ctr says nothing when it has begun to listen.
    let seen = |topic: &str| fs::read_to_string(&log).unwrap().contains(topic);
    eventually("the first event", || {
        d.ctr(&["namespaces", "label", "default", "rt=test"]).ok();
        seen("/namespaces/")
    });
    work();
    eventually("the last event", || seen("/tasks/delete"));
    // timeout(1) hands it on to ctr.
    let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM);
    let _ = child.wait();
    let text = fs::read_to_string(&log).unwrap();
    let tasks = text.lines().filter_map(|line| line.split_once("/tasks/").map(|(_, event)| event));
    tasks
        .map(|event| {
            let (topic, rest) = event.split_once(' ').unwrap_or((event, ""));
            let status = rest.split_once("\"exit_status\":").map(|(_, rest)| rest.split([',', '}']).next().unwrap());
            format!("{topic} {}", status.unwrap_or("-"))
        })
        .collect()
}

/// What a user of ctr sees in the life of a container.
fn story(d: &Containerd, runtime: &str, id: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, done: rt_tests::Done| {
        let error = done.err.lines().filter(|line| !line.starts_with("time=")).collect::<Vec<_>>().join("\n");
        seen.push(format!("{what}: {} {:?} {:?}", done.code, done.out.replace(id, "ID"), error.replace(id, "ID")));
    };
    let once = |n: u32| format!("{id}-{n}");
    note("exit code", d.run(runtime, &once(1), &["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 42"]));
    note("signal", d.run(runtime, &once(2), &["--rm"], &["sh", "-c", "kill -KILL $$"]));
    note("no such program", d.run(runtime, &once(3), &["--rm"], &["nosuch"]));
    note("environment", d.run(runtime, &once(4), &["--rm", "--env", "A=b"], &["sh", "-c", "echo $A"]));
    note("read-only", d.run(runtime, &once(5), &["--rm", "--read-only"], &["touch", "/x"]));

    note("start", d.run(runtime, id, &["--detach"], &["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"]));
    let exec = |exec: &str, program: &[&str]| d.ctr(&[&["task", "exec", "--exec-id", exec, id], program].concat());
    note("exec", exec("e1", &["sh", "-c", "echo in; exit 7"]));
    note("exec again under the same id", exec("e1", &["echo", "again"]));
    note("exec of nothing", exec("e2", &["nosuch"]));
    // A child of the process keeps its standard output open.
    let start = Instant::now();
    note("exec that leaves a child", exec("e3", &["sh", "-c", "sleep 30 & echo done"]));
    assert!(start.elapsed() < Duration::from_secs(25), "the child was waited for");
    note("pause", d.ctr(&["task", "pause", id]));
    note("pause again", d.ctr(&["task", "pause", id]));
    note("exec while paused", exec("e4", &["true"]));
    let status = |d: &Containerd| d.tasks().into_iter().find(|(name, ..)| name == id).map(|(.., status)| status);
    let paused = status(d);
    note("resume", d.ctr(&["task", "resume", id]));
    note("resume again", d.ctr(&["task", "resume", id]));
    let running = status(d);
    let metrics = d.ctr(&["task", "metrics", id]);
    note("delete while it runs", d.ctr(&["task", "delete", id]));
    note("kill", d.ctr(&["task", "kill", id]));
    eventually("the end", || status(d).as_deref() == Some("STOPPED"));
    note("kill again", d.ctr(&["task", "kill", id]));
    note("exec after the end", exec("e5", &["true"]));
    note("delete", d.ctr(&["task", "delete", id]));
    note("delete the container", d.ctr(&["container", "delete", id]));
    seen.push(format!("states: {paused:?} {running:?}"));
    // The names of the numbers; the numbers are never the same.
    let names = metrics.out.lines().skip(3).filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    seen.push(format!("metrics: {:?}", names.collect::<Vec<_>>()));
    seen
}

/// Exit codes, outputs, errors and states are, word for word, those of containerd's own shim.
#[test]
fn a_user_sees_no_difference() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let theirs = story(&d, rt().to_str().unwrap(), &format!("{}-go", d.name()));
    let ours = story(&d, SHIM, &format!("{}-rt", d.name()));
    assert_eq!(ours, theirs);
    assert!(theirs[0].contains("42 \"out\\n\" \"err\""), "{theirs:?}");
    assert_eq!(cgroups_named(&format!("{}-rt", d.name())), Vec::<String>::new());
}

/// The same events in the same order, and the end of the container last.
#[test]
fn events_are_in_order() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let life = |runtime: &str, id: &str| {
        events(&d, || {
            d.run(runtime, id, &["--detach"], &["sleep", "1000"]).ok();
            d.ctr(&["task", "exec", "--exec-id", "e", id, "sh", "-c", "exit 3"]);
            d.ctr(&["task", "pause", id]).ok();
            d.ctr(&["task", "resume", id]).ok();
            d.ctr(&["task", "kill", "--signal", "KILL", id]).ok();
            eventually("the end", || !is_running(&d, id));
            delete(&d, id);
        })
    };
    let ours = life(SHIM, &format!("{}-rt", d.name()));
    let wanted = [
        "create -",
        "start -",
        "exec-added -",
        "exec-started -",
        "exit 3",
        "paused -",
        "resumed -",
        "exit 137",
        "delete 137",
    ];
    assert_eq!(ours, wanted);
    assert_eq!(life(rt().to_str().unwrap(), &format!("{}-go", d.name())), wanted);
}

/// Whoever hears of the end of a container that ran out of memory has heard of that before.
#[test]
fn running_out_of_memory_is_told_before_the_end() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = format!("{}-oom", d.name());
    let seen = events(&d, || {
        let program = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
        let run = d.run(SHIM, &id, &["--rm", "--memory-limit", "33554432"], &program);
        assert_eq!(run.code, 137, "{run:?}");
    });
    assert_eq!(seen, ["create -", "start -", "oom -", "exit 137", "delete 137"]);
}

/// Containers of one pod share a shim, which ends with the last of them.
#[test]
fn a_pod_has_one_shim() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let name = d.name();
    let ids: Vec<String> = (0..3).map(|n| format!("{name}-{n}")).collect();
    let label = format!("io.kubernetes.cri.sandbox-id={}", ids[0]);
    for id in &ids {
        d.run(SHIM, id, &["--detach", "--annotation", &label], &["sleep", "1000"]).ok();
    }
    let shim = shim_of(&ids[0]);
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    let pids: Vec<i32> = d.tasks().iter().map(|(_, pid, _)| *pid).collect();
    let served: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| served.contains(pid)), "{pids:?} {served:?}");
    let socket = socket_of(&d, &ids[2]);
    assert_eq!(socket, socket_of(&d, &ids[0]));
    // The first one is the pod's: the others go on without it.
    delete(&d, &ids[0]);
    assert!(is_running(&d, &ids[1]));
    d.ctr(&["task", "exec", "--exec-id", "e", &ids[2], "true"]).ok();
    delete(&d, &ids[1]);
    delete(&d, &ids[2]);
    eventually("the end of the shim", || {
        fs::read_to_string(format!("/proc/{shim}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(!socket.exists(), "the socket is left");
}

/// A container that writes to nobody waits; the shim, its other containers and signals do not.
#[test]
fn a_reader_that_never_reads() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = format!("{}-full", d.name());
    let fifos = d.dir().join("fifos");
    let mut ctr = d.command(&[
        "run",
        "--rm",
        "--runtime",
        SHIM,
        "--fifo-dir",
        fifos.to_str().unwrap(),
        "test.invalid/bb:1",
        &id,
        "sh",
        "-c",
        "yes | head -c 10000000",
    ]);
    // A pipe that is not read: ctr stops, then the fifo is full, then the container's pipe.
    let mut child = ctr.stdout(Stdio::piped()).spawn().unwrap();
    eventually("the task", || is_running(&d, &id));
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_running(&d, &id), "ten megabytes found room");
    let shim = shim_of(&id);
    assert!(written_memory(shim) < 512, "{} KB", written_memory(shim));
    d.ctr(&["task", "exec", "--exec-id", "e", &id, "true"]).ok();
    // It is read after all: nothing was lost.
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(output.len(), 10_000_000);
    assert!(child.wait().unwrap().success());
}

/// Whatever a client sends, containers go on and other clients are served.
#[test]
fn garbage_from_a_client() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = format!("{}-g", d.name());
    d.run(SHIM, &id, &["--detach"], &["sleep", "1000"]).ok();
    let socket = socket_of(&d, &id);
    let header = |length: u32, kind: u8| [&length.to_be_bytes()[..], &1_u32.to_be_bytes(), &[kind, 0]].concat();
    let pieces: [Vec<u8>; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
        // A request that is no message, one that is too long, a response, and one that never ends.
        [header(4, 1), vec![0xff; 4]].concat(),
        [header(5 << 20, 1), vec![0; 5 << 20]].concat(),
        [header(3, 2), vec![1, 2, 3]].concat(),
        [header(1 << 20, 1), vec![0; 10]].concat(),
    ];
    let mut open = Vec::new();
    for piece in &pieces {
        let mut client = UnixStream::connect(&socket).unwrap();
        let _ = client.write_all(piece);
        open.push(client);
    }
    // The request that is no message is answered, as an error.
    open[2].set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0; 10];
    open[2].read_exact(&mut answer).unwrap();
    assert_eq!(answer[8], 2, "{answer:?}");
    assert_eq!(d.ctr(&["task", "exec", "--exec-id", "e", &id, "echo", "served"]).ok(), "served\n");
    drop(open);
    assert_eq!(d.ctr(&["task", "exec", "--exec-id", "e", &id, "echo", "again"]).ok(), "again\n");
    delete(&d, &id);
}

/// Output goes to a file and to a logging binary; a disk that is full costs output and no container.
#[test]
fn logs() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = |n: u32| format!("{}-{n}", d.name());
    let run = |id: &str, uri: &str, script: &str| {
        d.run(SHIM, id, &["--detach", "--log-uri", uri], &["sh", "-c", script]).ok();
        eventually("the end", || !is_running(&d, id));
        let deleted = d.ctr(&["task", "delete", id]);
        d.ctr(&["container", "delete", id]).ok();
        deleted.err.trim().trim_end_matches('"').rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let file = d.dir().join("logs/deep/out");
    assert_eq!(run(&id(1), &format!("file://{}", file.display()), "echo one; echo two >&2; sleep 0.1; exit 3"), "3");
    let mut lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);

    assert_eq!(run(&id(2), "file:///dev/full", "yes | head -c 1000000; exit 4"), "4");

    let logger = d.dir().join("logger");
    let script = "#!/bin/sh\nexec > \"$OUT\"\necho \"$*\" \"$CONTAINER_ID\" \"$CONTAINER_NAMESPACE\"\nexec 5>&-\ncat <&3\ncat <&4\necho end\n";
    fs::write(&logger, script).unwrap();
    fs::set_permissions(&logger, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = d.dir().join("logged");
    let uri = format!("binary://{}?a=b&env.OUT={}", logger.display(), out.display());
    assert_eq!(run(&id(3), &uri, "echo one; echo two >&2; exit 5"), "5");
    let wanted = format!("a b {} default\none\ntwo\nend\n", id(3));
    eventually("the logger's end", || fs::read_to_string(&out).is_ok_and(|text| text == wanted));
    // A program that is not there is named.
    let failed = d.run(SHIM, &id(4), &["--detach", "--log-uri", "binary:///nosuch/logger"], &["true"]);
    assert!(failed.code != 0 && failed.err.contains("/nosuch/logger"), "{failed:?}");
    d.ctr(&["container", "delete", &id(4)]);
    // So is one that ends before it is ready.
    let failed = d.run(SHIM, &id(5), &["--detach", "--log-uri", "binary-v2:///bin/false"], &["true"]);
    assert!(failed.code != 0 && failed.err.contains("/bin/false"), "{failed:?}");
    d.ctr(&["container", "delete", &id(5)]);
    assert_eq!(cgroups_named(&d.name()).iter().filter(|path| path.contains(&id(5))).count(), 0);
}

/// containerd may be killed at any moment: containers go on, their output is there for the next client,
/// and an end that came meanwhile is told.
#[test]
fn containerd_is_killed() {
    need_host!();
    need_containerd!();
    need_shim!();
    let mut d = Containerd::start();
    let (lives, ends) = (format!("{}-lives", d.name()), format!("{}-ends", d.name()));
    d.run(SHIM, &lives, &["--detach"], &["sh", "-c", "while :; do sleep 0.1; done"]).ok();
    d.run(SHIM, &ends, &["--detach"], &["sh", "-c", "sleep 0.5; exit 6"]).ok();
    d.crash();
    assert!(is_running(&d, &lives));
    assert_eq!(d.ctr(&["task", "exec", "--exec-id", "e", &lives, "echo", "on"]).ok(), "on\n");
    eventually("the end", || d.tasks().iter().any(|(id, _, status)| *id == ends && status == "STOPPED"));
    let deleted = d.ctr(&["task", "delete", &ends]);
    assert!(deleted.err.contains("exit code 6"), "{deleted:?}");
    d.ctr(&["container", "delete", &ends]).ok();
    // Killed while it starts containers.
    for round in 0..6_u64 {
        let id = format!("{}-r{round}", d.name());
        let cgroup = format!("/{}/{id}", d.name());
        let mut child =
            d.command(&d.task(SHIM, &cgroup, &id, &["sleep", "1000"])).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 12));
        d.crash();
        let _ = child.wait();
        assert_eq!(d.ctr(&["task", "exec", "--exec-id", "e", &lives, "echo", "on"]).ok(), "on\n");
        d.ctr(&["task", "delete", "--force", &id]);
        d.ctr(&["container", "delete", &id]);
        eventually("the cgroup to go", || cgroups_named(&id).is_empty());
    }
    delete(&d, &lives);
    let state = d.dir().join("state/io.containerd.runtime.v2.task/default");
    eventually("the bundles to go", || fs::read_dir(&state).map_or(0, Iterator::count) == 0);
    no_servers(&d);
    (0..6).for_each(|round| d.remove_socket(&format!("{}-r{round}", d.name())));
}

/// A shim may be killed at any moment: containerd's call of `delete` then leaves nothing of the
/// container. (The socket of a shim that dies before containerd has connected stays: containerd does
/// not call then.)
#[test]
fn a_shim_killed_at_any_moment() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    for round in 0..30_u64 {
        let id = format!("{}-k{round}", d.name());
        let cgroup = format!("/{}/{id}", d.name());
        let null = || Stdio::null();
        let script = ["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.01; done"];
        let mut run = d.command(&d.task(SHIM, &cgroup, &id, &script)).stdout(null()).stderr(null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        let shim = loop {
            match shims_of(&id)[..] {
                [] if Instant::now() < end => {}
                [] => panic!("no shim"),
                [shim, ..] => break shim,
            }
        };
        // From before the first request to after the end of the container.
        std::thread::sleep(Duration::from_millis(round * 3));
        let bundle = d.dir().join(format!("state/io.containerd.runtime.v2.task/default/{id}"));
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL);
        let _ = run.wait();
        d.ctr(&["task", "delete", "--force", &id]);
        d.ctr(&["container", "delete", &id]);
        eventually("the cgroup to go", || cgroups_named(&id).is_empty());
        // containerd calls `delete` in its own time.
        eventually("the mounts to go", || !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&id));
        eventually("the bundle to go", || !bundle.exists());
        eventually("rt's state to go", || !Path::new("/run/containerd/runc/default").join(&id).exists());
        d.remove_socket(&id);
    }
    no_servers(&d);
}

/// What containerd and a person ask of the program without a container.
#[test]
fn information_and_wrong_command_lines() {
    need_host!();
    need_shim!();
    let shim = |args: &[&str]| {
        let mut command = std::process::Command::new(rt().with_file_name("containerd-shim-rt-v1"));
        command.args(args).stdin(Stdio::null());
        rt_tests::done(command)
    };
    let info = shim(&["-info"]);
    for part in ["io.containerd.rt.v1", "runtime-spec/1/features/Features", "\"mountOptions\"", "\"ociVersionMax\""] {
        assert!(info.ok().contains(part), "{part}: {info:?}");
    }
    assert!(shim(&["-v"]).ok().contains("Version:"));
    assert!(shim(&["-help"]).ok().contains("io.containerd.rt.v1"));
    shim(&["-namespace", "n", "-id", "../x", "start"]).fails(1, "\"../x\"");
    shim(&["stop"]).fails(1, "\"stop\"");
    // Without a bundle: the file that is missing is named, and no server is left.
    let empty = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(rt().with_file_name("containerd-shim-rt-v1"));
    command.args(["-namespace", "n", "-id", "nobundle", "-address", "/nosuch.sock", "start"]);
    rt_tests::done({
        command.current_dir(empty.path()).stdin(Stdio::null());
        command
    })
    .fails(1, "config.json");
    assert_eq!(shims_of("nobundle"), Vec::<i32>::new());
}

/// Nothing grows with the number of processes that a container has had.
#[test]
fn three_hundred_processes() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = format!("{}-many", d.name());
    d.run(SHIM, &id, &["--detach"], &["sleep", "1000"]).ok();
    let shim = shim_of(&id);
    let measure = || {
        let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        (
            written_memory(shim),
            fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count(),
            children.split_whitespace().count(),
        )
    };
    let exec = |n: usize| d.command(&["task", "exec", "--exec-id", &format!("e{n}"), &id, "true"]).spawn().unwrap();
    let round = |from: usize| {
        for ten in (from..from + 100).collect::<Vec<_>>().chunks(10) {
            let mut children: Vec<Child> = ten.iter().map(|n| exec(*n)).collect();
            assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
        }
    };
    round(0);
    let before = measure();
    round(100);
    round(200);
    let after = measure();
    assert_eq!((after.1, after.2), (before.1, before.2), "descriptors and children");
    assert!(after.0 <= before.0 + 64, "{} KB, then {} KB", before.0, after.0);
    delete(&d, &id);
}

/// A terminal: the program has one of the size that the client says, and its input ends with it.
#[test]
fn a_terminal() {
    need_host!();
    need_containerd!();
    need_shim!();
    let d = Containerd::start();
    let id = format!("{}-tty", d.name());
    let line = d.command(&[
        "run",
        "--rm",
        "--tty",
        "--runtime",
        SHIM,
        "test.invalid/bb:1",
        &id,
        "sh",
        "-c",
        "tty; read x; echo got $x; exit 4",
    ]);
    let words: Vec<String> = std::iter::once(line.get_program())
        .chain(line.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut script = std::process::Command::new("script");
    // exec: below a shell that waits, timeout would make a background process group, which the terminal stops.
    script.env("SHELL", "/bin/sh").args(["-qefc", &format!("exec {}", words.join(" ")), "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    eventually("the task", || is_running(&d, &id));
    child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/dev/pts/0") && text.contains("got hello"), "{text}");
    assert_eq!(output.status.code(), Some(4), "{text}");
}
