//! The Task service: what containerd asks for, container by container.
//!
//! Answers and errors are those of containerd's own shim (cmd/containerd-shim-runc-v2), which engines
//! are written against.

mod checkpoint;
mod container;
mod create;
mod delete;
mod exec;
mod exits;
mod life;
mod memory;
mod metrics;
mod operation;
mod start;
mod update;

pub use container::{Key, Tasks};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Request;

use crate::error::Error;
use crate::server::{Reply, Server};

/// The service by the names of its versions; they differ in nothing else that is used.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

impl Server {
    /// Serves one request.
    pub fn request(&mut self, reply: Reply, payload: &[u8]) {
        let request = match decode::<Request>("request", payload) {
            Ok(request) => request,
            Err(error) => return self.done(reply, Err(error)),
        };
        crate::log::debug(format_args!("{} {}", request.service, request.method));
        // What takes time answers by itself, unless it fails before.
        if let Err(error) = self.dispatch(reply, &request) {
            self.done(reply, Err(error));
        }
    }

    fn dispatch(&mut self, reply: Reply, request: &Request) -> Result<(), Error> {
        let (method, payload) = (&*request.method, &*request.payload);
        let unknown = || Error::Method { service: request.service.clone(), method: method.to_owned() };
        if !SERVICES.contains(&&*request.service) {
            return Err(unknown());
        }
        match method {
            "Create" => self.create(reply, decode(method, payload)?),
            "Start" => self.start(reply, decode(method, payload)?),
            "Delete" => self.delete(reply, decode(method, payload)?),
            "Exec" => self.exec(reply, decode(method, payload)?),
            "Kill" => self.kill(reply, decode(method, payload)?),
            "Pause" => self.pause(reply, decode(method, payload)?),
            "Resume" => self.resume(reply, decode(method, payload)?),
            "Update" => self.update(reply, decode(method, payload)?),
            "Checkpoint" => self.checkpoint(reply, decode(method, payload)?),
            "Pids" => self.pids(reply, decode(method, payload)?),
            "Wait" => self.wait(reply, decode(method, payload)?),
            "State" => self.state(reply, decode(method, payload)?),
            "Stats" => self.stats(reply, decode(method, payload)?),
            "Connect" => self.connect(reply, decode(method, payload)?),
            "ResizePty" => self.resize(reply, decode(method, payload)?),
            "CloseIO" => self.close_stdin(reply, decode(method, payload)?),
            "Shutdown" => self.shutdown(reply, decode(method, payload)?),
            _ => Err(unknown()),
        }
    }
}

fn decode<M: Message>(method: &str, payload: &[u8]) -> Result<M, Error> {
    M::parse_from_bytes(payload).map_err(|why| Error::Message { what: method.to_owned(), why })
}
