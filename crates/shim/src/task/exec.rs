//! `Exec`: takes a process note; `Start` starts it.

use containerd_shim_protos::api::ExecProcessRequest;
use containerd_shim_protos::events::task::TaskExecAdded;
use containerd_shim_protos::topics::TASK_EXEC_ADDED_EVENT_TOPIC;

use super::container::State;
use crate::arguments::is_identifier;
use crate::error::Error;
use crate::server::{Reply, Server};
use crate::stdio::Streams;

impl Server {
    /// Adds a process to a container.
    pub(super) fn exec(&mut self, reply: Reply, request: ExecProcessRequest) -> Result<(), Error> {
        let (id, exec_id) = (&request.id, &request.exec_id);
        let container = self.tasks.container(id)?;
        if !is_identifier(exec_id) || exec_id == "init" {
            return Err(Error::Identifier { id: exec_id.clone() });
        }
        if container.execs.contains_key(exec_id) {
            return Err(Error::ExecExists { id: exec_id.clone() });
        }
        let refused = |state| Err(Error::State { what: "exec in", state, kind: "state" });
        match container.init.state {
            State::Stopped => return refused("stopped"),
            _ if container.paused => return refused("paused"),
            State::Created if container.restore.is_some() => return refused("created"),
            _ => {}
        }
        let spec = spec(request.spec.as_ref().map_or(&[], |any| &any.value), request.terminal)?;
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let mut process = self.tasks.new_process(streams);
        process.spec = spec;
        self.tasks.container(id)?.execs.insert(exec_id.clone(), process);
        let event = TaskExecAdded { container_id: id.clone(), exec_id: exec_id.clone(), ..TaskExecAdded::default() };
        self.publish(TASK_EXEC_ADDED_EVENT_TOPIC, &event);
        self.done(reply, Ok(()));
        Ok(())
    }
}

/// The process's JSON, with the terminal that the request wants.
fn spec(json: &[u8], terminal: bool) -> Result<Vec<u8>, Error> {
    let wrong = |why| Error::Json { what: "read the process of", path: "exec".into(), why };
    let mut spec: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).map_err(wrong)?;
    spec.insert("terminal".to_owned(), terminal.into());
    serde_json::to_vec(&spec).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_decides_on_the_terminal() {
        let made = spec(br#"{"terminal": false, "args": ["sh"]}"#, true).unwrap();
        let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(made, serde_json::json!({"terminal": true, "args": ["sh"]}));
        assert!(spec(b"[]", true).is_err());
        assert!(spec(b"", true).is_err());
    }
}
