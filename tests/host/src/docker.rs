//! A dockerd of a test's own, with rt as its runtime and a busybox image `bb`; no registry.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Bundle, Done, done, rt};

/// Skips a test without Docker.
#[macro_export]
macro_rules! need_docker {
    () => {
        $crate::need!(std::process::Command::new("dockerd").arg("--version").output().is_ok(), "needs docker.io");
    };
}

/// The daemon, with everything it has in one directory. Dropped, it takes its containers with it.
pub struct Daemon {
    dir: TempDir,
    child: Child,
}

impl Daemon {
    /// Starts dockerd and makes the image `bb` of busybox.
    pub fn start() -> Daemon {
        Daemon::with_image(&Bundle::new(&["true"]))
    }

    /// Starts dockerd and makes the image `bb` of the bundle's root filesystem.
    pub fn with_image(bundle: &Bundle) -> Daemon {
        Daemon::prepared(bundle, "", &[])
    }

    /// Starts dockerd with options of its own, after a shell has run `setup` in its directory and
    /// its namespaces.
    pub fn start_with(setup: &str, options: &[&str]) -> Daemon {
        Daemon::prepared(&Bundle::new(&["true"]), setup, options)
    }

    fn prepared(bundle: &Bundle, setup: &str, options: &[&str]) -> Daemon {
        let dir = tempfile::Builder::new().prefix("rt-docker-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let log = fs::File::create(path("log")).unwrap();
        // In namespaces of its own: its bridge, its packet filter and its mounts are not the
        // host's.
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
            .args(["--default-runtime", "rt", "--cgroup-parent"])
            .arg(format!("/{}", dir.path().file_name().unwrap().display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Daemon { dir, child };
        let end = Instant::now() + Duration::from_secs(60);
        while daemon.docker(&["version"]).code != 0 {
            let log = || fs::read_to_string(daemon.dir().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "dockerd: {}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        let import = format!("tar -C {} -c . | docker -H {} import - bb", bundle.rootfs().display(), daemon.host());
        let mut shell = Command::new("sh");
        shell.args(["-c", &import]);
        done(shell).ok();
        daemon
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its pid, which names its network namespace as well.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its address, as `docker -H` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir().join("sock").display())
    }

    /// Runs `docker ARGS`.
    pub fn docker(&self, args: &[&str]) -> Done {
        let mut command = Command::new("timeout");
        command.args(["60", "docker", "-H", &self.host()]).args(args);
        done(command)
    }

    /// Runs `docker run --rm ARGS`.
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
        let parent = self.dir().file_name().unwrap();
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(parent));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(parent));
        }
    }
}
