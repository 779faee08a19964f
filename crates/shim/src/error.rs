//! What can go wrong, and the status that containerd gets for it.
//!
//! The texts that engines match are those of containerd's own shim (docs/contracts.md).

use std::path::PathBuf;

use containerd_shim_protos::protobuf;
use containerd_shim_protos::ttrpc::{Code, Status, get_status};
use rustix::io::Errno;

/// An error of the shim.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{why} (see -help)")]
    CommandLine { why: String },
    #[error("{what} {path:?}: {errno}")]
    File { what: &'static str, path: PathBuf, errno: Errno },
    #[error("{what}: {errno}")]
    Call { what: &'static str, errno: Errno },
    #[error("{what} {path:?}: {why}")]
    Json { what: &'static str, path: PathBuf, why: serde_json::Error },
    #[error("{what}: {why}")]
    Message { what: String, why: protobuf::Error },
    #[error("runtime options: {why}")]
    Options { why: String },
    #[error("mount {kind} from {origin:?} on {target:?}: {why}")]
    Mount { kind: String, origin: String, target: PathBuf, why: String },
    #[error("container not created")]
    NoContainer,
    #[error("container {id:?} exists already")]
    ContainerExists { id: String },
    #[error("id {id}")]
    ExecExists { id: String },
    #[error("process does not exist {id}")]
    NoProcess { id: String },
    #[error("{id:?} cannot be the id of a process: it would have to be a file name")]
    Identifier { id: String },
    #[error("cannot {what} a {state} {kind}")]
    State { what: &'static str, state: &'static str, kind: &'static str },
    #[error("container {id} init process is not running")]
    InitGone { id: String },
    #[error("process not created")]
    NoPid,
    #[error("process already finished")]
    Finished,
    #[error("no such container")]
    UnknownToRuntime,
    #[error("{signal} is not a signal")]
    Signal { signal: u32 },
    #[error("{what}: {message}")]
    Runtime { what: &'static str, message: String },
    #[error("cgroup: {0}")]
    Cgroup(#[from] rt_cgroups::Error),
    #[error("cgroup does not exist")]
    NoCgroup,
    #[error("unknown scheme of standard streams in {uri:?}; there are fifo, file, binary and binary-v2")]
    Scheme { uri: String },
    #[error("logging binary {path:?} ended without saying that it is ready")]
    LoggerNotReady { path: PathBuf },
    #[error("{service}/{method}")]
    Method { service: String, method: String },
}

impl Error {
    /// The answer to a request that failed. Clients of containerd 2.x expect the name of the code at the
    /// end of the text; older ones take it away.
    pub fn status(&self) -> Status {
        let code = self.code();
        let name = match code {
            Code::NOT_FOUND => ": not found",
            Code::ALREADY_EXISTS => ": already exists",
            Code::FAILED_PRECONDITION => ": failed precondition",
            Code::INVALID_ARGUMENT => ": invalid argument",
            Code::UNIMPLEMENTED => ": not implemented",
            _ => "",
        };
        get_status(code, format_args!("{self}{name}"))
    }

    fn code(&self) -> Code {
        match self {
            Error::NoContainer
            | Error::NoProcess { .. }
            | Error::Finished
            | Error::UnknownToRuntime
            | Error::NoCgroup => Code::NOT_FOUND,
            Error::ContainerExists { .. } | Error::ExecExists { .. } => Code::ALREADY_EXISTS,
            Error::InitGone { .. } | Error::NoPid => Code::FAILED_PRECONDITION,
            Error::Message { .. }
            | Error::Options { .. }
            | Error::Identifier { .. }
            | Error::Signal { .. }
            | Error::Scheme { .. } => Code::INVALID_ARGUMENT,
            Error::Method { .. } => Code::UNIMPLEMENTED,
            _ => Code::UNKNOWN,
        }
    }
}

/// Adds to an errno what was done.
pub trait Context<T> {
    /// What was done.
    fn doing(self, what: &'static str) -> Result<T, Error>;
    /// What was done to which file.
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Context<T> for Result<T, E> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Call { what, errno: errno(&error.into()) })
    }

    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|error| Error::File { what, path: path.into(), errno: errno(&error.into()) })
    }
}

/// The errno of an I/O error; EIO where the standard library made the error itself.
pub fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
