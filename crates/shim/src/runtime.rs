//! The command lines of the runtime, and the words in which it says what went wrong.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::options::Options;
use crate::sys;

/// Where the runtime keeps its states when the options name no place; the one of containerd's own shim,
/// so that `rt --root` finds the containers of both.
const ROOT: &str = "/run/containerd/runc";

/// What systemd tells containerd itself. A runtime with a NOTIFY_SOCKET waits for its container to say
/// that it is ready.
const OF_THE_DAEMON: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// How the runtime is called for one container.
#[derive(Clone, Debug)]
pub struct Runtime {
    binary: PathBuf,
    root: PathBuf,
    systemd_cgroup: bool,
    bundle: PathBuf,
}

impl Runtime {
    /// The runtime of the options, for the container in this bundle.
    pub fn new(options: &Options, namespace: &str, bundle: &Path, systemd_cgroup: bool) -> Runtime {
        let root = if options.root.is_empty() { ROOT } else { &options.root };
        Runtime {
            binary: binary(&options.binary_name),
            root: Path::new(root).join(namespace),
            systemd_cgroup,
            bundle: bundle.to_owned(),
        }
    }

    /// Whether rt knows a container of this id. Other runtimes may keep their states otherwise.
    pub fn has_state(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// The log of a command, by its number.
    pub fn log(&self, number: u64) -> PathBuf {
        self.bundle.join(format!("log-{number}.json"))
    }

    /// `rt VERB`, to be completed. It logs to `log`, runs in the bundle, and does not outlive the shim.
    pub fn command(&self, log: &Path, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).arg("--log").arg(log).args(["--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.arg(verb).current_dir(&self.bundle);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for name in OF_THE_DAEMON {
            command.env_remove(name);
        }
        sys::end_with_the_shim(&mut command);
        command
    }
}

/// The runtime's program: what the options name, or else the `rt` beside the shim, or in PATH. (There
/// is another program of this name in PATH on hosts with the ticket system rt5.)
pub fn binary(name: &str) -> PathBuf {
    if !name.is_empty() {
        return name.into();
    }
    let beside = std::env::current_exe().ok().map(|shim| shim.with_file_name("rt"));
    beside.filter(|rt| rustix::fs::access(rt, rustix::fs::Access::EXEC_OK).is_ok()).unwrap_or_else(|| "rt".into())
}

/// A message of the runtime's log.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// Takes the last error out of a log that a command has written, and removes the log.
pub fn take_error(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let _ = fs::remove_file(log);
    let lines = text.split(|byte| *byte == b'\n').rev();
    let mut entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    entries.find(|entry| entry.level == "error").map(|entry| entry.msg.trim().to_owned())
}

/// What is said of a command that could not be executed.
pub fn not_started(program: &OsStr, error: &std::io::Error) -> String {
    format!("exec: {program:?}: {}", crate::error::errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line() {
        let options = Options { binary_name: "/x/rt".into(), ..Options::default() };
        let command = Runtime::new(&options, "moby", Path::new("/b"), true).command(Path::new("/b/log"), "create");
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        let wanted = "--root /run/containerd/runc/moby --log /b/log --log-format json --systemd-cgroup create";
        assert_eq!(words.join(" "), wanted);
        // Inherited by a containerd that systemd has started with Type=notify.
        assert!(command.get_envs().any(|variable| variable == (OsStr::new("NOTIFY_SOCKET"), None)));
        assert_eq!((command.get_program(), command.get_current_dir()), (OsStr::new("/x/rt"), Some(Path::new("/b"))));
    }

    /// Also runc's log, which has warnings and lines of other levels.
    #[test]
    fn the_last_error_counts() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "{\"level\":\"error\",\"msg\":\"first\"}\nrubbish\n{\"level\":\"error\",\"msg\":\"last \"}\n{\"level\":\"info\",\"msg\":\"x\"}\n")
            .unwrap();
        assert_eq!(take_error(&log), Some("last".to_owned()));
        assert!(!log.exists());
        assert_eq!(take_error(&log), None);
    }
}
