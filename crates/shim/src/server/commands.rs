//! Commands of the runtime: child processes whose end continues a request.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::Server;
use crate::error::{Context, Error};
use crate::log;
use crate::runtime::{Runtime, not_started, take_error};

/// A command under way.
pub struct Command {
    log: PathBuf,
    output: Option<File>,
    then: Continue,
}

type Continue = Box<dyn FnOnce(&mut Server, Finished)>;

/// A command that has ended.
pub struct Finished {
    /// Nothing when it succeeded.
    message: Option<String>,
    /// Its standard output, when it was asked for.
    pub output: Vec<u8>,
}

impl Finished {
    /// The runtime's own words as an error, if the command has failed.
    pub fn result(&self, what: &'static str) -> Result<(), Error> {
        self.message.as_ref().map_or(Ok(()), |message| Err(Error::Runtime { what, message: message.clone() }))
    }

    /// The runtime's words, if the command has failed.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// A command to be completed with its arguments.
pub struct Prepared {
    pub command: process::Command,
    log: PathBuf,
    output: Option<File>,
}

impl Prepared {
    /// Keeps what the command prints, however much it is.
    pub fn keep_output(&mut self) -> Result<(), Error> {
        let file = File::from(memfd_create("output", MemfdFlags::CLOEXEC).doing("make room for output")?);
        self.command.stdout(file.try_clone().doing("share the room for output")?);
        self.output = Some(file);
        Ok(())
    }
}

impl Server {
    /// `rt VERB` for a container that is known, with a log of its own.
    pub fn command(&mut self, id: &str, verb: &str) -> Result<Prepared, Error> {
        let container = self.tasks.containers.get(id).ok_or(Error::NoContainer)?;
        Ok(prepared(&mut self.logs, &container.runtime, verb))
    }

    /// `rt VERB` for a container in the making.
    pub fn command_of(&mut self, runtime: &Runtime, verb: &str) -> Prepared {
        prepared(&mut self.logs, runtime, verb)
    }

    /// Starts the command, and calls `then` when it has ended.
    pub fn run(&mut self, mut prepared: Prepared, then: impl FnOnce(&mut Server, Finished) + 'static) {
        match prepared.command.spawn() {
            Ok(child) => {
                let command = Command { log: prepared.log, output: prepared.output, then: Box::new(then) };
                self.commands.insert(child.id() as i32, command);
            }
            Err(error) => {
                let message = Some(not_started(prepared.command.get_program(), &error));
                then(self, Finished { message, output: Vec::new() });
            }
        }
    }

    /// Takes the exit status of every child that has ended: commands, containers' processes, and orphans,
    /// of which the shim is the parent.
    pub fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            match self.commands.remove(&pid) {
                Some(command) => self.command_ended(command, status),
                None => self.process_ended(pid, exit_status(status)),
            }
        }
    }

    fn command_ended(&mut self, command: Command, status: WaitStatus) {
        let error = take_error(&command.log);
        let message = match status.exit_status() {
            Some(0) => None,
            Some(code) => Some(error.unwrap_or_else(|| format!("exit status {code}"))),
            None => {
                Some(error.unwrap_or_else(|| format!("killed by signal {}", status.terminating_signal().unwrap_or(0))))
            }
        };
        let mut output = Vec::new();
        if let Some(mut file) = command.output
            && let Err(error) = file.rewind().and_then(|()| file.read_to_end(&mut output))
        {
            log::error(format_args!("read the output of the runtime: {error}"));
        }
        (command.then)(self, Finished { message, output });
    }
}

fn prepared(logs: &mut u64, runtime: &Runtime, verb: &str) -> Prepared {
    *logs += 1;
    let log = runtime.log(*logs);
    Prepared { command: runtime.command(&log, verb), log, output: None }
}

/// The status as a shell has it.
fn exit_status(status: WaitStatus) -> u32 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signal).unwrap_or(255) as u32
}
