//! `Update`: other limits for a container that exists.

use std::fs::File;
use std::io::{Seek, Write};
use std::process::Command;

use containerd_shim_protos::api::UpdateTaskRequest;
use rustix::fs::{MemfdFlags, memfd_create};

use super::container::{Container, State};
use super::operation::Verb;
use crate::error::{Context, Error};
use crate::server::{Reply, Server};

impl Server {
    /// Hands the resources, which are a `linux.resources` object, on to the runtime.
    pub(super) fn update(&mut self, reply: Reply, request: UpdateTaskRequest) -> Result<(), Error> {
        let room = memfd_create("resources", MemfdFlags::CLOEXEC).doing("make room for the resources")?;
        let mut resources = File::from(room);
        let json = request.resources.as_ref().map_or(&[][..], |any| &any.value);
        resources.write_all(json).and_then(|()| resources.rewind()).doing("write the resources")?;
        let verb = Verb { name: "update", failed: "OCI runtime update failed" };
        let allow = |container: &mut Container| match container.init.state {
            State::Stopped => Err(Error::State { what: "update", state: "stopped", kind: "container" }),
            _ => Ok(()),
        };
        let complete = |command: &mut Command| {
            command.args(["--resources", "-"]).stdin(resources);
        };
        self.operate(reply, &request.id, verb, allow, complete, |_, _, _| ())
    }
}
