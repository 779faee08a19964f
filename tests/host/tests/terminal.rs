//! The terminal of a container in the foreground, and that no command waits for ever.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rt_tests::{Bundle, Container, eventually, need_host};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

/// A terminal, as a person has it: the side that the person sees, and the side for a program.
fn terminal() -> (fs::File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap();
    (fs::File::from(master), slave)
}

fn with_terminal(program: &[&str]) -> Bundle {
    let bundle = Bundle::new(program).with(|c| c["process"]["terminal"] = json!(true));
    bundle.write();
    bundle
}

fn run_of(container: &Container, bundle: &Bundle) -> Command {
    let mut command = container.command();
    command.arg("run").arg("--bundle").arg(bundle.path()).arg(&container.id);
    command
}

/// Waits for the end, and kills what does not come to it: a hang is a failure and nothing else.
#[track_caller]
fn ends(child: &mut Child) -> i32 {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt;
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it has not ended");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Without any terminal there is none that the container's could be: refused at once, with what to
/// do, and nothing is left.
#[test]
fn a_terminal_without_one_is_refused() {
    need_host!();
    let bundle = with_terminal(&["sh"]);
    let container = Container::new();
    let mut command = run_of(&container, &bundle);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Not even a controlling terminal.
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
    let mut child = command.spawn().unwrap();
    let code = ends(&mut child);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(
        (code, said.as_str()),
        (1, "rt run failed: /process/terminal: open /dev/tty: no such device or address\n")
    );
    assert!(container.leftovers().is_empty(), "{:?}", container.leftovers());
}

/// Standard input that ends is an end typed into the terminal, until the program has read it: a
/// shell changes the modes when it begins, and drops what was typed before.
#[test]
fn the_end_of_the_input_ends_a_shell() {
    need_host!();
    for round in 0..8 {
        let bundle = with_terminal(&["sh"]);
        let container = Container::new();
        let (_screen, slave) = terminal();
        let mut command = run_of(&container, &bundle);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(slave);
        assert_eq!(ends(&mut command.spawn().unwrap()), 0, "round {round}");
    }
}

/// The caller's terminal makes the carriage returns; whoever reads the output through a pipe gets
/// the program's bytes.
#[test]
fn newlines_are_the_programs() {
    need_host!();
    let bundle = with_terminal(&["sh", "-c", "echo a; echo b; stty -a 2>/dev/null | tr ' ' '\\n' | grep onlcr"]);
    let container = Container::new();
    let (_screen, slave) = terminal();
    let mut command = run_of(&container, &bundle);
    command.stdin(slave.try_clone().unwrap()).stdout(Stdio::piped()).stderr(slave);
    let mut child = command.spawn().unwrap();
    assert_eq!(ends(&mut child), 0);
    let mut piped = String::new();
    child.stdout.take().unwrap().read_to_string(&mut piped).unwrap();
    assert_eq!(piped, "a\nb\n-onlcr\n");
    drop(command);
    let (container, bundle) = (Container::new(), with_terminal(&["echo", "a"]));
    let (mut screen, slave) = terminal();
    let mut command = run_of(&container, &bundle);
    let copy = || slave.try_clone().unwrap();
    command.stdin(copy()).stdout(copy()).stderr(copy());
    assert_eq!(ends(&mut command.spawn().unwrap()), 0);
    let mut seen = [0; 16];
    let n = screen.read(&mut seen).unwrap();
    assert_eq!(&seen[..n], b"a\r\n", "as a person sees it");
}

/// What is typed arrives, and the caller's terminal has its modes back afterwards.
#[test]
fn a_terminal_is_relayed_and_restored() {
    need_host!();
    let bundle = with_terminal(&["sh", "-c", "read line; echo got $line"]);
    let container = Container::new();
    let (mut screen, slave) = terminal();
    let before = rustix::termios::tcgetattr(slave.as_fd()).unwrap();
    let mut command = run_of(&container, &bundle);
    let copy = || slave.try_clone().unwrap();
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let mut child = command.spawn().unwrap();
    screen.write_all(b"word\n").unwrap();
    let mut text = String::new();
    eventually("the echo of the program", || {
        let mut bytes = [0; 256];
        let n = screen.read(&mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        text.contains("got word")
    });
    assert_eq!(ends(&mut child), 0);
    let after = rustix::termios::tcgetattr(slave.as_fd()).unwrap();
    assert_eq!((after.local_modes, after.output_modes), (before.local_modes, before.output_modes));
}

/// A first process ignores a signal that it does not handle. Who sends it twice learns how to force
/// an end.
#[test]
fn a_signal_that_has_no_effect_says_how_to_force_an_end() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let container = Container::new();
    let mut command = run_of(&container, &bundle);
    let said = tempfile::NamedTempFile::new().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    eventually("the container", || container.rt(&["state", &container.id]).out.contains("running"));
    kill_process(pid, Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(fs::read_to_string(said.path()).unwrap(), "", "one is passed on without a word");
    kill_process(pid, Signal::TERM).unwrap();
    let text = || fs::read_to_string(said.path()).unwrap();
    eventually("advice", || !text().is_empty());
    let force = format!("`rt --root {} kill {} KILL` ends it", container.root().display(), container.id);
    assert!(text().contains("SIGTERM was passed on") && text().contains(&force), "{}", text());
    container.rt(&["kill", &container.id, "KILL"]).ok();
    assert_eq!(ends(&mut child), 137);
}

/// A signal reaches rt as well while a hook keeps the container from beginning: it ends, and leaves
/// nothing.
#[test]
fn a_hook_that_hangs_can_be_interrupted() {
    need_host!();
    for kind in ["createRuntime", "createContainer", "startContainer", "poststart"] {
        let shell = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exec sleep 1000"]}]);
        let bundle = Bundle::new(&["sleep", "1000"]).with(|c| c["hooks"] = json!({kind: shell}));
        bundle.write();
        let container = Container::new();
        let mut command = run_of(&container, &bundle);
        let said = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let hook = || -> bool {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines.any(|line| line.starts_with(b"sleep\x001000") || line.starts_with(b"sh\0-c\0exec sleep 1000"))
        };
        eventually("the hook", hook);
        std::thread::sleep(Duration::from_millis(50));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(ends(&mut child), 143, "{kind}: {}", fs::read_to_string(said.path()).unwrap());
        assert!(container.leftovers().is_empty(), "{kind}: {:?}", container.leftovers());
    }
}

/// A socket whose queue of connections is full and that nobody accepts from is an error after ten
/// seconds, not a wait for ever.
#[test]
fn a_socket_that_nobody_accepts_from_is_refused() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.sock");
    let stream =
        || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None);
    let address = SocketAddrUnix::new(&path).unwrap();
    let listener = stream().unwrap();
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = stream().unwrap();
        if connect(&socket, &address).is_err() {
            break;
        }
        waiting.push(socket);
    }
    let attempts = ["--console-socket", "--pidfd-socket"].map(|flag| {
        let bundle = Bundle::new(&["sh"]).with(|c| c["process"]["terminal"] = json!(flag == "--console-socket"));
        bundle.write();
        let container = Container::new();
        let mut command = container.command();
        command.arg("create").arg(flag).arg(&path).arg("--bundle").arg(bundle.path()).arg(&container.id);
        let said = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
        (flag, command.spawn().unwrap(), said, container, bundle)
    });
    for (flag, mut child, said, container, _bundle) in attempts {
        assert_eq!(ends(&mut child), 1, "{flag}");
        let said = fs::read_to_string(said.path()).unwrap();
        assert!(said.contains("full.sock") && said.contains("connection timed out"), "{flag}: {said}");
        assert!(container.leftovers().is_empty(), "{flag}: {:?}", container.leftovers());
    }
}
