//! A logging binary (`binary://PATH?ARGUMENT=VALUE`): a program that reads a container's output from
//! descriptors 3 and 4, and says on descriptor 5 that it is ready (containerd, docs/man and
//! core/runtime/v2/logging).

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::pipe;
use crate::error::{Context, Error};
use crate::options::Options;
use crate::sys;

/// Asks the program to end when its container has been deleted, or the shim ends. It has the end of
/// the output before that, so that a program that goes by it is not disturbed.
pub struct Logger {
    pidfd: OwnedFd,
}

impl Drop for Logger {
    fn drop(&mut self) {
        // Gone already, in most cases.
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
    }
}

/// A program that was started.
pub struct Started {
    pub logger: Logger,
    pub path: PathBuf,
    /// What it reads as standard output and standard error.
    pub pipes: [OwnedFd; 2],
}

/// Starts the program of a URI without its scheme. The second result becomes readable when it is ready,
/// or has ended.
pub fn start(
    uri: &str,
    id: &str,
    namespace: &str,
    terminal: bool,
    options: &Options,
) -> Result<(Started, OwnedFd), Error> {
    let path = PathBuf::from(path_of(uri));
    let (out_read, out_write) = pipe(options)?;
    let (err_read, err_write) = pipe(options)?;
    let (ready_read, ready_write) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
    rustix::fs::fcntl_setfl(&ready_read, rustix::fs::OFlags::NONBLOCK).doing("change a pipe")?;
    if terminal {
        rustix::fs::fcntl_setfl(&out_write, rustix::fs::OFlags::NONBLOCK).doing("change a pipe")?;
    }
    let mut command = Command::new(&path);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.strip_prefix("env.") {
            Some("CONTAINER_ID" | "CONTAINER_NAMESPACE") => {}
            Some(name) => drop(command.env(name, &*value)),
            None => drop(command.arg(&*name).arg(&*value)),
        }
    }
    command.env("CONTAINER_ID", id).env("CONTAINER_NAMESPACE", namespace);
    sys::pass_from_3(&mut command, [out_read, err_read, ready_write]);
    let child = command.spawn().on("start the logging binary", &path)?;
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).on("keep hold of the logging binary", &path)?;
    Ok((Started { logger: Logger { pidfd }, path, pipes: [out_write, err_write] }, ready_read))
}

/// The path of a URI without its scheme.
pub fn path_of(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    // In a path "+" is a plus; the decoder is one of queries.
    let query = format!("p={}", path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
    form_urlencoded::parse(query.as_bytes()).next().map(|(_, path)| path.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(path_of("/usr/bin/log?a=b&c=d"), "/usr/bin/log");
        assert_eq!(path_of("/a%20b+c=d&e"), "/a b+c=d&e");
    }
}
