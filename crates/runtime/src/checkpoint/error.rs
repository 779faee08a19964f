//! Why a checkpoint or a restore failed.

use std::path::PathBuf;

use rt_sys::errno::text;
use rustix::io::Errno;

use super::log::Finding;

/// Why a checkpoint or a restore failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum CheckpointError {
    #[error("criu: {}", text(*.0))]
    NoCriu(Errno),
    #[error("start {program}: {}", text(*errno))]
    Start { program: String, errno: Errno },
    #[error("talk to criu: {}", text(*.0))]
    Talk(Errno),
    #[error("criu sent an answer that rt does not understand: {0}")]
    Answer(String),
    #[error("criu ended in the middle of its work{}", in_brackets(.0))]
    Ended(String),
    #[error("criu {what} failed: {finding}")]
    Failed { what: &'static str, finding: Finding },
    #[error("criu or the kernel lacks {0}")]
    Lacks(&'static str),
    #[error("Container cannot be checkpointed in {0} state")]
    State(&'static str),
    #[error("--image-path: {path}: {}", text(*errno))]
    Image { path: PathBuf, errno: Errno },
    #[error("--work-path: {path}: {}", text(*errno))]
    Work { path: PathBuf, errno: Errno },
    #[error("--parent-path must be relative to the image: {0}")]
    AbsoluteParent(PathBuf),
    #[error("invalid --parent-path: {path}: {}", text(*errno))]
    Parent { path: PathBuf, errno: Errno },
    #[error("--image-path: {0}: a directory without a checkpoint: it has no inventory.img")]
    NoImage(PathBuf),
    #[error("--image-path: {path}: {message}")]
    Damaged { path: PathBuf, message: &'static str },
    #[error("--page-server {0:?}: use ADDRESS:PORT")]
    PageServer(String),
    #[error("--empty-ns: namespace {0:?} is not supported")]
    EmptyNamespace(String),
    #[error("invalid --status-fd argument {fd}: {}", text(*errno))]
    StatusFd { fd: i32, errno: Errno },
    #[error("{pointer}: {path}: {}", text(*errno))]
    Namespace { pointer: String, path: String, errno: Errno },
    #[error("{pointer}: a joined {kind} namespace cannot be restored: criu does not know how to join it")]
    Join { pointer: String, kind: &'static str },
    #[error("{pointer}: {destination}: id-mapped mounts cannot be saved: criu would restore them without their id map")]
    Idmapped { pointer: String, destination: String },
    #[error("{pointer}: make the mount point {path}: {}", text(*errno))]
    MountPoint { pointer: String, path: String, errno: Errno },
    #[error("--bind {0}: the config has no mount with this destination")]
    NoSuchMount(String),
    #[error("the other side of the migration is gone")]
    OtherSideGone,
    #[error("the other side of the migration has been silent for {0} s")]
    Silent(u64),
    #[error("talk to the other side of the migration: {}", text(*.0))]
    Wire(Errno),
    #[error("the other side of the migration sent {0}")]
    Protocol(&'static str),
    #[error("the target refused the container: {0}")]
    Refused(String),
    #[error("the target has another version of rt, which speaks version {0} of the protocol, not {own}", own = super::wire::VERSION)]
    OtherVersion(u32),
    #[error("--network: the config has no network namespace")]
    NoNetwork,
    #[error("the container has a terminal: give --console-socket, or leave out --detach")]
    Terminal,
}

fn in_brackets(how: &str) -> String {
    if how.is_empty() { String::new() } else { format!(" ({how})") }
}

impl CheckpointError {
    /// The field of the config that is to blame.
    pub fn field(&self) -> Option<String> {
        match self {
            CheckpointError::Namespace { pointer, .. }
            | CheckpointError::Join { pointer, .. }
            | CheckpointError::Idmapped { pointer, .. }
            | CheckpointError::MountPoint { pointer, .. } => Some(pointer.clone()),
            _ => None,
        }
    }

    /// The errno behind it.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            CheckpointError::NoCriu(errno)
            | CheckpointError::Wire(errno)
            | CheckpointError::Talk(errno)
            | CheckpointError::Start { errno, .. }
            | CheckpointError::Image { errno, .. }
            | CheckpointError::Work { errno, .. }
            | CheckpointError::Parent { errno, .. }
            | CheckpointError::StatusFd { errno, .. }
            | CheckpointError::Namespace { errno, .. }
            | CheckpointError::MountPoint { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CheckpointError::NoCriu(_) => {
                Some("install criu (4.2 or later for Linux 6.16 and later), or give --criu PATH")
            }
            CheckpointError::Failed { finding, .. } => finding.remedy,
            CheckpointError::State(_) => Some("only a running or paused container can be saved"),
            CheckpointError::NoImage(_) => Some("give the directory that `rt checkpoint --image-path` wrote"),
            CheckpointError::OtherSideGone | CheckpointError::Silent(_) | CheckpointError::Refused(_) => {
                Some("the container runs on at the source")
            }
            CheckpointError::Lacks(_) => Some("`criu check --all` tells what is missing"),
            _ => None,
        }
    }

    /// A stable name for programs that read the log.
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::NoCriu(_) | CheckpointError::Start { .. } => "no-criu",
            CheckpointError::Lacks(_) => "not-supported",
            CheckpointError::State(_) => "container-not-running",
            CheckpointError::NoImage(_) | CheckpointError::Damaged { .. } => "invalid-image",
            CheckpointError::AbsoluteParent(_)
            | CheckpointError::Parent { .. }
            | CheckpointError::PageServer(_)
            | CheckpointError::EmptyNamespace(_)
            | CheckpointError::StatusFd { .. }
            | CheckpointError::NoSuchMount(_)
            | CheckpointError::NoNetwork
            | CheckpointError::Terminal => "invalid-argument",
            CheckpointError::Namespace { .. }
            | CheckpointError::Join { .. }
            | CheckpointError::Idmapped { .. }
            | CheckpointError::MountPoint { .. } => "invalid-config",
            CheckpointError::Image { .. } | CheckpointError::Work { .. } => "system",
            CheckpointError::OtherSideGone
            | CheckpointError::Silent(_)
            | CheckpointError::Wire(_)
            | CheckpointError::Protocol(_)
            | CheckpointError::OtherVersion(_)
            | CheckpointError::Refused(_) => "migration-failed",
            CheckpointError::Talk(_)
            | CheckpointError::Answer(_)
            | CheckpointError::Ended(_)
            | CheckpointError::Failed { .. } => "criu-failed",
        }
    }
}
