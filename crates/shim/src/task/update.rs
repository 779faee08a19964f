//! `Update`: other limits for a container that exists.

use std::fs::File;
use std::io::{Seek, Write};

use containerd_shim_protos::api::UpdateTaskRequest;
use rustix::fs::{MemfdFlags, memfd_create};

use super::container::{Key, State};
use crate::error::{Context, Error};
use crate::server::{Reply, Server};

impl Server {
    /// Hands the resources, which are a `linux.resources` object, on to the runtime.
    pub(super) fn update(&mut self, reply: Reply, request: UpdateTaskRequest) -> Result<(), Error> {
        let key = Key::init(&request.id);
        self.tasks.find(&key)?;
        let mut resources =
            File::from(memfd_create("resources", MemfdFlags::CLOEXEC).doing("make room for the resources")?);
        let json = request.resources.as_ref().map_or(&[][..], |any| &any.value);
        resources.write_all(json).and_then(|()| resources.rewind()).doing("write the resources")?;
        self.exclusively(&key.clone(), move |server| {
            let Ok(container) = server.tasks.container(&key.container) else {
                return server.done(reply, Err(Error::NoContainer));
            };
            if container.init.state == State::Stopped {
                server.done(reply, Err(Error::State { what: "update", state: "stopped", kind: "container" }));
                return server.release(&key);
            }
            let (runtime, bundle) = (container.runtime.clone(), container.bundle.clone());
            let mut command = server.command(&runtime, &bundle, "update");
            command.command.args(["--resources", "-", &key.container]).stdin(resources);
            server.run(command, move |server, finished| {
                server.done(reply, finished.result("OCI runtime update failed"));
                server.release(&key);
            });
        });
        Ok(())
    }
}
