//! Containers that move to another host.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::checkpoint::Saved;
use rt_tests::{Bundle, Container, done, eventually, need, need_criu};
use serde_json::json;

/// A container moves, with its TCP connection, to a host that has nothing but the rootfs; and stays
/// where it is, and runs on, when the other side cannot take it.
#[test]
fn a_container_moves_or_stays() {
    let criu = need_criu!();
    let script = "nc -l -p 99 -e cat & sleep 0.3; (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 99 > /dev/shm/n";
    let bundle = Bundle::shell(script);
    let saved = Saved::on_the_null_device(&bundle, &criu);
    let count = |container: &Container| {
        container.exec(&["tail", "-n", "1", "/dev/shm/n"]).out.trim().parse::<u32>().unwrap_or(0)
    };
    eventually("the counter", || count(&saved.container) > 3);
    let other = Bundle::shell("unused");
    fs::remove_file(other.path().join("config.json")).unwrap();
    let target = Container::new();
    let receive = |options: &str| {
        format!(
            "{} --root {} --criu {} receive --image-path {} -b {} {options}",
            rt_tests::rt().display(),
            target.root().display(),
            criu.display(),
            target.root().display(),
            other.path().display(),
        )
    };
    let here = tempfile::tempdir().unwrap();
    let migrate = |to: &str, options: &[&str]| {
        let mut command = saved.container.command();
        command.arg("--criu").arg(&criu).args(["migrate", "--image-path"]).arg(here.path()).args(options);
        command.args(["--to", to, &saved.container.id]);
        done(command)
    };
    let clean = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .flatten()
            .all(|e| !["rt-receive", "rt-migrate"].iter().any(|part| e.file_name().to_string_lossy().starts_with(part)))
    };
    let as_target = format!("--as {}", target.id);

    // It stays.
    let tcp = &["--tcp-established"][..];
    let hostile = "printf 'm\\377\\377\\377\\377'; cat > /dev/null";
    let halfway = format!("dd bs=1 count=100000 2> /dev/null | {} | cat", receive(&as_target));
    // It says that it is ready, and then nothing, while the container is stopped.
    let silent = "printf 'm\\007\\000\\000\\000\"ready\"'; cat > /dev/null";
    fs::rename(other.rootfs().join("bin/busybox"), other.rootfs().join("bin/gone")).unwrap();
    for (to, options, text) in [
        ("false".to_owned(), tcp, "the other side of the migration is gone"),
        (hostile.to_owned(), tcp, "the other side of the migration sent a frame that is none"),
        (receive("--as a/b"), tcp, "the target refused the container: invalid container ID format"),
        (receive("--as x -f /no/such"), tcp, "the target refused the container: open /no/such"),
        (receive(&as_target), &[], "the container has established TCP connections"),
        // Its rootfs lacks the program.
        (receive(&as_target), tcp, "the target refused the container: criu restore failed"),
        (halfway, tcp, "the other side of the migration is gone"),
        (silent.to_owned(), &["--tcp-established", "--timeout", "1"], "has been silent for 1 s"),
        ("sleep 100".to_owned(), &["--timeout", "1"], "has been silent for 1 s"),
    ] {
        let failed = migrate(&to, options);
        assert_eq!(failed.code, 1, "{to}: {failed:?}");
        assert!(failed.err.contains(text), "{to}: {text:?} is not in {:?}", failed.err);
        assert_eq!(saved.container.status(), "running", "{to}");
        let before = count(&saved.container);
        eventually("the counter to go on", || count(&saved.container) > before + 2);
        assert!(clean(here.path()), "{to}");
        eventually(&format!("the target's end: {to}"), || clean(target.root()));
        assert!(target.leftovers().is_empty(), "{to}: {:?}", target.leftovers());
    }
    fs::rename(other.rootfs().join("bin/gone"), other.rootfs().join("bin/busybox")).unwrap();

    // It moves.
    let before = count(&saved.container);
    let moved = migrate(&receive(&as_target), tcp);
    let said = moved.ok();
    assert!(said.contains(" MiB in ") && said.contains("downtime: "), "{said}");
    assert_eq!(saved.container.rt(&["state", &saved.container.id]).code, 1);
    assert!(saved.container.leftovers().is_empty(), "{:?}", saved.container.leftovers());
    assert_eq!(target.status(), "running");
    assert!(count(&target) >= before, "it began anew");
    eventually("the connection to go on", || count(&target) > before + 5);
    assert!(clean(here.path()));
    eventually("the target's end", || clean(target.root()));
    assert!(other.path().join("config.json").exists());
}

/// A client that waits for each answer before it asks again, for five seconds.
const ASKS: &str = "
import socket, sys, time
for _ in range(200):
    try: s = socket.create_connection(('10.77.9.2', 7000), timeout=20); break
    except OSError: time.sleep(0.05)
f = s.makefile('rw'); n = 0; gap = 0; begin = last = time.monotonic()
while last - begin < 5:
    f.write(f'{n}\\n'); f.flush(); assert f.readline() == f'{n}\\n'
    if n == 0: open(sys.argv[1], 'w')
    now = time.monotonic(); gap = max(gap, now - last); last = now; n += 1; time.sleep(0.002)
print(n, round(gap * 1000))";

/// A client that sends all the time, whatever has been answered.
const SENDS: &str = "
import socket, sys, threading, time
for _ in range(200):
    try: s = socket.create_connection(('10.77.9.2', 7000), timeout=20); break
    except OSError: time.sleep(0.05)
def send():
    for n in range(500): s.sendall(f'{n}\\n'.encode()); time.sleep(0.01)
threading.Thread(target=send, daemon=True).start()
f = s.makefile('r'); gap = 0; last = time.monotonic()
for n in range(500):
    assert f.readline() == f'{n}\\n'
    if n == 0: open(sys.argv[1], 'w')
    now = time.monotonic(); gap = max(gap, now - last); last = now
print(500, round(gap * 1000))";

/// The service moves under its client, and no answer is lost.
#[test]
fn a_service_moves_under_its_client() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    move_service(&criu, "", ASKS);
}

/// What the client sends again must not reach a target that has the address, but not the connection
/// yet: the kernel would reset it.
#[test]
fn a_connection_outlives_packets_that_come_too_early() {
    let criu = need_criu!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    move_service(&criu, "; sleep 1", SENDS);
}

/// Two hosts, as two network namespaces on a bridge, and a client that counts answers over one
/// connection. `then` is what the target's hook does when it has moved the address.
fn move_service(criu: &Path, then: &str, client: &str) {
    let name = |part: &str| format!("rm{}{part}", std::process::id());
    let [a, b, c, bridge] = ["a", "b", "c", "br"].map(name);
    let sh = |script: String| {
        let mut command = Command::new("sh");
        command.args(["-ec", &script]);
        done(command)
    };
    let down = format!("for n in {a} {b} {c}; do ip netns del $n; done; ip link del {bridge}");
    let _down = Cleanup(down);
    let end = |namespace: &str, mac: u32, address: u32| {
        format!(
            "ip netns add {namespace}; ip link add v{namespace} type veth peer name eth0 netns {namespace}; \
             ip link set v{namespace} master {bridge}; ip -n {namespace} link set lo up; \
             ip -n {namespace} link set eth0 address 02:00:00:00:00:0{mac} up; \
             ip -n {namespace} addr add 10.77.9.{address}/24 dev eth0; "
        )
    };
    let ends = end(&a, 2, 2) + &end(&b, 2, 2) + &end(&c, 3, 3);
    let made = sh(format!(
        "ip link add {bridge} type bridge; ip link set {bridge} up; {ends} ip link set v{a} up; ip link set v{c} up"
    ));
    need!(made.code == 0, "this machine has no bridges: {}", made.err);
    let in_namespace = |path: &str, hook: Option<String>| {
        Bundle::shell("while :; do nc -l -p 7000 -e cat; done").with(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.iter_mut().find(|n| n["type"] == "network").unwrap()["path"] =
                json!(format!("/run/netns/{path}"));
            if let Some(hook) = hook {
                let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
                config["hooks"] =
                    json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook], "env": env}]});
            }
        })
    };
    // What an engine does: the address is on the other side from here on.
    let move_address = format!("ip link set v{a} down; ip link set v{b} up{then}");
    let (here, there) = (in_namespace(&a, None), in_namespace(&b, Some(move_address)));
    there.write();
    let saved = Saved::on_the_null_device(&here, criu);
    let mut command = Command::new("ip");
    let answered = saved.dir.path().join("answered");
    command.args(["netns", "exec", &c, "python3", "-c", client]).arg(&answered);
    let client = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // A connection that the service has not accepted yet cannot be saved.
    eventually("the first answer", || answered.exists());
    let target = Container::new();
    let to = format!(
        "{} --root {} --criu {} receive --image-path {} -b {} --as {}",
        rt_tests::rt().display(),
        target.root().display(),
        criu.display(),
        saved.dir.path().display(),
        there.path().display(),
        target.id
    );
    let mut command = saved.container.command();
    command.arg("--criu").arg(criu).args(["migrate", "--tcp-established", "--image-path"]).arg(saved.dir.path());
    command.args(["--to", &to, &saved.container.id]);
    let moved = done(command);
    assert_eq!(moved.code, 0, "{moved:?}");
    let counted = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&counted.stdout).into_owned();
    assert!(counted.status.success(), "{counted:?} after {}", moved.out);
    let (answers, gap) = said.trim().split_once(' ').unwrap();
    assert!(answers.parse::<u32>().unwrap() > 100, "{said}");
    eprintln!("{}client: {answers} answers, the longest wait {gap} ms", moved.out);
    assert_eq!(target.status(), "running");
    assert_eq!(saved.container.rt(&["state", &saved.container.id]).code, 1);
}

/// A script that runs in the end.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let mut command = Command::new("sh");
        command.args(["-c", &self.0]);
        done(command);
    }
}
