//! Docker with rt as a runtime: a private dockerd, images made from a directory, no registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rt_tests::docker::Daemon;
use rt_tests::{done, need_docker, need_host};

/// Containers' directories that are still in the cgroup tree.
fn container_cgroups(ids: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in
            fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ids.iter().any(|id| name.contains(id.as_str())) {
                found.push(entry.path())
            } else {
                todo.push(entry.path())
            }
        }
    }
    found
}

/// What a user does with Docker in a day, on one daemon.
#[test]
fn a_day_with_docker() {
    need_host!();
    need_docker!();
    let d = Daemon::start();

    // Exit codes are the program's, and Docker's own for what cannot be run.
    for (args, code) in [
        (&["bb", "true"][..], 0),
        (&["bb", "sh", "-c", "exit 42"], 42),
        (&["bb", "nosuch"], 127),
        (&["bb", "/etc"], 126),
        (&["bb", "/tmp/script"], 126),
        (&["--no-such-flag", "bb"], 125),
    ] {
        let done = match args {
            ["bb", "/tmp/script"] => d.run(&["-v", "/etc/passwd:/tmp/script", "bb", "/tmp/script"]),
            args => d.run(args),
        };
        assert_eq!(done.code, code, "{args:?}: {done:?}");
    }
    let error = d.run(&["bb", "nosuch"]).err;
    assert!(error.contains("rt create failed: exec: \"nosuch\": executable file not found in $PATH"), "{error}");

    // Limits, users, rights, mounts.
    let limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max";
    if Path::new("/sys/fs/cgroup/memory").exists() {
        let seen = d.run(&["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "bb", "sh", "-c", limits]);
        assert_eq!(seen.ok(), "67108864\n50000\n50\n");
    }
    assert_eq!(d.run(&["-u", "1000:1000", "bb", "id", "-u"]).ok(), "1000\n");
    let caps = d.run(&["--cap-drop", "ALL", "bb", "grep", "-c", "^Cap.*0000000000000000", "/proc/self/status"]);
    assert_eq!(caps.ok(), "5\n");
    assert_eq!(d.run(&["bb", "grep", "Seccomp:", "/proc/self/status"]).ok(), "Seccomp:\t2\n");
    assert_eq!(
        d.run(&["--security-opt", "seccomp=unconfined", "bb", "grep", "Seccomp:", "/proc/self/status"]).ok(),
        "Seccomp:\t0\n"
    );
    let profile = d.dir().join("profile.json");
    let rules =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    fs::write(&profile, rules).unwrap();
    let custom = format!("seccomp={}", profile.display());
    assert!(d.run(&["--security-opt", &custom, "bb", "mkdir", "/tmp/x"]).err.contains("Operation not permitted"));
    assert!(d.run(&["--read-only", "bb", "touch", "/x"]).err.contains("Read-only"));
    assert!(d.run(&["--tmpfs", "/t:size=1m", "bb", "mount"]).ok().contains("size=1024k"));
    let volume = tempfile::tempdir().unwrap();
    let v = volume.path().display();
    d.run(&["-v", &format!("{v}:/v"), "bb", "touch", "/v/a"]).ok();
    assert!(volume.path().join("a").exists());
    assert!(d.run(&["-v", &format!("{v}:/v:ro"), "bb", "touch", "/v/b"]).err.contains("Read-only"));
    assert_eq!(d.run(&["--network", "none", "bb", "ls", "/sys/class/net"]).ok(), "lo\n");
    d.run(&["--network", "host", "bb", "true"]).ok();
    assert!(d.run(&["--privileged", "bb", "ls", "/dev"]).ok().lines().count() > 30);
    assert!(d.run(&["--init", "bb", "ps"]).ok().contains("docker-init"));
    assert_eq!(d.run(&["--sysctl", "net.ipv4.ip_forward=1", "bb", "cat", "/proc/sys/net/ipv4/ip_forward"]).ok(), "1\n");
    assert_eq!(d.run(&["--ulimit", "nofile=77:88", "bb", "sh", "-c", "ulimit -n; ulimit -Hn"]).ok(), "77\n88\n");
    assert!(d.run(&["--shm-size", "3m", "bb", "mount"]).ok().contains("size=3072k"));
    assert_eq!(
        d.run(&["--device", "/dev/fuse:/dev/mine", "bb", "stat", "-c", "%F", "/dev/mine"]).ok(),
        "character special file\n"
    );
    assert_eq!(d.run(&["--hostname", "box", "bb", "hostname"]).ok(), "box\n");

    // A published port, through Docker's bridge, proxy and the hook that configures the network
    // namespace.
    d.docker(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:8080:80",
        "bb",
        "nc",
        "-ll",
        "-p",
        "80",
        "-e",
        "echo",
        "served",
    ])
    .ok();
    let fetch = || {
        let mut command = Command::new("nsenter");
        command.args(["-t", &d.pid().to_string(), "-n", "timeout", "2", "/bin/busybox", "nc", "127.0.0.1", "8080"]);
        done(command).out
    };
    rt_tests::eventually("the published port", || fetch() == "served\n");
    d.docker(&["rm", "-f", "web"]).ok();

    // A container over time.
    let id = d
        .docker(&["run", "-d", "--name", "day", "bb", "sh", "-c", "echo started; while :; do sleep 0.2; done"])
        .ok()
        .trim()
        .to_owned();
    rt_tests::eventually("the log", || d.docker(&["logs", "day"]).out == "started\n");
    assert_eq!(d.docker(&["exec", "day", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(d.docker(&["exec", "-u", "5", "day", "id", "-u"]).ok(), "5\n");
    // 126 or 127 by Docker's version; the same as with runc is what counts.
    d.docker(&["run", "-d", "--name", "peer", "--runtime", "runc", "bb", "sleep", "1000"]).ok();
    assert_eq!(d.docker(&["exec", "day", "nosuch"]).code, d.docker(&["exec", "peer", "nosuch"]).code);
    d.docker(&["rm", "-f", "peer"]).ok();
    assert!(d.docker(&["top", "day"]).ok().contains("started"));
    d.docker(&["pause", "day"]).ok();
    assert_eq!(d.docker(&["inspect", "-f", "{{.State.Status}}", "day"]).ok(), "paused\n");
    d.docker(&["unpause", "day"]).ok();
    d.docker(&["update", "--memory", "100m", "--memory-swap", "200m", "day"]).ok();
    assert!(d.docker(&["stats", "--no-stream", "day"]).ok().contains("100MiB"));
    assert_eq!(
        d.run(&["--network", "container:day", "--pid", "container:day", "bb", "sh", "-c", "ps | grep -c '[s]tarted'"])
            .ok(),
        "1\n"
    );
    d.docker(&["restart", "-t", "1", "day"]).ok();
    d.docker(&["stop", "-t", "1", "day"]).ok();
    assert_eq!(d.docker(&["inspect", "-f", "{{.State.ExitCode}}", "day"]).ok(), "137\n");
    d.docker(&["start", "day"]).ok();
    d.docker(&["kill", "day"]).ok();
    d.docker(&["rm", "day"]).ok();

    // Many in a row, and many at once.
    let mut ids = vec![id];
    for _ in 0..100 {
        d.run(&["bb", "true"]).ok();
    }
    std::thread::scope(|s| {
        let all: Vec<_> = (0..20)
            .map(|n| {
                (
                    n,
                    s.spawn({
                        let d = &d;
                        move || d.run(&["bb", "sh", "-c", &format!("exit {n}")]).code
                    }),
                )
            })
            .collect();
        for (n, one) in all {
            assert_eq!(one.join().unwrap(), n);
        }
    });

    // Terminals, through a pty of our own.
    assert_eq!(with_terminal(&d, &["run", "-it", "--rm", "bb", "sh"]), 5);
    let id = d.docker(&["run", "-d", "--name", "tty", "bb", "sleep", "1000"]).ok().trim().to_owned();
    ids.push(id);
    assert_eq!(with_terminal(&d, &["exec", "-it", "tty", "sh"]), 5);
    d.docker(&["rm", "-f", "tty"]).ok();

    rt_tests::eventually("empty cgroups", || container_cgroups(&ids).is_empty());
    let states = d.dir().join("exec/runtime-rt/moby");
    assert_eq!(fs::read_dir(&states).into_iter().flatten().count(), 0, "state left in {}", states.display());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: Vec<_> =
        mounts.lines().filter(|l| l.contains(&*d.dir().to_string_lossy()) && l.contains("overlay")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Types into a shell that has a terminal, and returns its exit code.
fn with_terminal(d: &Daemon, args: &[&str]) -> i32 {
    let script = "
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
out = b''
def until(text):
    global out
    end = time.time() + 30
    while text not in out and time.time() < end:
        try: data = os.read(fd, 4096)
        except OSError: break
        if not data: break
        out += data
    return text in out
ok = until(b'#')
os.write(fd, b'tty; echo done-$((1+1))\\n')
ok = ok and until(b'/dev/pts/') and until(b'done-2')
os.write(fd, b'exit 5\\n')
until(b'\\0')
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stderr.write(repr(out))
sys.exit(code if ok else 99)
";
    let mut command = Command::new("python3");
    command.args(["-c", script, "docker", "-H", &d.host()]).args(args);
    let done = done(command);
    if done.code != 5 {
        eprintln!("{done:?}");
    }
    done.code
}
