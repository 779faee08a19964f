//! Commands of the runtime that change a container, one after the other: pause, resume, update,
//! checkpoint.

use std::process::Command;

use super::container::{Container, Key, State};
use crate::error::Error;
use crate::server::{Reply, Server};

/// A command of the runtime, and what is said when it fails.
pub struct Verb {
    pub name: &'static str,
    pub failed: &'static str,
}

impl Server {
    /// Runs `rt VERB … ID` when no other operation on the container runs any more, and answers. `allow`
    /// may refuse it in the container's present state, `complete` adds arguments before the id, and `then`
    /// notes what has changed, told whether the command has succeeded.
    pub(super) fn operate(
        &mut self,
        reply: Reply,
        id: &str,
        verb: Verb,
        allow: impl FnOnce(&mut Container) -> Result<(), Error> + 'static,
        complete: impl FnOnce(&mut Command) + 'static,
        then: impl FnOnce(&mut Server, &str, bool) + 'static,
    ) -> Result<(), Error> {
        let key = Key::init(id);
        self.tasks.find(&key)?;
        self.exclusively(&key.clone(), move |server| {
            let allowed = server.tasks.container(&key.container).and_then(allow);
            let mut command = match allowed.and_then(|()| server.command(&key.container, verb.name)) {
                Ok(command) => command,
                Err(error) => {
                    server.done(reply, Err(error));
                    return server.release(&key);
                }
            };
            complete(&mut command.command);
            command.command.arg(&key.container);
            server.run(command, move |server, finished| {
                let result = finished.result(verb.failed);
                then(server, &key.container, result.is_ok());
                server.done(reply, result);
                server.release(&key);
            });
        });
        Ok(())
    }
}

impl Container {
    /// The error for an operation that a container allows only while it runs.
    pub fn must_run(&self, what: &'static str) -> Result<(), Error> {
        let (state, kind) = match self.init.state {
            State::Running => return Ok(()),
            State::Created => ("created state", "task"),
            State::Stopped => ("stopped", "container"),
        };
        Err(Error::State { what, state, kind })
    }
}
