//! `containerd-shim-rt-v1`: the process that stays between containerd and the containers of a pod.
//!
//! containerd starts the shim once per pod (`start`), asks it over a Unix socket for everything that
//! happens to a container (the Task service, version 2 and 3 of its name), and hears of every exit.
//! The shim runs `rt` for each of these, one process per command, so that a container under
//! containerd is the one that `rt` makes everywhere else.
//!
//! The server is one thread around epoll(7): no lock, and events leave in the order in which things
//! happened. Whatever takes time is a child process, and its end continues the request
//! ([`server::Server::run`]).

mod arguments;
mod bootstrap;
mod error;
mod idmap;
mod info;
mod log;
mod options;
mod remains;
mod rootfs;
mod runtime;
mod server;
mod start;
mod stdio;
mod sys;
mod task;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Action, Arguments};
use error::{Context, Error};
use rustix::process::Signal;

/// Name under which containerd finds the program: `io.containerd.rt.v1`.
pub const NAME: &str = "containerd-shim-rt-v1";

/// Runs the program with these arguments, its name not among them.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = keep_exit_statuses().and_then(|()| Arguments::parse(arguments));
    let done = parsed.and_then(|arguments| match arguments.action {
        Action::Version => {
            println!("{NAME}:\n  Version:  {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Action::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Action::Info => info::print(),
        Action::Start => start::start(&arguments),
        Action::Delete => remains::delete(&arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where a caller had SIGCHLD ignored, the kernel would reap the children of this process, and their
/// exit statuses would be lost.
fn keep_exit_statuses() -> Result<(), Error> {
    let child = Signal::CHILD.as_raw() as u32;
    if rt_sys::signal::is_ignored(child) {
        rt_sys::signal::handle_by_nothing(child).doing("take SIGCHLD")?;
    }
    Ok(())
}
