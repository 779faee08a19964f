//! What the integration tests share: bundles, containers that clean up after themselves, and the
//! look for leftovers.
//!
//! The tests run the binary that `RT_BIN` names, or the release build. They need root and a static
//! busybox; without, they say so and are skipped.

pub mod checkpoint;
pub mod containerd;
pub mod docker;
pub mod every_way;
pub mod seccomp;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Returns from a test that cannot run here, and says why.
#[macro_export]
macro_rules! need {
    ($condition:expr, $($why:tt)*) => {
        if !$condition {
            eprintln!("skipped: {}", format_args!($($why)*));
            return;
        }
    };
}

/// Skips a test without root or busybox.
#[macro_export]
macro_rules! need_host {
    () => {
        $crate::need!(rustix::process::geteuid().is_root(), "needs root");
        $crate::need!(std::path::Path::new("/bin/busybox").exists(), "needs busybox-static");
    };
}

/// A CRIU that works, or the end of a test that needs it.
#[macro_export]
macro_rules! need_criu {
    () => {{
        $crate::need_host!();
        let found = $crate::checkpoint::criu();
        $crate::need!(found.is_some(), "needs CRIU 4.2 or later (hack/criu)");
        found.unwrap()
    }};
}

/// The machine that uname(2) names under the personality LINUX32.
pub const MACHINE_OF_32_BITS: &str = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };

/// The binary under test.
pub fn rt() -> PathBuf {
    if let Some(path) = std::env::var_os("RT_BIN") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(format!("target/{}-unknown-linux-musl/release/rt", std::env::consts::ARCH))
}

/// A bundle in a temporary directory: busybox and `rt spec`'s config without a terminal.
pub struct Bundle {
    dir: Arc<TempDir>,
    /// The config, to be changed before the container is made.
    pub config: Value,
}

const APPLETS: &[&str] = &[
    "sh",
    "ls",
    "cat",
    "true",
    "false",
    "echo",
    "sleep",
    "mount",
    "ps",
    "id",
    "hostname",
    "touch",
    "mkdir",
    "head",
    "grep",
    "env",
    "pwd",
    "stat",
    "wc",
    "kill",
    "readlink",
    "tty",
    "stty",
    "dd",
    "nice",
    "ionice",
    "dmesg",
    "ln",
    "test",
    "mknod",
    "ip",
    "uname",
    "date",
    "tail",
    "setsid",
    "cut",
    "sort",
    "find",
    "chmod",
    "rm",
    "umount",
    "tr",
    "seq",
    "nslookup",
    "nc",
    "dnsdomainname",
    "unshare",
];

impl Bundle {
    /// A bundle that runs `sh -c script`.
    pub fn shell(script: &str) -> Bundle {
        Bundle::new(&["sh", "-c", script])
    }

    /// A bundle that runs `args`.
    pub fn new(args: &[&str]) -> Bundle {
        let dir = tempfile::Builder::new().prefix("rt-test-").tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            .unwrap();
        let made = Command::new(rt()).args(["spec", "--bundle"]).arg(dir.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = args.into();
        config["root"]["readonly"] = false.into();
        // Where cgroup v1 is, `spec` leaves this kind out.
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespaces.iter().any(|namespace| namespace["type"] == "cgroup") {
            namespaces.push(serde_json::json!({"type": "cgroup"}));
        }
        Bundle { dir: Arc::new(dir), config }
    }

    /// Changes the config.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.config);
        self
    }

    /// Adds a mount.
    pub fn mount(self, destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Bundle {
        let source = source.as_ref().to_string_lossy().into_owned();
        let mount = serde_json::json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.with(|c| c["mounts"].as_array_mut().unwrap().push(mount))
    }

    /// Leaves a kind of namespace out.
    pub fn without_namespace(self, kind: &str) -> Bundle {
        self.with(|c| c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind))
    }

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The rootfs.
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Writes config.json.
    pub fn write(&self) {
        fs::write(self.path().join("config.json"), self.config.to_string()).unwrap();
    }

    /// Runs the container in the foreground.
    pub fn run(&self) -> Done {
        self.run_with(&[])
    }

    /// Runs the container in the foreground with options of `run`.
    pub fn run_with(&self, options: &[&str]) -> Done {
        let container = Container::new();
        self.write();
        let mut command = container.command();
        command.arg("run").args(options).arg("--bundle").arg(self.path()).arg(&container.id);
        done(command)
    }

    /// Creates a container that waits for `start`.
    pub fn create(&self) -> Container {
        let mut container = Container::new();
        container.bundle = Some(Arc::clone(&self.dir));
        let done = self.try_create(&container, &[]);
        assert_eq!(done.code, 0, "{done:?}");
        container
    }

    /// Creates and starts a container.
    pub fn start(&self) -> Container {
        let container = self.create();
        container.rt(&["start", &container.id]).ok();
        container
    }

    /// `create` with options, whatever comes of it.
    pub fn try_create(&self, container: &Container, options: &[&str]) -> Done {
        self.write();
        let mut command = container.command();
        command.arg("create").args(options).arg("--bundle").arg(self.path()).arg(&container.id);
        done(command)
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    /// The exit code; 128 and the signal if it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Asserts success and gives standard output.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        &self.out
    }

    /// Asserts a failure with this exit code, whose only line on standard error has `text` in it.
    #[track_caller]
    pub fn fails(&self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(text), "{text:?} is not in {:?}", self.err);
        assert_eq!(self.err.trim_end().lines().count(), 1, "one line was promised: {:?}", self.err);
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Done {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end through files: what is left running may keep a pipe open for ever.
pub fn done(mut command: Command) -> Done {
    let out = tempfile::tempfile().unwrap();
    let err = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let status = command.status().unwrap();
    let text = |mut file: fs::File| {
        use std::io::{Read, Seek};
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    Output { status, stdout: text(out), stderr: text(err) }.into()
}

/// A container with a state root of its own. Dropped, it is deleted, and the test fails if anything
/// is left.
pub struct Container {
    /// Its id, unlike any other's.
    pub id: String,
    root: TempDir,
    /// Kept as long as the container lives.
    bundle: Option<Arc<TempDir>>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Default for Container {
    fn default() -> Self {
        Container::new()
    }
}

impl Container {
    /// An id and a root; nothing is made yet.
    pub fn new() -> Container {
        let id = format!("rt-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Container { id, root: tempfile::Builder::new().prefix("rt-root-").tempdir().unwrap(), bundle: None }
    }

    /// The state root.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// `rt --root …`, to be completed.
    pub fn command(&self) -> Command {
        let mut command = Command::new(rt());
        command.arg("--root").arg(self.root.path());
        command
    }

    /// Runs `rt` with the container's root.
    pub fn rt<S: AsRef<OsStr>>(&self, args: &[S]) -> Done {
        let mut command = self.command();
        command.args(args);
        done(command)
    }

    /// Executes a program in the container.
    pub fn exec(&self, args: &[&str]) -> Done {
        self.exec_with(&[], args)
    }

    /// Executes a program with options of `exec`.
    pub fn exec_with(&self, options: &[&str], args: &[&str]) -> Done {
        let mut command = self.command();
        command.arg("exec").args(options).arg(&self.id).args(args);
        done(command)
    }

    /// The state document.
    pub fn state(&self) -> Value {
        serde_json::from_str(self.rt(&["state", &self.id]).ok()).unwrap()
    }

    /// The status.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Init's pid.
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().unwrap() as i32
    }

    /// Waits until the container has this status.
    pub fn await_status(&self, wanted: &str) {
        eventually(&format!("status {wanted}"), || self.status() == wanted);
    }

    /// What is left of the container: state, cgroups, mounts.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.root.path().join(&self.id).exists() {
            found.push(format!("state directory {}", self.id));
        }
        found.extend(cgroups_named(&self.id));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.extend(mounts.lines().filter(|l| l.contains(&self.id)).map(|l| format!("mount {l}")));
        found
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.rt(&["delete", "--force", &self.id]);
        // Others that a failed test has left with the same root.
        for other in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let _ = self.rt(&["delete".as_ref(), "--force".as_ref(), other.file_name().as_os_str()]);
        }
        let left = self.leftovers();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// Directories of cgroups that a container of this name made.
pub fn cgroups_named(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(id) {
                found.push(format!("cgroup {}", entry.path().display()));
            } else {
                todo.push(entry.path());
            }
        }
    }
    found
}

/// Waits until something holds; fails after ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The directory of a process's cgroup of one v1 controller, or of v2.
pub fn cgroup_dir(pid: i32, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let v1 = text.lines().find_map(|l| {
        let mut parts = l.splitn(3, ':');
        let names = parts.nth(1)?;
        names.split(',').any(|n| n == controller).then(|| parts.next().unwrap().to_owned())
    });
    match v1 {
        Some(path) => Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')),
        None => {
            let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap();
            Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
        }
    }
}

/// `hack/on-cgroup2`, to be followed by a command: it runs where cgroups are v2 alone, as on most
/// hosts, whatever this one has.
pub fn on_cgroup2() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/on-cgroup2"))
}
