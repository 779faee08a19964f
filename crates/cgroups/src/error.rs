//! What can go wrong with a cgroup, each case with the facts a person needs to act on it.
//!
//! The text ends in the errno's words, because engines match them. The field of `linux.resources`
//! that asked for the failed operation is not in the text: the caller knows what the pointer is
//! relative to, and puts it in front.

use std::path::PathBuf;

use rt_sys::errno::text;
use rustix::io::Errno;

/// A failed operation on a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file or directory of cgroupfs.
    #[error("{action} {path}: {}", text(*errno), path = path.display())]
    Call {
        /// What was tried: `open`, `mkdir`, `read`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
    },
    /// The kernel refused a value.
    #[error("write {value:?} to {path}: {}", text(*errno), path = path.display())]
    Write {
        /// The field the value comes from, relative to `/linux/resources`.
        pointer: Option<String>,
        /// The control file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why it was refused.
        errno: Errno,
    },
    /// A control file has contents that no kernel known to us writes.
    #[error("{path}: cannot make sense of {content:?}", path = path.display())]
    Malformed {
        /// The control file.
        path: PathBuf,
        /// The part that was not understood.
        content: String,
    },
    /// A limit needs a controller that the cgroup does not have.
    #[error("controller {controller:?} is not available for {path}", path = path.display())]
    ControllerUnavailable {
        /// The field that needs it.
        pointer: String,
        /// Its name.
        controller: String,
        /// The cgroup.
        path: PathBuf,
    },
    /// A value that no kernel takes.
    #[error("{value:?}: {why}")]
    Invalid {
        /// The field.
        pointer: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kernel clamped `cpu.shares` of cgroup v1.
    #[error("cpu shares {asked} are out of range, the kernel made them {got}")]
    SharesOutOfRange {
        /// What was written.
        asked: u64,
        /// What reads back.
        got: u64,
    },
    /// A memory limit below what is in use.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak}): {}", text(*errno))]
    LimitBelowUsage {
        /// The limit asked for.
        limit: i64,
        /// Bytes in use now.
        usage: u64,
        /// Most bytes ever in use.
        peak: u64,
        /// The kernel's answer.
        errno: Errno,
    },
    /// `memory.checkBeforeUpdate` found the limit too low.
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    UsageCheck {
        /// The field.
        pointer: &'static str,
        /// `memory` or `memory+swap`.
        what: &'static str,
        /// The limit asked for.
        limit: i64,
        /// Bytes in use now.
        usage: u64,
    },
    /// cgroup v1 cannot take one device out of a wildcard.
    #[error("cgroup v1 cannot except {rule} from the wider rule {wider}")]
    DeviceHole {
        /// The narrower rule.
        rule: String,
        /// The rule it would have to be cut out of.
        wider: String,
    },
    /// bpf(2) failed.
    #[error("{action} the device filter of {path}: {}", text(*errno), path = path.display())]
    DeviceFilter {
        /// `load`, `attach`, `query`, `detach`.
        action: &'static str,
        /// The cgroup.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The cgroup a container should be made in has processes.
    #[error("container's cgroup is not empty: {count} process(es) found")]
    NotEmpty {
        /// The directory they are in.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The cgroup a container should be made in is frozen.
    #[error("container's cgroup unexpectedly frozen")]
    Frozen {
        /// The directory.
        path: PathBuf,
    },
    /// Processes kept appearing, or did not reach a point where they can be frozen.
    #[error("unable to freeze {path}: {}", text(Errno::TIMEDOUT), path = path.display())]
    FreezeTimeout {
        /// The directory.
        path: PathBuf,
    },
    /// The cgroup was being frozen, and another command, such as `kill`, thawed it.
    #[error("unable to freeze {path}: it was thawed meanwhile", path = path.display())]
    Thawed {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing to freeze with.
    #[error("unable to freeze: no freezer in this cgroup")]
    NoFreezer,
    /// A rootless container asks for limits where its user may not make cgroups.
    #[error("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")]
    NoPermission {
        /// The first field that needs a cgroup.
        pointer: String,
    },
    /// Limits without cgroups.
    #[error("a limit is set, but cgroups are disabled")]
    Disabled {
        /// The first field that needs a cgroup.
        pointer: String,
    },
    /// A `cgroupsPath` that names no place of its own.
    #[error("cgroups path {0}")]
    InvalidPath(#[from] rt_resources::InvalidPath),
    /// The hierarchy has no place for a cgroup with these controllers.
    #[error("cannot enter cgroup {path} with domain controllers: it is in {mode} mode", path = path.display())]
    Threaded {
        /// The directory.
        path: PathBuf,
        /// Contents of `cgroup.type`.
        mode: String,
    },
    /// No cgroup file system was found.
    #[error("no cgroup file system is mounted on {path}", path = path.display())]
    NotMounted {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The systemd driver was asked to do what only the cgroupfs driver can.
    #[error("the systemd cgroup driver is not available")]
    SystemdUnavailable,
    /// cgroup v1 has hierarchies that systemd does not manage.
    #[error("the systemd cgroup driver needs cgroup v2; leave out --systemd-cgroup on this host")]
    SystemdNeedsV2,
    /// The connection to systemd failed.
    #[error("{what}: {}", text(*errno))]
    Bus {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// An annotation is no property.
    #[error("annotation {key}: {value:?} {why}")]
    Annotation {
        /// The annotation.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong.
        why: &'static str,
    },
    /// systemd refused a call.
    #[error("systemd: {call}: {text}")]
    Systemd {
        /// The method.
        call: &'static str,
        /// Its words.
        text: String,
    },
}

impl Error {
    /// The field at fault, as a JSON pointer relative to `/linux/resources`; `None` when no field
    /// is to blame.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Error::Write { pointer, .. } => pointer.as_deref(),
            Error::ControllerUnavailable { pointer, .. }
            | Error::Invalid { pointer, .. }
            | Error::NoPermission { pointer }
            | Error::Disabled { pointer } => Some(pointer),
            Error::UsageCheck { pointer, .. } => Some(pointer),
            Error::SharesOutOfRange { .. } => Some("/cpu/shares"),
            Error::LimitBelowUsage { .. } => Some("/memory/limit"),
            Error::DeviceHole { .. } | Error::DeviceFilter { .. } => Some("/devices"),
            _ => None,
        }
    }

    /// The kernel's answer, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Call { errno, .. }
            | Error::Write { errno, .. }
            | Error::LimitBelowUsage { errno, .. }
            | Error::Bus { errno, .. }
            | Error::DeviceFilter { errno, .. } => Some(*errno),
            Error::FreezeTimeout { .. } => Some(Errno::TIMEDOUT),
            _ => None,
        }
    }

    /// True when the file or directory, or the device behind it, is not there (any more).
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NODEV))
    }

    /// True when the caller lacks the right to do this.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }

    /// Names the field that a failed write was made for.
    pub(crate) fn at(self, field: &str) -> Error {
        match self {
            Error::Write { path, value, errno, .. } => {
                Error::Write { pointer: Some(field.to_owned()), path, value, errno }
            }
            Error::ControllerUnavailable { controller, path, .. } => {
                Error::ControllerUnavailable { pointer: field.to_owned(), controller, path }
            }
            other => other,
        }
    }
}
