//! What containerd asks of a process, and what it does to one while it runs.

use containerd_shim_protos::api::{
    CloseIORequest, ConnectRequest, ConnectResponse, KillRequest, PauseRequest, PidsRequest, PidsResponse, ProcessInfo,
    ResizePtyRequest, ResumeRequest, StateRequest, StateResponse, Status, WaitRequest, WaitResponse,
};
use containerd_shim_protos::events::task::{TaskPaused, TaskResumed};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::topics::{TASK_PAUSED_EVENT_TOPIC, TASK_RESUMED_EVENT_TOPIC};
use rustix::io::Errno;
use rustix::process::{Pid, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};

use super::container::{Container, Exit, Key, State};
use super::operation::Verb;
use crate::error::{Context, Error};
use crate::server::{Reply, Server};

/// The answer to who has waited.
pub fn wait_response(exit: &Exit) -> WaitResponse {
    WaitResponse { exit_status: exit.status, exited_at: Some(exit.at.clone()).into(), ..WaitResponse::default() }
}

impl Server {
    /// Answers when the process has ended.
    pub(super) fn wait(&mut self, reply: Reply, request: WaitRequest) -> Result<(), Error> {
        let process = self.tasks.find(&Key::new(&request.id, &request.exec_id))?;
        match &process.exit {
            Some(exit) => {
                let response = wait_response(exit);
                self.answer(reply, Ok(response));
            }
            None => process.waiters.push(reply),
        }
        Ok(())
    }

    /// How a process is.
    pub(super) fn state(&mut self, reply: Reply, request: StateRequest) -> Result<(), Error> {
        let key = Key::new(&request.id, &request.exec_id);
        let container = self.tasks.container(&key.container)?;
        let (bundle, paused, pausing) = (container.bundle.clone(), container.paused, container.pausing);
        let process = self.tasks.find(&key)?;
        let status = match process.state {
            _ if pausing => Status::PAUSING,
            State::Stopped if key.is_init() => Status::STOPPED,
            _ if paused => Status::PAUSED,
            State::Created => Status::CREATED,
            State::Running => Status::RUNNING,
            State::Stopped => Status::STOPPED,
        };
        let response = StateResponse {
            id: key.name().to_owned(),
            bundle: bundle.to_string_lossy().into_owned(),
            pid: process.pid as u32,
            status: status.into(),
            stdin: process.streams.stdin.clone(),
            stdout: process.streams.stdout.clone(),
            stderr: process.streams.stderr.clone(),
            terminal: process.streams.terminal,
            exit_status: process.exit.as_ref().map_or(0, |exit| exit.status),
            exited_at: process.exit.as_ref().map(|exit| exit.at.clone()).into(),
            exec_id: key.exec.clone(),
            ..StateResponse::default()
        };
        self.answer(reply, Ok(response));
        Ok(())
    }

    /// Who serves the container; asked for containers that do not exist, too.
    pub(super) fn connect(&mut self, reply: Reply, request: ConnectRequest) -> Result<(), Error> {
        let task_pid = self.tasks.container(&request.id).map_or(0, |container| container.init.pid as u32);
        let shim_pid = std::process::id();
        self.answer(reply, Ok(ConnectResponse { shim_pid, task_pid, ..Default::default() }));
        Ok(())
    }

    /// Sends a signal: to the first process by way of the runtime, to another one directly. The shim is the
    /// parent of both, so that the pid of one that was not waited for is not another's.
    pub(super) fn kill(&mut self, reply: Reply, request: KillRequest) -> Result<(), Error> {
        let key = Key::new(&request.id, &request.exec_id);
        let process = self.tasks.find(&key)?;
        if !key.is_init() {
            let pid = Pid::from_raw(process.pid).filter(|_| process.pid != 0).ok_or(Error::NoPid)?;
            if process.exit.is_some() || process.early.is_some() {
                return Err(Error::Finished);
            }
            let signal = rt_sys::signal::signal(request.signal).ok_or(Error::Signal { signal: request.signal })?;
            let sent = match kill_process(pid, signal) {
                Err(Errno::SRCH) => Err(Error::Finished),
                sent => sent.doing("exec kill error"),
            };
            self.done(reply, sent);
            return Ok(());
        }
        let mut command = self.command(&key.container, "kill")?;
        if request.all {
            command.command.arg("--all");
        }
        command.command.arg(&key.container).arg(request.signal.to_string());
        self.run(command, move |server, finished| {
            let result = match finished.message() {
                Some(message) => Err(kill_error(message)),
                None => Ok(()),
            };
            server.done(reply, result);
        });
        Ok(())
    }

    /// Stops a container's processes for a time.
    pub(super) fn pause(&mut self, reply: Reply, request: PauseRequest) -> Result<(), Error> {
        let verb = Verb { name: "pause", failed: "OCI runtime pause failed" };
        let allow = |container: &mut Container| {
            container.must_run("pause")?;
            if container.paused {
                return Err(Error::State { what: "pause", state: "paused", kind: "container" });
            }
            container.pausing = true;
            Ok(())
        };
        self.operate(
            reply,
            &request.id,
            verb,
            allow,
            |_| (),
            |server, id, paused| {
                if let Ok(container) = server.tasks.container(id) {
                    (container.pausing, container.paused) = (false, paused);
                }
                if paused {
                    let event = TaskPaused { container_id: id.to_owned(), ..TaskPaused::default() };
                    server.publish(TASK_PAUSED_EVENT_TOPIC, &event);
                }
            },
        )
    }

    /// Lets a paused container go on.
    pub(super) fn resume(&mut self, reply: Reply, request: ResumeRequest) -> Result<(), Error> {
        let verb = Verb { name: "resume", failed: "OCI runtime resume failed" };
        let allow = |container: &mut Container| {
            let state = match container.init.state {
                State::Running if container.paused => return Ok(()),
                State::Running => "running",
                State::Created => "created",
                State::Stopped => "stopped",
            };
            Err(Error::State { what: "resume", state, kind: "process" })
        };
        self.operate(
            reply,
            &request.id,
            verb,
            allow,
            |_| (),
            |server, id, resumed| {
                if resumed && let Ok(container) = server.tasks.container(id) {
                    container.paused = false;
                    let event = TaskResumed { container_id: id.to_owned(), ..TaskResumed::default() };
                    server.publish(TASK_RESUMED_EVENT_TOPIC, &event);
                }
            },
        )
    }

    /// All processes of a container, as pids of the host.
    pub(super) fn pids(&mut self, reply: Reply, request: PidsRequest) -> Result<(), Error> {
        let mut command = self.command(&request.id, "ps")?;
        command.command.args(["--format", "json", &request.id]);
        command.keep_output()?;
        self.run(command, move |server, finished| {
            let pids = finished.result("OCI runtime ps failed").map(|()| {
                let pids: Option<Vec<u32>> = serde_json::from_slice(&finished.output).unwrap_or_default();
                pids.unwrap_or_default()
            });
            let response = pids.map(|pids| {
                let processes = pids.into_iter().map(|pid| server.process_info(&request.id, pid)).collect();
                PidsResponse { processes, ..PidsResponse::default() }
            });
            server.answer(reply, response);
        });
        Ok(())
    }

    fn process_info(&mut self, id: &str, pid: u32) -> ProcessInfo {
        let execs = self.tasks.containers.get(id).into_iter().flat_map(|container| &container.execs);
        let mut named = execs.filter(|(_, process)| process.pid as u32 == pid && process.exit.is_none());
        let info = named.next().map(|(exec_id, _)| {
            let details = ProcessDetails { exec_id: exec_id.clone(), ..ProcessDetails::default() };
            Any {
                type_url: "containerd.runc.v1.ProcessDetails".to_owned(),
                value: details.write_to_bytes().unwrap_or_default(),
                ..Any::default()
            }
        });
        ProcessInfo { pid, info: info.into(), ..ProcessInfo::default() }
    }

    /// Sets the size of a terminal; without a terminal there is nothing to do.
    pub(super) fn resize(&mut self, reply: Reply, request: ResizePtyRequest) -> Result<(), Error> {
        let process = self.tasks.find(&Key::new(&request.id, &request.exec_id))?;
        if let Some(terminal) = process.io.terminal() {
            let size = |cells: u32| u16::try_from(cells).unwrap_or(u16::MAX);
            let (ws_col, ws_row) = (size(request.width), size(request.height));
            tcsetwinsize(terminal, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
                .doing("resize the terminal")?;
        }
        self.done(reply, Ok(()));
        Ok(())
    }

    /// Ends standard input as soon as the last client has gone.
    pub(super) fn close_stdin(&mut self, reply: Reply, request: CloseIORequest) -> Result<(), Error> {
        let process = self.tasks.find(&Key::new(&request.id, &request.exec_id))?;
        process.stdin_closed = true;
        process.io.close_stdin();
        self.done(reply, Ok(()));
        Ok(())
    }
}

/// What a failed `kill` of the runtime means to containerd.
fn kill_error(message: &str) -> Error {
    let lower = message.to_lowercase();
    let ended = ["process already finished", "container not running", "no such process"];
    if ended.iter().any(|words| lower.contains(words)) {
        Error::Finished
    } else if lower.contains("does not exist") {
        Error::UnknownToRuntime
    } else {
        Error::Runtime { what: "unknown error after kill", message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::ttrpc::Code;

    use super::*;

    #[test]
    fn the_runtimes_words_become_codes() {
        for (message, code, text) in [
            ("container not running", Code::NOT_FOUND, "process already finished: not found"),
            ("os: process already finished", Code::NOT_FOUND, "process already finished: not found"),
            ("container does not exist", Code::NOT_FOUND, "no such container: not found"),
            ("permission denied", Code::UNKNOWN, "unknown error after kill: permission denied"),
        ] {
            let status = kill_error(message).status();
            assert_eq!((status.code.enum_value().unwrap(), &*status.message), (code, text));
        }
    }
}
