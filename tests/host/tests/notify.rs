//! sd_notify and socket activation: what systemd and the engines hand to a container through the
//! runtime.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rt_tests::{Bundle, Container, Done, done, need, need_host, rt};

/// A manager's socket, and the directory that it is in.
fn manager() -> (tempfile::TempDir, UnixDatagram) {
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("manager")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (dir, socket)
}

fn read(socket: &UnixDatagram) -> String {
    let mut space = [0; 4096];
    let n = socket.recv(&mut space).expect("a message to the manager");
    String::from_utf8_lossy(&space[..n]).into_owned()
}

/// A bundle whose program is the host's python, saying `words` to NOTIFY_SOCKET one by one, then
/// running on.
fn notifies(words: &[&str]) -> Bundle {
    let script = format!(
        "import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for word in {words:?}:
    s.sendto(word.encode(), os.environ['NOTIFY_SOCKET'])
    time.sleep(0.1)
time.sleep(0.3)"
    );
    let mut bundle = Bundle::new(&["/usr/bin/python3", "-Sc", &script]);
    for dir in ["/usr", "/lib", "/lib64"] {
        bundle = bundle.mount(dir, "bind", dir, &["rbind", "ro"]);
    }
    // Not root: the socket is for every user of the container.
    bundle.with(|c| c["process"]["user"] = serde_json::json!({"uid": 1000, "gid": 1000}))
}

fn told(command: &mut Command, dir: &tempfile::TempDir) -> Done {
    command.env("NOTIFY_SOCKET", dir.path().join("manager"));
    done(std::mem::replace(command, Command::new("true")))
}

/// `start` returns when the program is ready, and tells the manager whom to watch. What a container
/// must not say (MAINPID, FDSTORE) does not pass.
#[test]
fn start_waits_for_readiness() {
    need_host!();
    need!(std::path::Path::new("/usr/bin/python3").exists(), "needs python3");
    let (dir, socket) = manager();
    let bundle = notifies(&["STATUS=soon", "MAINPID=1\nFDSTORE=1", "STATUS=there\nREADY=1"]);
    let container = Container::new();
    bundle.write();
    let mut create = container.command();
    create.args(["create", "--bundle"]).arg(bundle.path()).arg(&container.id);
    told(&mut create, &dir).ok();
    let mut start = container.command();
    start.args(["start", &container.id]);
    let pid = container.pid();
    std::thread::scope(|s| {
        let started = s.spawn(|| told(&mut start, &dir));
        assert_eq!(read(&socket), format!("READY=1\nMAINPID={pid}\n"));
        assert_eq!(read(&socket), "BARRIER=1");
        // The barrier came with a descriptor, which a plain read has closed: that is the manager's
        // answer.
        started.join().unwrap().ok();
    });
}

/// In the foreground the manager's process is rt itself, which lives as long as the container.
#[test]
fn run_passes_readiness_on() {
    need_host!();
    need!(std::path::Path::new("/usr/bin/python3").exists(), "needs python3");
    let (dir, socket) = manager();
    let container = Container::new();
    let bundle = notifies(&["READY=1"]);
    bundle.write();
    let mut run = container.command();
    run.args(["run", "--bundle"]).arg(bundle.path()).arg(&container.id);
    run.env("NOTIFY_SOCKET", dir.path().join("manager"));
    let mut child = run.spawn().unwrap();
    assert_eq!(read(&socket), format!("READY=1\nMAINPID={}\n", child.id()));
    assert!(child.wait().unwrap().success());
}

/// A program that never says ready does not hold `start` up for longer than it lives; without a
/// manager nothing is mounted and nothing set.
#[test]
fn without_readiness_or_without_a_manager() {
    need_host!();
    let (dir, _socket) = manager();
    let script = "echo \"[$NOTIFY_SOCKET]\"; grep -c ' /run/notify ' /proc/self/mountinfo";
    for (asked, seen) in [(true, "[/run/notify/notify.sock]\n1\n"), (false, "[]\n0\n")] {
        let container = Container::new();
        let bundle = Bundle::shell(script);
        bundle.write();
        let mut run = container.command();
        run.args(["run", "--bundle"]).arg(bundle.path()).arg(&container.id);
        if asked {
            run.env("NOTIFY_SOCKET", dir.path().join("manager"));
        }
        assert_eq!(done(run).out, seen);
    }
    let container = Container::new();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let mut run = container.command();
    run.args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&container.id);
    told(&mut run, &dir).ok();
}

/// Descriptors of socket activation arrive from 3 on, before the preserved ones, with their names.
#[test]
fn socket_activation() {
    need_host!();
    let bundle = Bundle::shell(
        "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; cat <&4; ls -l /proc/self/fd | grep -c ' 5 '",
    );
    bundle.write();
    let (one, two) = (bundle.path().join("one"), bundle.path().join("two"));
    fs::write(&one, "first\n").unwrap();
    fs::write(&two, "second\n").unwrap();
    let listen = |pid: &str| {
        let container = Container::new();
        let script = format!(
            "export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID={pid}; exec {} --root {} run --preserve-fds 1 --bundle {} {} 3<{} 4<{} 5</dev/null",
            rt().display(),
            container.root().display(),
            bundle.path().display(),
            container.id,
            one.display(),
            two.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        done(shell)
    };
    assert_eq!(listen("$$").out, "1 1 web\nfirst\nsecond\n0\n");
    // Meant for another process: only what was asked for is passed on.
    assert!(listen("1").out.starts_with("\nfirst\n"));
}
