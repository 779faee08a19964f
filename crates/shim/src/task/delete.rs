//! `Delete`: of a container that has ended or was never started, and of a process in one; and the end
//! of the shim itself.

use std::time::Duration;

use containerd_shim_protos::api::{DeleteRequest, DeleteResponse, ShutdownRequest};
use containerd_shim_protos::events::task::TaskDelete;
use containerd_shim_protos::topics::TASK_DELETE_EVENT_TOPIC;

use super::container::{Key, State};
use crate::error::Error;
use crate::server::{Finished, Reply, Server};

/// How long output may still come from a process that has ended; a process of its own may hold the
/// pipe.
const DRAIN: Duration = Duration::from_secs(2);

impl Server {
    /// Deletes a process, and with the first one its container.
    pub(super) fn delete(&mut self, reply: Reply, request: DeleteRequest) -> Result<(), Error> {
        let key = Key::new(&request.id, &request.exec_id);
        self.tasks.find(&key)?;
        self.exclusively(&key.clone(), move |server| match server.tasks.find(&key).map(|process| process.state) {
            Err(error) => server.done(reply, Err(error)),
            Ok(State::Running) => {
                server.done(reply, Err(Error::State { what: "delete", state: "running", kind: "process" }));
                server.release(&key);
            }
            Ok(State::Stopped) => server.after_drain(&key.clone(), move |server| server.delete_drained(reply, &key)),
            // It may hold its pipes for as long as it likes.
            Ok(State::Created) => server.delete_drained(reply, &key),
        });
        Ok(())
    }

    /// Calls `then` when all output of a process has been copied, or has been waited for long enough.
    fn after_drain(&mut self, key: &Key, then: impl FnOnce(&mut Server) + 'static) {
        let Some(process) = self.tasks.process(key).filter(|process| !process.io.is_drained()) else {
            return then(self);
        };
        process.when_drained = Some(Box::new(then));
        let (key, serial) = (key.clone(), process.serial);
        self.after(
            DRAIN,
            Box::new(move |server| {
                if server.tasks.process(&key).is_some_and(|process| process.serial == serial) {
                    server.drained(&key);
                }
            }),
        );
    }

    /// All output of a process has been copied.
    pub fn drained(&mut self, key: &Key) {
        if let Some(then) = self.tasks.process(key).and_then(|process| process.when_drained.take()) {
            then(self);
        }
    }

    fn delete_drained(&mut self, reply: Reply, key: &Key) {
        let Some(process) = self.tasks.process(key) else { return self.done(reply, Err(Error::NoContainer)) };
        let mut io = std::mem::take(&mut process.io);
        self.close_io(&mut io);
        if !key.is_init() {
            let Ok(container) = self.tasks.container(&key.container) else { return };
            let Some(mut process) = container.execs.remove(&key.exec) else { return };
            self.answer(reply, Ok(response(&process)));
            self.run_all(&mut process.queue);
            return;
        }
        let Ok(mut command) = self.command(&key.container, "delete") else { return };
        command.command.arg(&key.container);
        let key = key.clone();
        self.run(command, move |server, finished| server.deleted(reply, &key, &finished));
    }

    fn deleted(&mut self, reply: Reply, key: &Key, finished: &Finished) {
        // After a checkpoint the runtime knows the container no more.
        let gone = finished.message().is_none_or(|message| message.contains("does not exist"));
        if !gone && let Err(error) = finished.result("failed to delete task") {
            self.done(reply, Err(error));
            return self.release(key);
        }
        // The end of one that was never started has just come, too.
        self.reap();
        let Some(mut container) = self.tasks.containers.remove(&key.container) else { return };
        container.unmount();
        if let Some(memory) = container.memory.take() {
            self.forget_memory(memory);
        }
        let response = response(&container.init);
        let event = TaskDelete {
            container_id: key.container.clone(),
            pid: response.pid,
            exit_status: response.exit_status,
            exited_at: response.exited_at.clone(),
            ..TaskDelete::default()
        };
        self.tasks.running.retain(|_, running| running.container != key.container);
        self.publish(TASK_DELETE_EVENT_TOPIC, &event);
        self.answer(reply, Ok(response));
        for process in container.execs.values_mut() {
            self.close_io(&mut process.io);
            self.run_all(&mut process.queue);
        }
        self.run_all(&mut container.init.queue);
    }

    /// Lets what waits for a process that is gone learn of it.
    fn run_all(&mut self, queue: &mut std::collections::VecDeque<crate::server::Then>) {
        for operation in queue.drain(..) {
            operation(self);
        }
    }

    /// Ends the shim, if it has no container.
    pub(super) fn shutdown(&mut self, reply: Reply, _: ShutdownRequest) -> Result<(), Error> {
        self.done(reply, Ok(()));
        if self.tasks.is_empty() {
            self.stop();
        }
        Ok(())
    }
}

fn response(process: &super::container::Process) -> DeleteResponse {
    let exit = process.exit.as_ref();
    DeleteResponse {
        pid: process.pid as u32,
        exit_status: exit.map_or(0, |exit| exit.status),
        exited_at: exit.map(|exit| exit.at.clone()).into(),
        ..DeleteResponse::default()
    }
}
