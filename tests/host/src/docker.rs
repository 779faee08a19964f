//! A dockerd for tests: private in all it has, images made from a directory, no registry.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Bundle, Done, done, rt};

/// A dockerd of our own, with everything it has in one directory.
#[derive(Debug)]
pub struct Daemon {
    /// Its directory, with `sock` and `log`.
    pub dir: TempDir,
    /// Its process, in a network namespace of its own.
    pub child: Child,
}

impl Default for Daemon {
    fn default() -> Self {
        Daemon::start()
    }
}

impl Daemon {
    /// Starts it, and waits until it answers.
    pub fn start() -> Daemon {
        Daemon::start_with("", &[])
    }

    /// Starts it with options of its own, after a shell has run `setup` in its mount and network namespace.
    pub fn start_with(setup: &str, options: &[&str]) -> Daemon {
        let dir = tempfile::Builder::new().prefix("rt-docker-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let log = fs::File::create(path("log")).unwrap();
        // In namespaces of its own: its bridge, its packet filter and its mounts are not the host's.
        let script = format!("set -e; ip link set lo up; cd {}; {setup}\nexec dockerd \"$@\"", dir.path().display());
        let child = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", &script, "dockerd"])
            .args(options)
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("-H")
            .arg(format!("unix://{}", path("sock").display()))
            .arg("--add-runtime")
            .arg(format!("rt={}", rt().display()))
            .args(["--default-runtime", "rt"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Daemon { dir, child };
        let end = Instant::now() + Duration::from_secs(60);
        while daemon.docker(&["version"]).code != 0 {
            assert!(
                Instant::now() < end,
                "dockerd: {}",
                fs::read_to_string(daemon.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        let bundle = Bundle::new(&["true"]);
        let import = format!(
            "tar -C {} -c . | docker -H unix://{} import - bb",
            bundle.rootfs().display(),
            daemon.dir.path().join("sock").display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &import]);
        done(shell).ok();
        daemon
    }

    /// Runs `docker`, for at most a minute.
    pub fn docker(&self, args: &[&str]) -> Done {
        let mut command = Command::new("timeout");
        command
            .args(["60", "docker", "-H"])
            .arg(format!("unix://{}", self.dir.path().join("sock").display()))
            .args(args);
        done(command)
    }

    /// Runs `docker run --rm`.
    pub fn run(&self, args: &[&str]) -> Done {
        self.docker(&[&["run", "--rm"], args].concat())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ids = self.docker(&["ps", "-aq"]).out;
        for id in ids.split_whitespace() {
            self.docker(&["rm", "-f", id]);
        }
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
        for name in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(name.path().join("docker"));
        }
    }
}
