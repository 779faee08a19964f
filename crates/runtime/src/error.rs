//! The errors of the lifecycle verbs. The texts are runc's where engines match them
//! (docs/contracts.md, part 3).

use std::path::PathBuf;

use rt_cgroups::Reached;
use rt_plan::spec::SpecError;
use rt_sys::errno::text;
use rustix::io::Errno;

use crate::checkpoint::CheckpointError;
use crate::launch::LaunchError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("container with given ID already exists")]
    Exists,
    #[error("invalid container ID format")]
    InvalidId,
    #[error("container does not exist")]
    DoesNotExist,
    #[error("container not running")]
    NotRunning,
    #[error("container {0} has no cgroup of its own")]
    NoCgroup(String),
    #[error("container paused")]
    Paused,
    #[error("container not paused")]
    NotPaused,
    #[error("cannot start a container that has stopped{0}")]
    StartStopped(Reached),
    #[error("cannot start an already running container")]
    StartRunning,
    #[error("cannot delete container {id} that is not stopped: {status}")]
    DeleteRunning { id: String, status: &'static str },
    #[error("container init still running")]
    InitStillRunning,
    #[error("cannot exec in a stopped container{0}")]
    ExecStopped(Reached),
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    ExecPaused,
    #[error("exec args cannot be empty")]
    ExecWithoutArgs,
    #[error("cannot allocate tty if rt will detach without setting console socket")]
    TerminalWithoutSocket,
    #[error("cannot use console socket if rt will not detach or allocate tty")]
    SocketWithoutTerminal,
    #[error("/process/terminal: open /dev/tty: {}", text(*.0))]
    NoTerminal(Errno),
    #[error("unknown signal {0:?}")]
    UnknownSignal(String),
    #[error("open {path}: {}", text(*errno))]
    Config { path: PathBuf, errno: Errno },
    #[error("{0}")]
    Spec(#[from] SpecError),
    #[error("{0}")]
    Launch(#[from] LaunchError),
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{}{source}", before(&field_of(source)))]
    Cgroup {
        #[from]
        source: rt_cgroups::Error,
    },
    #[error("--cgroup {path:?}: bad sub cgroup path: {source}")]
    SubCgroup { path: String, source: rt_cgroups::Error },
    #[error("container init was OOM-killed (memory limit too low?){0}")]
    OomKilled(Reached),
    #[error("unable to stat preserved-fd {fd}: {}", text(*errno))]
    PreservedFd { fd: u32, errno: Errno },
    #[error(
        "/linux/intelRdt: resctrl is not mounted on this host (mount -t resctrl resctrl /sys/fs/resctrl), or its CPU has none"
    )]
    NoResctrl,
    #[error("the container has no class in resctrl: its config has no /linux/intelRdt")]
    OutsideResctrl,
    #[error("{pointer}: {what} {path}{}: {}", in_brackets(status), text(*errno))]
    Resctrl { pointer: &'static str, what: &'static str, path: PathBuf, status: String, errno: Errno },
    #[error("{what} {path}: {}", text(*errno))]
    File { what: &'static str, path: PathBuf, errno: Errno },
    #[error("{what}: {}", text(*errno))]
    System { what: &'static str, errno: Errno },
    #[error("state of container {id} is damaged: {path}: {message}; `rt delete --force {id}` removes it")]
    Damaged { id: String, path: PathBuf, message: String },
    #[error("--root must not be /")]
    RootIsSlash,
}

/// The field of the config that an error of a cgroup is about: a limit, or where the cgroup is;
/// None if neither is to blame.
fn field_of(e: &rt_cgroups::Error) -> Option<String> {
    use rt_cgroups::Error as E;
    match e {
        E::InvalidPath { .. } | E::NotEmpty { .. } | E::Frozen { .. } | E::Threaded { .. } => {
            Some("/linux/cgroupsPath".to_owned())
        }
        E::Call { action: "mkdir", .. } => Some("/linux/cgroupsPath".to_owned()),
        E::Call { errno: Errno::NOTDIR | Errno::NAMETOOLONG, .. } => Some("/linux/cgroupsPath".to_owned()),
        E::Annotation { key, .. } => Some(format!("/annotations/{}", rt_plan::spec::escape(key))),
        other => other.pointer().map(|pointer| format!("/linux/resources{pointer}")),
    }
}

fn before(field: &Option<String>) -> String {
    field.as_ref().map_or_else(String::new, |field| format!("{field}: "))
}

/// The kernel's words, where it had any.
fn in_brackets(status: &str) -> String {
    if status.is_empty() { String::new() } else { format!(" ({status})") }
}

/// Says what a failed system call was for.
pub trait Context<T> {
    /// Without a file.
    fn doing(self, what: &'static str) -> Result<T, Error>;
    /// With a file.
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::System { what, errno })
    }

    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|errno| Error::File { what, path: path.into(), errno })
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).doing(what)
    }

    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).on(what, path)
    }
}

impl Error {
    /// The field of the config that the error is about.
    pub fn field(&self) -> Option<String> {
        match self {
            Error::Spec(e) => e.pointer().map(str::to_owned),
            Error::Launch(e) => e.pointer().map(std::borrow::Cow::into_owned),
            Error::Cgroup { source } => field_of(source),
            Error::Checkpoint(e) => e.field(),
            Error::NoResctrl => Some("/linux/intelRdt".to_owned()),
            Error::NoTerminal(_) => Some("/process/terminal".to_owned()),
            Error::Resctrl { pointer, .. } => Some((*pointer).to_owned()),
            _ => None,
        }
    }

    /// The signal that the command was ended by.
    pub fn signal(&self) -> Option<i32> {
        match self {
            Error::Launch(LaunchError::Interrupted { signal }) => Some(*signal),
            _ => None,
        }
    }

    /// The errno behind it.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Launch(e) => e.errno(),
            Error::Checkpoint(e) => e.errno(),
            Error::Cgroup { source } | Error::SubCgroup { source, .. } => source.errno(),
            Error::Resctrl { errno, .. } | Error::Config { errno, .. } => Some(*errno),
            Error::PreservedFd { errno, .. } | Error::File { errno, .. } | Error::System { errno, .. } => Some(*errno),
            Error::NoTerminal(errno) => Some(*errno),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Launch(e) => e.hint(),
            Error::Checkpoint(e) => e.hint(),
            Error::Config { .. } => Some("a bundle is a directory with a config.json; `rt spec` writes one"),
            Error::InvalidId => Some("an id has letters, digits and _ + . - only, and is neither . nor .."),
            Error::Exists => Some("choose another id, or remove the container with `rt delete`"),
            Error::DeleteRunning { .. } => Some("stop it with `rt kill`, or use `rt delete --force`"),
            Error::NoCgroup(_) => Some(
                "its creator had no right to make one, or wanted none; an ordinary user with a systemd session gets one by --systemd-cgroup",
            ),
            Error::OomKilled(_) => Some("raise /linux/resources/memory/limit"),
            Error::TerminalWithoutSocket => Some("give --console-socket, or set /process/terminal to false"),
            Error::NoTerminal(_) => Some(
                "none of the standard streams is a terminal: set /process/terminal to false, or detach with --console-socket",
            ),
            Error::SocketWithoutTerminal => Some("leave out --console-socket, or set /process/terminal to true"),
            _ => None,
        }
    }

    /// A stable name for programs that read the log.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Exists => "container-exists",
            Error::InvalidId => "invalid-id",
            Error::DoesNotExist => "no-such-container",
            Error::NotRunning | Error::StartStopped(_) | Error::ExecStopped(_) => "container-not-running",
            Error::Paused | Error::ExecPaused => "container-paused",
            Error::NotPaused => "container-not-paused",
            Error::StartRunning | Error::DeleteRunning { .. } | Error::InitStillRunning => "container-running",
            Error::ExecWithoutArgs
            | Error::TerminalWithoutSocket
            | Error::SocketWithoutTerminal
            | Error::NoTerminal(_)
            | Error::UnknownSignal(_)
            | Error::PreservedFd { .. }
            | Error::RootIsSlash => "invalid-argument",
            Error::Config { .. } | Error::Spec(_) => "invalid-config",
            Error::Launch(_) => "launch-failed",
            Error::Checkpoint(e) => e.code(),
            Error::SubCgroup { .. } => "invalid-argument",
            Error::Cgroup { .. } | Error::NoCgroup(_) => "cgroup",
            Error::NoResctrl | Error::OutsideResctrl | Error::Resctrl { .. } => "resctrl",
            Error::OomKilled(_) => "oom-killed",
            Error::File { .. } | Error::System { .. } => "system",
            Error::Damaged { .. } => "damaged-state",
        }
    }
}
