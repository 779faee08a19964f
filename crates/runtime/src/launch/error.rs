//! What can go wrong while a process is launched, in the words of the field that caused it.

use std::borrow::Cow;
use std::fmt::Write as _;

use rt_plan::spec::Pointer;
use rt_plan::{EXEC, Op, what};
use rt_protocol::op::{self, flag};
use rt_protocol::report::{Report, Step};
use rt_sys::errno::text;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::net::RecvFlags;
use rustix::process::geteuid;

use super::reports::Message;

/// What the parent was doing when the process could not be made.
pub(super) const CLONE: &str = "clone a process into the container's namespaces";
/// The same, of the process that is made inside joined namespaces.
pub(super) const CLONE_INSIDE: &str = "clone a process inside the joined namespaces";

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
    /// A namespace that cannot be joined.
    #[error("{pointer}/path: join the {kind} namespace {path:?}: {}", text(*errno))]
    Join {
        /// Its entry in the config.
        pointer: String,
        /// Its kind, as in the config.
        kind: &'static str,
        /// Its file.
        path: String,
        /// Why it cannot be joined.
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
    #[error("/hooks/{kind}/{index}: error running {kind} hook #{index}: {path:?}: {how}")]
    Hook {
        /// The kind, as in config.json.
        kind: &'static str,
        /// Its place among those of its kind.
        index: usize,
        /// Its program.
        path: String,
        /// What became of it.
        how: String,
    },
    /// A program that maps ids for an ordinary user.
    #[error("{pointer}: {program:?}: {how}")]
    Helper {
        /// The field.
        pointer: &'static str,
        /// The program.
        program: &'static str,
        /// What became of it.
        how: String,
    },
    /// A signal ended the runtime before there was a container that could have received it.
    #[error("interrupted by signal {signal} before the program was started")]
    Interrupted {
        /// Its number.
        signal: i32,
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
    pub fn pointer(&self) -> Option<Cow<'_, str>> {
        match self {
            LaunchError::Named { pointer, .. } | LaunchError::Op { pointer, .. } => Some(pointer.into()),
            LaunchError::Hook { kind, index, .. } => Some(format!("/hooks/{kind}/{index}").into()),
            LaunchError::Join { pointer, .. } => Some(format!("{pointer}/path").into()),
            LaunchError::Helper { pointer, .. } => Some((*pointer).into()),
            _ => None,
        }
    }

    /// The errno behind it.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            LaunchError::Parent { errno, .. } | LaunchError::Named { errno, .. } | LaunchError::Join { errno, .. } => {
                Some(*errno)
            }
            LaunchError::Op { errno, .. } => *errno,
            _ => None,
        }
    }

    /// Whether it was the process that could not be made.
    pub fn is_of_clone(&self) -> bool {
        matches!(self, LaunchError::Parent { what: CLONE | CLONE_INSIDE, .. })
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match (&*self.pointer()?, self.errno()?) {
            (p, Errno::NOENT) if p.starts_with("/mounts/") => {
                Some("the source is looked up on the host; create it, or drop the mount")
            }
            (p, Errno::NOTDIR) if p.starts_with("/mounts/") => {
                Some("a directory can be mounted on a directory only, and a file on a file")
            }
            // Its own sentence says which file is missing.
            ("/process/args", Errno::NOENT | Errno::NOEXEC) => None,
            (p, Errno::NOENT) if p.starts_with("/process/args") => {
                Some("the program is looked up inside the rootfs, in the PATH of /process/env")
            }
            (p, Errno::ACCESS) if p.starts_with("/process/args") => {
                Some("make the file executable for the user in /process/user")
            }
            (p, Errno::NOEXEC) if p.starts_with("/process/args") => {
                Some("the file is no program for this machine: a wrong architecture, or a script without #!")
            }
            (p, Errno::INVAL) if p.starts_with("/linux/namespaces/") => {
                Some("the file is a namespace of another kind; /proc/PID/ns has one for each")
            }
            (p, Errno::NOENT) if p.starts_with("/root/path") => Some("the path is relative to the bundle"),
            ("/process/selinuxLabel" | "/process/apparmorProfile", Errno::NOENT | Errno::INVAL) => {
                Some("leave the field out, or turn the security module on; `rt check` says whether this host has it")
            }
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
    if let Op::Sysctl { path, .. } = op {
        let key = path.0.to_string_lossy().trim_start_matches("sys/").replace('/', ".");
        return explain(&what(op), format!("{at}/{key}"), report, detail);
    }
    if let Op::Mount(op::Mount { fstype, flags, .. }) = op
        && flags & flag::REAL_DIRECTORY != 0
        && report.step == Step::Target
    {
        // Users know this sentence.
        let what = format!("{}: filesystem {:?} must be mounted on ordinary directory", what(op), fstype.0);
        return explain(&what, at.to_string(), report, detail);
    }
    if let Some(module) = missing_module(&at.to_string()) {
        return explain(&format!("{module}: {}", what(op)), at.to_string(), report, detail);
    }
    // A deadline is a promise about all CPUs of a scheduling domain (sched(7)), and a cpuset
    // divides the domain.
    if matches!(op, Op::Scheduler { policy: SCHED_DEADLINE, .. }) && report.errno == Errno::PERM.raw_os_error() as u32 {
        let what = "scheduler: process scheduler can't be used together with AllowedCPUs";
        return explain(what, at.to_string(), report, detail);
    }
    if matches!(op, Op::MemoryPolicy { .. }) {
        return explain("invalid memory policy", at.to_string(), report, detail);
    }
    if let Op::FindProgram { file, search } = op {
        return not_found(&file.0.to_string_lossy(), search.0.is_empty(), at, report);
    }
    explain(&what(op), at.to_string(), report, detail)
}

/// The error of a report about an op after the start barrier, which came over `peer`.
pub fn from_late_report(op: &LateOp, report: &Report, detail: &[u8], peer: &OwnedFd) -> LaunchError {
    if op.what.starts_with(EXEC) {
        let errno = Errno::from_raw_os_error(report.errno as i32);
        return of_program(&op.what, op.pointer.clone(), errno, &next_report(peer));
    }
    explain(&op.what, op.pointer.clone(), report, detail)
}

/// SCHED_DEADLINE (sched(7)).
const SCHED_DEADLINE: u32 = 6;

/// The detail of the next report; empty if there is none.
pub fn next_report(peer: &OwnedFd) -> Vec<u8> {
    let message = Message::receive(peer, RecvFlags::empty()).ok();
    let detail = message.as_ref().and_then(|message| message.report()).map(|(_, detail)| detail.to_vec());
    detail.unwrap_or_default()
}

/// The error of a program that was found and could not be executed; `read` is what init knows of
/// the file.
pub fn of_program(what: &str, pointer: String, errno: Errno, read: &[u8]) -> LaunchError {
    // The kernel uses these errnos for faults of the file, and others for faults of the process.
    let by_file = matches!(errno, Errno::NOENT | Errno::NOEXEC | Errno::LIBBAD | Errno::INVAL);
    let why = if by_file { crate::host::program::explain(read) } else { None };
    let message = format!("{pointer}: {}: {}", why.as_deref().unwrap_or(what), text(errno));
    LaunchError::Op { pointer, message, errno: Some(errno) }
}

/// The first system call without which init cannot work and which this process may not make either:
/// rt then runs under a seccomp profile that is older than the call, as in a container of an older
/// engine. Each call is made in a way that changes nothing.
fn refused_call() -> Option<&'static str> {
    let refused = |errno| matches!(errno, Errno::NOSYS | Errno::PERM);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if openat2(CWD, c"/", flags, Mode::empty(), ResolveFlags::empty()).is_err_and(refused) {
        return Some("openat2");
    }
    if open_tree(CWD, c"/", OpenTreeFlags::OPEN_TREE_CLOEXEC).is_err_and(refused) {
        return Some("open_tree");
    }
    // Without a right to mount this is EPERM by itself.
    match move_mount(CWD, c"", CWD, c"", MoveMountFlags::empty()) {
        Err(Errno::NOSYS) => Some("move_mount"),
        Err(Errno::PERM) if geteuid().is_root() => Some("move_mount"),
        _ => None,
    }
}

/// The sentence for a field of a security module that this host does not have.
fn missing_module(pointer: &str) -> Option<&'static str> {
    let lacks = |path: &str| !std::path::Path::new(path).exists();
    match pointer {
        "/process/selinuxLabel" if lacks("/sys/fs/selinux/enforce") => {
            Some("selinux label is specified in config, but selinux is disabled or not supported")
        }
        "/process/apparmorProfile" if lacks("/sys/kernel/security/apparmor") => {
            Some("apparmor profile is specified in config, but apparmor is disabled or not supported")
        }
        _ => None,
    }
}

fn explain(what: &str, pointer: String, report: &Report, detail: &[u8]) -> LaunchError {
    let mut message = format!("{pointer}: {what}");
    // Engines and their users look for these words.
    if let Some((kind, index)) = pointer.strip_prefix("/hooks/").and_then(|rest| rest.split_once('/')) {
        message = format!("{pointer}: error running {kind} hook #{index}: {what}");
    }
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
        let refused = if matches!(errno, Errno::NOSYS | Errno::PERM) { refused_call() } else { None };
        if let Some(call) = refused {
            let _ = write!(message, ": {call} is refused by a seccomp profile around this runtime");
        }
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
