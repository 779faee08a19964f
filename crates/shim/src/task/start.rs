//! `Start`: of a container that was created, of one that is restored from a checkpoint, and of a
//! process in a container.

use std::fs;

use containerd_shim_protos::api::{StartRequest, StartResponse};
use containerd_shim_protos::events::task::{TaskExecStarted, TaskStart};
use containerd_shim_protos::topics::{TASK_EXEC_STARTED_EVENT_TOPIC, TASK_START_EVENT_TOPIC};
use rustix::process::{Pid, Signal, kill_process};

use super::container::{Key, State};
use super::create::read_pid;
use crate::error::Error;
use crate::options::write_private;
use crate::server::{Finished, Reply, Server};
use crate::stdio::Prepared;

/// A container that starts from a checkpoint.
pub struct Restore {
    pub image: String,
    pub parent: String,
    pub prepared: Prepared,
}

impl Server {
    /// Starts a process.
    pub(super) fn start(&mut self, reply: Reply, request: StartRequest) -> Result<(), Error> {
        let key = Key::new(&request.id, &request.exec_id);
        self.tasks.find(&key)?;
        self.exclusively(&key.clone(), move |server| {
            let started = server.begin_start(reply, &key);
            if let Err(error) = started {
                server.done(reply, Err(error));
                server.release(&key);
            }
        });
        Ok(())
    }

    fn begin_start(&mut self, reply: Reply, key: &Key) -> Result<(), Error> {
        let process = self.tasks.find(key)?;
        match process.state {
            State::Created => {}
            State::Running => return Err(Error::State { what: "start", state: "running", kind: "process" }),
            State::Stopped => return Err(Error::State { what: "start", state: "stopped", kind: "process" }),
        }
        let container = self.tasks.container(&key.container)?;
        if !key.is_init() {
            if container.held.is_some() || container.init.state == State::Stopped {
                return Err(Error::InitGone { id: key.container.clone() });
            }
            return self.start_exec(reply, key);
        }
        container.init.starting = true;
        if let Some(restore) = container.restore.take() {
            return self.restore(reply, key, restore);
        }
        let mut command = self.command(&key.container, "start")?;
        command.command.arg(&key.container);
        let key = key.clone();
        self.run(command, move |server, finished| {
            server.started(reply, &key, finished.result("OCI runtime start failed"));
        });
        Ok(())
    }

    fn restore(&mut self, reply: Reply, key: &Key, mut restore: Restore) -> Result<(), Error> {
        let container = self.tasks.container(&key.container)?;
        let (bundle, options) = (container.bundle.clone(), container.options.clone());
        let mut command = self.command(&key.container, "restore")?;
        restore.prepared.give(&mut command.command);
        let work = if options.criu_work_path.is_empty() { bundle.join("work") } else { options.criu_work_path.into() };
        command.command.arg("--image-path").arg(&restore.image).arg("--work-path").arg(work);
        if !restore.parent.is_empty() {
            command.command.arg("--parent-path").arg(&restore.parent);
        }
        if options.no_pivot_root {
            command.command.arg("--no-pivot");
        }
        let pid_file = bundle.join("init.pid");
        command.command.arg("--detach").arg("--no-subreaper").arg("--pid-file").arg(&pid_file);
        command.command.arg("--bundle").arg(&bundle).arg(&key.container);
        let key = key.clone();
        self.tasks.birth_begins();
        self.run(command, move |server, finished| {
            let started = finished.result("OCI runtime restore failed");
            server.born(reply, &key, restore.prepared, &pid_file, started);
        });
        Ok(())
    }

    fn start_exec(&mut self, reply: Reply, key: &Key) -> Result<(), Error> {
        let container = self.tasks.container(&key.container)?;
        let (bundle, options) = (container.bundle.clone(), container.options.clone());
        let process = self.tasks.find(key)?;
        process.starting = true;
        let streams = process.streams.clone();
        let own = key.clone();
        self.prepare(key, &bundle, &streams, &options, move |server, prepared| {
            let run = prepared.and_then(|prepared| server.run_exec(reply, &own, prepared));
            if let Err(error) = run {
                server.started(reply, &own, Err(error));
            }
        });
        Ok(())
    }

    fn run_exec(&mut self, reply: Reply, key: &Key, mut prepared: Prepared) -> Result<(), Error> {
        let bundle = self.tasks.container(&key.container)?.bundle.clone();
        let spec = std::mem::take(&mut self.tasks.find(key)?.spec);
        let process_file = bundle.join(format!("{}.process.json", key.exec));
        write_private(&process_file, &spec)?;
        let mut command = self.command(&key.container, "exec")?;
        prepared.give(&mut command.command);
        let pid_file = bundle.join(format!("{}.pid", key.exec));
        command.command.arg("--process").arg(&process_file).arg("--detach").arg("--pid-file").arg(&pid_file);
        command.command.arg(&key.container);
        let key = key.clone();
        self.tasks.birth_begins();
        self.run(command, move |server, finished: Finished| {
            let _ = fs::remove_file(process_file);
            let started = finished.result("OCI runtime exec failed");
            server.born(reply, &key, prepared, &pid_file, started);
            let _ = fs::remove_file(pid_file);
        });
        Ok(())
    }

    /// A command that makes a process and starts it at once has ended.
    fn born(
        &mut self,
        reply: Reply,
        key: &Key,
        prepared: Prepared,
        pid_file: &std::path::Path,
        started: Result<(), Error>,
    ) {
        let begun = started.and_then(|()| {
            let pid = read_pid(pid_file)?;
            // Nobody would hear of a process without streams.
            let io = self.begin(key, prepared).inspect_err(|_| {
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            })?;
            Ok((pid, io))
        });
        let pid = begun.as_ref().ok().map(|(pid, _)| *pid);
        let early = self.tasks.birth_ends(key, pid);
        let started = begun.and_then(|(pid, io)| {
            let process = self.tasks.find(key)?;
            (process.pid, process.early) = (pid, early);
            process.attach(io);
            Ok(())
        });
        self.started(reply, key, started);
    }

    /// Tells that a process has started, or has not, and then its end if it has that behind it.
    fn started(&mut self, reply: Reply, key: &Key, result: Result<(), Error>) {
        let early = self.tasks.process(key).and_then(|process| {
            process.starting = false;
            process.early.take()
        });
        match result.and_then(|()| self.tell_start(key)) {
            Ok(pid) => self.answer(reply, Ok(StartResponse { pid, ..Default::default() })),
            Err(error) => {
                // Whoever waits for it would wait for ever.
                let waiters = self
                    .tasks
                    .process(key)
                    .filter(|_| !key.is_init())
                    .map(|process| std::mem::take(&mut process.waiters));
                for waiter in waiters.unwrap_or_default() {
                    self.answer(waiter, Ok(super::life::wait_response(&super::container::Exit::now(255))));
                }
                self.done(reply, Err(error));
            }
        }
        if let Some(exit) = early {
            self.ended(key, exit);
        }
        self.settle(&key.container);
        self.release(key);
    }

    fn tell_start(&mut self, key: &Key) -> Result<u32, Error> {
        let process = self.tasks.find(key)?;
        process.state = State::Running;
        let pid = process.pid as u32;
        let container_id = key.container.clone();
        if key.is_init() {
            self.watch_memory(&key.container);
            self.publish(TASK_START_EVENT_TOPIC, &TaskStart { container_id, pid, ..TaskStart::default() });
        } else {
            let event = TaskExecStarted { container_id, exec_id: key.exec.clone(), pid, ..TaskExecStarted::default() };
            self.publish(TASK_EXEC_STARTED_EVENT_TOPIC, &event);
        }
        Ok(pid)
    }
}
