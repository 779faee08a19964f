//! What can go wrong while a process is launched, in the words of the field that caused it.

use std::fmt::Write as _;

use rt_init::report::{Report, Step};
use rt_sys::errno::text;
use rustix::io::Errno;

use crate::plan::{Op, limit_name};
use crate::spec::Pointer;

/// Why a process could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A step of the parent.
    #[error("{what}: {}", text(*errno))]
    Parent {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// A step of the parent about a named thing.
    #[error("{pointer}: {what} {name:?}: {}", text(*errno))]
    Named {
        /// The field.
        pointer: String,
        /// What was being done.
        what: &'static str,
        /// The file or program.
        name: String,
        /// Why it failed.
        errno: Errno,
    },
    /// An op of init.
    #[error("{message}")]
    Op {
        /// The field the op comes from.
        pointer: String,
        /// The sentence, with the pointer where it helps, ending in the errno text.
        message: String,
        /// The errno, if there was one.
        errno: Option<Errno>,
    },
    /// A hook that the parent ran.
    #[error("{pointer}: hook {path:?}: {how}")]
    Hook {
        /// The hook's place in the config.
        pointer: String,
        /// Its program.
        path: String,
        /// What became of it.
        how: String,
    },
    /// Init ended without a report.
    #[error("container init ended before it was ready: {how}")]
    Died {
        /// Exit status, signal, or the limit that killed it.
        how: String,
    },
}

impl LaunchError {
    /// Names a failed step of the parent.
    pub fn parent(what: &'static str) -> impl FnOnce(Errno) -> LaunchError {
        move |errno| LaunchError::Parent { what, errno }
    }

    /// The field the error is about.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            LaunchError::Named { pointer, .. }
            | LaunchError::Op { pointer, .. }
            | LaunchError::Hook { pointer, .. } => Some(pointer),
            _ => None,
        }
    }

    /// The errno behind it.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            LaunchError::Parent { errno, .. } | LaunchError::Named { errno, .. } => Some(*errno),
            LaunchError::Op { errno, .. } => *errno,
            _ => None,
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.pointer()?, self.errno()?) {
            (p, Errno::NOENT) if p.starts_with("/mounts/") => {
                Some("the source is looked up on the host; create it, or drop the mount")
            }
            (p, Errno::NOTDIR) if p.starts_with("/mounts/") => {
                Some("a directory can be mounted on a directory only, and a file on a file")
            }
            (p, Errno::NOENT) if p.starts_with("/process/args") => {
                Some("the program is looked up inside the rootfs, in the PATH of /process/env")
            }
            (p, Errno::ACCESS) if p.starts_with("/process/args") => {
                Some("make the file executable for the user in /process/user")
            }
            (p, Errno::NOEXEC) if p.starts_with("/process/args") => {
                Some("the file is no program for this machine: a wrong architecture, or a script without #!")
            }
            (p, Errno::NOENT) if p.starts_with("/root/path") => Some("the path is relative to the bundle"),
            (p, Errno::PERM) if p.starts_with("/process/rlimits") => {
                Some("raising a hard limit takes CAP_SYS_RESOURCE, and no RLIMIT_NOFILE is above /proc/sys/fs/nr_open")
            }
            (p, Errno::INVAL) if p.starts_with("/root/path") => {
                Some("pivot_root does not work on an initramfs; use --no-pivot there")
            }
            _ => None,
        }
    }
}

/// An op that may fail after `create` has returned, kept in the state for `start`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct LateOp {
    /// Its index in the plan.
    pub index: u32,
    /// The field it comes from.
    pub pointer: String,
    /// What it does.
    pub what: String,
}

/// The error of a report about `op`.
pub fn from_report(op: &Op, at: Pointer, report: &Report, detail: &[u8]) -> LaunchError {
    if let Op::FindProgram { file, search } = op {
        return not_found(&file.0.to_string_lossy(), search.0.is_empty(), at, report);
    }
    explain(&what(op), at.to_string(), report, detail)
}

/// The error of a report about an op after the start barrier.
pub fn from_late_report(op: &LateOp, report: &Report, detail: &[u8]) -> LaunchError {
    explain(&op.what, op.pointer.clone(), report, detail)
}

fn explain(what: &str, pointer: String, report: &Report, detail: &[u8]) -> LaunchError {
    let mut message = format!("{pointer}: {what}");
    let detail = String::from_utf8_lossy(detail);
    let errno = match report.step {
        Step::HookExit => {
            let _ = write!(message, ": exit status {}", report.errno);
            None
        }
        Step::HookSignal => {
            let _ = write!(message, ": killed by signal {}", report.errno);
            None
        }
        Step::HookTimeout => {
            let _ = write!(message, ": killed after its timeout of {} s", report.errno / 1000);
            None
        }
        step => {
            if let Some(step) = step.text() {
                let _ = write!(message, ": {step}");
            }
            Some(Errno::from_raw_os_error(report.errno as i32))
        }
    };
    if !detail.is_empty() {
        let _ = write!(message, " ({detail})");
    }
    if let Some(errno) = errno {
        let _ = write!(message, ": {}", text(errno));
    }
    LaunchError::Op { pointer, message, errno }
}

/// The sentences of Go's exec.LookPath, which engines turn into exit codes 126 and 127.
fn not_found(file: &str, no_path: bool, at: Pointer, report: &Report) -> LaunchError {
    let errno = Errno::from_raw_os_error(report.errno as i32);
    let why = match errno {
        Errno::NOENT if !file.contains('/') && no_path => {
            "executable file not found in $PATH (PATH is not set)".to_owned()
        }
        Errno::NOENT if !file.contains('/') => "executable file not found in $PATH".to_owned(),
        Errno::NOENT | Errno::NOTDIR => format!("stat {file}: {}", text(errno)),
        other => text(other).to_owned(),
    };
    LaunchError::Op { pointer: at.to_string(), message: format!("exec: {file:?}: {why}"), errno: Some(errno) }
}

/// What an op does, as the middle of a sentence.
pub fn what(op: &Op) -> String {
    match op {
        Op::Mount { fstype, source, target, .. } => {
            format!("mount of {} {:?} on {:?}", fstype.0.to_string_lossy(), source.0, target.0)
        }
        Op::Bind { source, target, .. } => format!("bind mount of {:?} on {:?}", source.0, target.0),
        Op::Root { path, .. } => format!("rootfs {:?}", path.0),
        Op::Directory { path, .. } => format!("directory {:?}", path.0),
        Op::Node { path, .. } => format!("device node {:?}", path.0),
        Op::Symlink { path, .. } => format!("symlink {:?}", path.0),
        Op::Mask { path } => format!("mask {:?}", path.0),
        Op::ReadOnly { path } => format!("make {:?} read-only", path.0),
        Op::Attributes { path, .. } => format!("set the mount attributes of {:?}", path.0),
        Op::Sysctl { path, .. } => format!("write {:?} below /proc", path.0),
        Op::Hook { path, .. } => format!("hook {:?}", path.0),
        Op::Exec { .. } => "exec".to_owned(),
        Op::WorkingDirectory { path, .. } => format!("chdir to {:?}", path.0),
        Op::PivotRoot { .. } => "pivot_root".to_owned(),
        Op::MoveRoot {} => "move the rootfs over /".to_owned(),
        Op::Chroot {} => "chroot".to_owned(),
        Op::Terminal { .. } => "terminal".to_owned(),
        Op::JoinCgroup { .. } => "join the cgroup".to_owned(),
        Op::User { uid, gid, .. } => format!("become user {uid}, group {gid}"),
        // Podman looks for a procfs attribute path in backquotes to tell a label problem from others.
        Op::PrepareLabel { file } => format!("open `/proc/{}`", file.0.to_string_lossy()),
        Op::Label { value } => {
            let value = String::from_utf8_lossy(&value.0);
            let file = if value.starts_with("exec ") { "attr/apparmor/exec" } else { "attr/exec" };
            format!("write {value:?} to `/proc/self/{file}`")
        }
        Op::Seccomp { .. } => "attach the seccomp filter".to_owned(),
        Op::Limit { resource, hard, .. } if *hard == u64::MAX => format!("set {} to unlimited", limit_name(*resource)),
        Op::Limit { resource, hard, .. } => format!("set {} to {hard}", limit_name(*resource)),
        other => {
            let mut out = String::new();
            for (i, c) in other.name().char_indices() {
                if c.is_uppercase() && i > 0 {
                    out.push(' ');
                }
                out.extend(c.to_lowercase());
            }
            out
        }
    }
}
