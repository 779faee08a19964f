//! A containerd of a test's own, with a busybox image; no registry.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Bundle, Done, cgroups_named, done, eventually, rt};

/// containerd's name for rt's own shim.
pub const SHIM: &str = "io.containerd.rt.v1";

/// The PATH of a daemon that finds rt's own shim, which lies beside rt.
pub fn path_with_shim() -> std::ffi::OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let directories = rt().parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&own));
    std::env::join_paths(directories).unwrap()
}

/// Skips a test without rt's own shim.
#[macro_export]
macro_rules! need_shim {
    () => {
        let shim = $crate::rt().with_file_name("containerd-shim-rt-v1");
        $crate::need!(shim.exists(), "needs containerd-shim-rt-v1 beside rt");
    };
}

/// Skips a test without containerd.
#[macro_export]
macro_rules! need_containerd {
    () => {
        let found = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
        $crate::need!(found("containerd") && found("ctr"), "needs containerd");
    };
}

/// The daemon, with everything it has in one directory. Dropped, it takes its containers with it.
pub struct Containerd {
    dir: TempDir,
    child: Child,
}

const IMAGE: &str = "test.invalid/bb:1";

impl Containerd {
    /// Starts containerd, and imports busybox.
    pub fn start() -> Containerd {
        let dir = tempfile::Builder::new().prefix("rt-containerd-").tempdir().unwrap();
        let plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"];
        let config = format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = {plugins:?}\n[grpc]\naddress = {sock:?}\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {opt:?}\n",
            root = dir.path().join("root"),
            state = dir.path().join("state"),
            sock = dir.path().join("sock"),
            opt = dir.path().join("opt"),
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        let child = Self::spawn(dir.path());
        let containerd = Containerd { dir, child };
        containerd.await_answer();
        let rootfs = Bundle::new(&["true"]);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/vm/tests/image.py");
        let tar = containerd.dir().join("image.tar");
        let mut image = Command::new("python3");
        image.arg(script).arg(IMAGE).arg(rootfs.rootfs()).stdout(fs::File::create(&tar).unwrap());
        assert!(image.status().unwrap().success());
        containerd.ctr(&["image", "import", tar.to_str().unwrap()]).ok();
        containerd
    }

    fn spawn(dir: &Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let mut command = Command::new("containerd");
        command.env("PATH", path_with_shim());
        command.arg("--config").arg(dir.join("config.toml")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn await_answer(&self) {
        eventually("containerd's answer", || self.ctr(&["version"]).code == 0);
    }

    /// Ends containerd, and starts it again; what it runs goes on under the shims.
    pub fn restart(&mut self) {
        self.stop();
        self.child = Self::spawn(self.dir.path());
        self.await_answer();
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }

    /// Kills containerd, and starts it again.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        let _ = self.child.wait();
        self.child = Self::spawn(self.dir.path());
        self.await_answer();
    }

    /// Removes the socket of a container's shim that was killed. containerd's own shim leaves it, and
    /// ours when containerd had not yet learnt of it.
    pub fn remove_socket(&self, id: &str) {
        let name = format!("{}/default/{id}", self.dir().join("sock").display());
        let mut digest = Command::new("sh");
        digest.args(["-ec", "printf %s \"$1\" | sha256sum | cut -d' ' -f1", "sh", &name]);
        let _ = fs::remove_file(Path::new("/run/containerd/s").join(done(digest).ok().trim_end()));
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `ctr ARGS`.
    pub fn ctr(&self, args: &[&str]) -> Done {
        done(self.command(args))
    }

    /// `ctr ARGS`, to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["60", "ctr", "--address"]).arg(self.dir().join("sock")).args(args);
        command
    }

    /// The arguments of `ctr run` for a task in the background, in a cgroup below a directory of
    /// the daemon's own. `runtime` is a program for containerd's shim, or [`SHIM`].
    pub fn task<'a>(&self, runtime: &'a str, cgroup: &'a str, id: &'a str, program: &[&'a str]) -> Vec<&'a str> {
        let options = ["run", "--detach", with(runtime), runtime, "--cgroup", cgroup, IMAGE, id];
        [&options, program].concat()
    }

    /// Runs `ctr run OPTIONS IMAGE ID PROGRAM` in a cgroup of the daemon's own.
    pub fn run(&self, runtime: &str, id: &str, options: &[&str], program: &[&str]) -> Done {
        let cgroup = format!("/{}/{id}", self.name());
        let start = ["run", with(runtime), runtime, "--cgroup", &cgroup];
        self.ctr(&[&start, options, &[IMAGE, id], program].concat())
    }

    /// A name that no other daemon has.
    pub fn name(&self) -> String {
        self.dir().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The tasks, each with its pid and its status.
    pub fn tasks(&self) -> Vec<(String, i32, String)> {
        let table = self.ctr(&["task", "list"]);
        let rows = table.ok().lines().skip(1).map(|row| {
            let mut words = row.split_whitespace().map(str::to_owned);
            let mut next = || words.next().unwrap();
            (next(), next().parse().unwrap(), next())
        });
        rows.collect()
    }
}

/// All that has `word` in its command line; zombies have none.
pub fn processes_with(word: &str) -> Vec<i32> {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| command_line(*pid).contains(word)).collect()
}

/// The command line of a process, its words between blanks.
pub fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// The option of `ctr run` that chooses the runtime.
fn with(runtime: &str) -> &'static str {
    if runtime == SHIM { "--runtime" } else { "--runc-binary" }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in self.ctr(&["container", "list", "--quiet"]).out.split_whitespace() {
            self.ctr(&["task", "delete", "--force", id]);
            self.ctr(&["container", "delete", id]);
        }
        self.stop();
        // The directory above the tasks' cgroups, in each hierarchy.
        let name = self.dir().file_name().unwrap().to_string_lossy().into_owned();
        for cgroup in cgroups_named(&name) {
            let _ = fs::remove_dir(cgroup.trim_start_matches("cgroup "));
        }
    }
}
