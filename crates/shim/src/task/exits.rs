//! The end of processes. Of a container the end of the first process is told last, because clients take
//! it for the end of the container.

use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::topics::TASK_EXIT_EVENT_TOPIC;
use rustix::process::Signal;

use super::container::{Exit, Key, State};
use super::life::wait_response;
use crate::log;
use crate::server::Server;

impl Server {
    /// A child has ended that is no command.
    pub fn process_ended(&mut self, pid: i32, status: u32) {
        match self.tasks.running.remove(&pid) {
            Some(key) => self.ended(&key, Exit::now(status)),
            // The process of a command that has not ended yet, or an orphan of a container.
            None if self.tasks.births > 0 => drop(self.tasks.unknown.insert(pid, Exit::now(status))),
            None => {}
        }
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, key: &Key, exit: Exit) {
        let Some(process) = self.tasks.process(key) else { return };
        if process.starting {
            process.early = Some(exit);
            return;
        }
        if !key.is_init() {
            self.tell_end(key, exit);
            return self.settle(&key.container);
        }
        let Ok(container) = self.tasks.container(&key.container) else { return };
        container.held = Some(exit);
        if container.ends_with_init {
            return self.settle(&key.container);
        }
        // Nothing ends the other processes of a container in the host's PID namespace, or a pod's.
        let Ok(mut command) = self.command(&key.container, "kill") else { return };
        command.command.args(["--all", &key.container]).arg(Signal::KILL.as_raw().to_string());
        let id = key.container.clone();
        self.run(command, move |server, finished| {
            if let Some(message) = finished.message() {
                log::debug(format_args!("kill the rest of {id}: {message}"));
            }
            server.settle(&id);
        });
    }

    /// Tells the end of a container's first process as soon as no other one runs.
    pub(super) fn settle(&mut self, id: &str) {
        let Ok(container) = self.tasks.container(id) else { return };
        if container.execs.values().any(|process| process.starting || process.state == State::Running) {
            return;
        }
        let Some(exit) = container.held.take() else { return };
        let paused = std::mem::take(&mut container.paused);
        // A client that learns of the end asks for the reason.
        self.look_for_oom(id, true);
        self.tell_end(&Key::init(id), exit);
        if paused && let Ok(mut command) = self.command(id, "resume") {
            command.command.arg(id);
            self.run(command, |_, finished| {
                if let Some(message) = finished.message() {
                    log::debug(format_args!("resume a container that has ended: {message}"));
                }
            });
        }
    }

    fn tell_end(&mut self, key: &Key, exit: Exit) {
        let Some(process) = self.tasks.process(key) else { return };
        process.state = State::Stopped;
        process.exit = Some(exit.clone());
        let (pid, waiters) = (process.pid as u32, std::mem::take(&mut process.waiters));
        let event = TaskExit {
            container_id: key.container.clone(),
            id: key.name().to_owned(),
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at.clone()).into(),
            ..TaskExit::default()
        };
        self.publish(TASK_EXIT_EVENT_TOPIC, &event);
        for waiter in waiters {
            self.answer(waiter, Ok(wait_response(&exit)));
        }
    }
}
