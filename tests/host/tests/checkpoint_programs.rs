//! What programs have open, and are made of, when they are saved: it goes on after a restore, or a
//! checkpoint says why it cannot.

use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use rt_tests::checkpoint::{Saved, python};
use rt_tests::{Bundle, eventually, need, need_criu};
use serde_json::json;

/// Counts, each in a file of its own.
const MANY: &str = r#"
import os, signal, socket, threading, time
count = {}
def note(name):
    count[name] = count.get(name, 0) + 1
    with open(f'/dev/shm/.{name}', 'w') as f: f.write(str(count[name]))
    os.rename(f'/dev/shm/.{name}', f'/dev/shm/{name}')
def thread(name):
    local = threading.local(); local.name = name
    while True: note(local.name); time.sleep(0.02)
ours, theirs = socket.socketpair()
listener = socket.socket(socket.AF_UNIX); listener.bind('/tmp/named'); listener.listen()
if os.fork() == 0:
    named, _ = listener.accept()
    if os.fork() == 0:
        os.setsid()
        while True: named.sendall(named.recv(10))
    while True: theirs.sendall(theirs.recv(10))
named = socket.socket(socket.AF_UNIX); named.connect('/tmp/named')
def echo(name, end):
    while True: end.sendall(b'ping'); assert end.recv(10) == b'ping'; note(name); time.sleep(0.02)
signal.signal(signal.SIGALRM, lambda *_: note('timer')); signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
read, write = os.pipe()
def pipe():
    while True: os.write(write, b'x'); os.read(read, 1); note('pipe'); time.sleep(0.02)
for n in range(4): threading.Thread(target=thread, args=(f'thread{n}',)).start()
threading.Thread(target=echo, args=('pair', ours)).start()
threading.Thread(target=echo, args=('named', named)).start()
threading.Thread(target=pipe).start()
removed = open('/tmp/removed', 'w+'); removed.write('kept'); removed.flush(); os.unlink('/tmp/removed')
while True:
    time.sleep(0.02); removed.seek(0); assert removed.read() == 'kept'; note('main')
"#;

/// Threads, a tree of processes in two sessions, unix sockets with and without a name, a pipe, a
/// timer, and a removed file: each counts on from where it was.
#[test]
fn all_parts_of_a_program_go_on() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let parts = ["thread0", "thread1", "thread2", "thread3", "pair", "named", "timer", "pipe", "main"];
    let bundle = python(MANY);
    let saved = Saved::new(&bundle, &criu);
    let count = |part: &str| {
        let said = saved.container.exec(&["cat", &format!("/dev/shm/{part}")]);
        said.out.parse::<u32>().unwrap_or(0)
    };
    for part in parts {
        eventually(part, || count(part) > 5);
    }
    let tasks = || {
        let listed = saved.container.exec(&["sh", "-c", "cat /proc/[0-9]*/task/*/comm"]);
        listed.ok().lines().filter(|name| name.starts_with("python")).count()
    };
    let tasks_before = tasks();
    assert_eq!(tasks_before, 10, "eight threads and two processes");
    saved.checkpoint(&[]);
    saved.restore(&[]);
    assert_eq!(tasks(), tasks_before);
    for part in parts {
        let before = count(part);
        assert!(before > 5, "{part} began anew: {before}");
        eventually(part, || count(part) > before + 2);
    }
}

/// Sends numbers to a socket of the host.
const LOGGER: &str = r#"
import itertools, socket, sys, time
log = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2])); log.connect(sys.argv[1])
for n in itertools.count(1): log.send(b'%d' % n); time.sleep(0.05)
"#;

/// A container that sends to the socket; in the host's network namespace or in its own.
fn logger(path: &Path, kind: &str, on_host: bool) -> Bundle {
    let dir = path.parent().unwrap();
    python(LOGGER).mount(dir.to_str().unwrap(), "bind", dir, &["bind"]).with(|c| {
        c["process"]["args"].as_array_mut().unwrap().extend([json!(path), json!(kind)]);
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| !on_host || n["type"] != "network");
    })
}

/// A socket that sends to a process of the host, as to a log: saved only when that is asked for, and
/// connected again.
#[test]
fn a_socket_to_the_host_is_connected_again() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = UnixDatagram::bind(&path).unwrap();
    log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let bundle = logger(&path, "SOCK_DGRAM", true);
    let saved = Saved::new(&bundle, &criu);
    let next = || {
        let mut space = [0; 20];
        let length = log.recv(&mut space).unwrap();
        std::str::from_utf8(&space[..length]).unwrap().parse::<u32>().unwrap()
    };
    let last = || {
        log.set_nonblocking(true).unwrap();
        while log.recv(&mut [0; 20]).is_ok() {}
        log.set_nonblocking(false).unwrap();
        next()
    };
    assert!(next() >= 1);
    let refused = saved.try_checkpoint(&[]);
    assert!(refused.code == 1 && refused.err.contains("--ext-unix-sk"), "{refused:?}");
    let before = last();
    saved.checkpoint(&["--ext-unix-sk"]);
    saved.restore(&["--ext-unix-sk"]);
    assert!(last() >= before, "it began anew");
}

/// Connections to the host that CRIU does not save are found before anything is stopped.
#[test]
fn what_is_connected_to_the_host_is_found() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    for (kind, on_host, options, text) in [
        ("SOCK_DGRAM", true, &[][..], "give --ext-unix-sk"),
        ("SOCK_DGRAM", false, &["--ext-unix-sk"], "of another network namespace"),
        ("SOCK_STREAM", true, &["--ext-unix-sk"], "a connection over a unix socket"),
        // What is accepted belongs to the namespace of the side that connected.
        ("SOCK_STREAM", false, &["--ext-unix-sk"], "a connection over a unix socket"),
    ] {
        let _ = std::fs::remove_file(&path);
        let bundle = logger(&path, kind, on_host);
        let mut space = [0; 20];
        // The other ends live as long as the container.
        let (saved, _log, _connection) = if kind == "SOCK_DGRAM" {
            let log = UnixDatagram::bind(&path).unwrap();
            let saved = Saved::new(&bundle, &criu);
            log.recv(&mut space).unwrap();
            (saved, Some(log), None)
        } else {
            let listener = UnixListener::bind(&path).unwrap();
            let saved = Saved::new(&bundle, &criu);
            let mut connection = listener.accept().unwrap().0;
            connection.read_exact(&mut space[..1]).unwrap();
            (saved, None, Some(connection))
        };
        let said = saved.check(options);
        assert_eq!(said.code, 1, "{text}: {said:?}");
        assert!(said.out.contains(text), "{text}: {said:?}");
        let refused = saved.try_checkpoint(options);
        assert_eq!(refused.code, 1, "CRIU saves what the check refuses: {text}");
        let known = ["--ext-unix-sk", "of another network namespace", "a connection over a unix socket"];
        assert!(known.iter().any(|part| refused.err.contains(part)), "{text}: {refused:?}");
        assert_eq!(saved.container.status(), "running", "{text}");
    }
}

/// What `--check` says stands in the way does, by CRIU's own word; and where it says nothing, CRIU
/// saves the container.
#[test]
fn what_the_check_says_criu_does() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let cases = [
        ("pass", None),
        // Kinds that CRIU saves.
        ("import select; keep = [select.epoll(), os.memfd_create('m'), os.eventfd(0), os.pipe()]", None),
        (
            "import socket; keep = [socket.socket(), socket.socketpair(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)]",
            None,
        ),
        ("keep = open('/tmp/ghost', 'w'); os.unlink('/tmp/ghost')", None),
        // Kinds that it does not.
        (
            "assert ctypes.CDLL(None, use_errno=True).syscall(425, 4, ctypes.create_string_buffer(120)) >= 0",
            Some("criu cannot save [io_uring]"),
        ),
        ("import socket; keep = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)", Some("a socket of a protocol")),
        (
            "keep = open('/tmp/big', 'w'); keep.write('x' * (2 << 20)); keep.flush(); os.unlink('/tmp/big')",
            Some("more than criu saves"),
        ),
        ("keep = open('/tmp/a', 'w'); os.link('/tmp/a', '/tmp/b'); os.unlink('/tmp/a')", Some("give --link-remap")),
        ("import fcntl; keep = open('/tmp/lock', 'w'); fcntl.lockf(keep, fcntl.LOCK_EX)", Some("give --file-locks")),
        ("ctypes.CDLL(None).unshare(0x20000000); os.fork()", Some("another pid namespace")),
    ];
    for (code, obstacle) in cases {
        let program =
            format!("import os, time, ctypes\n{code}\nopen('/tmp/ready', 'w').close()\nwhile True: time.sleep(1)");
        let bundle = python(&program).with(|c| {
            for set in ["bounding", "effective", "permitted"] {
                c["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
        });
        let saved = Saved::new(&bundle, &criu);
        eventually(code, || bundle.rootfs().join("tmp/ready").exists() || saved.container.status() == "stopped");
        if saved.container.status() == "stopped" {
            eprintln!("skipped: this kernel cannot do `{code}`");
            continue;
        }
        let said = saved.check(&[]);
        match obstacle {
            None => {
                assert_eq!(said.ok(), "nothing stands in the way of a checkpoint\n", "{code}");
                saved.checkpoint(&[]);
            }
            Some(part) => {
                assert_eq!(said.code, 1, "{code}: {said:?}");
                assert!(said.out.contains(part) && said.out.contains("process "), "{code}: {said:?}");
                let done = saved.try_checkpoint(&[]);
                assert_eq!(done.code, 1, "CRIU saves what the check refuses: {code}");
                // The cause is not CRIU's riddle.
                assert!(!done.err.contains("criu dump failed: send_fds"), "{code}: {done:?}");
                assert_eq!(saved.container.status(), "running", "{code}");
                // What an option allows is saved, and restored.
                let Some((_, option)) = part.split_once("give ") else { continue };
                assert_eq!(saved.check(&[option]).ok(), "nothing stands in the way of a checkpoint\n", "{code}");
                saved.checkpoint(&[option]);
                saved.restore(if option == "--file-locks" { &["--file-locks"] } else { &[] });
                assert_eq!(saved.container.status(), "running", "{code}");
            }
        }
    }
}
