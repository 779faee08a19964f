//! `Checkpoint`: freezes a container to files.

use std::fs;
use std::process::Command;

use containerd_shim_protos::api::CheckpointTaskRequest;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::CheckpointOptions;

use super::container::Container;
use super::operation::Verb;
use crate::error::Error;
use crate::server::{Reply, Server};

impl Server {
    /// Has the runtime save a container to `path`; it runs on unless the options say `exit`.
    pub(super) fn checkpoint(&mut self, reply: Reply, request: CheckpointTaskRequest) -> Result<(), Error> {
        let options = request.options.as_ref().map_or(&[][..], |any| &any.value);
        let malformed = |why| Error::Message { what: "checkpoint options".to_owned(), why };
        let options = CheckpointOptions::parse_from_bytes(options).map_err(malformed)?;
        let bundle = self.tasks.container(&request.id)?.bundle.clone();
        let own_work = options.work_path.is_empty();
        let work = if own_work { bundle.join("criu-work") } else { options.work_path.clone().into() };
        let place = work.clone();
        let complete = move |command: &mut Command| {
            command.args(arguments(&options)).arg("--image-path").arg(&request.path).arg("--work-path").arg(place);
        };
        let verb = Verb { name: "checkpoint", failed: "OCI runtime checkpoint failed" };
        let allow = |container: &mut Container| container.must_run("checkpoint");
        self.operate(reply, &request.id, verb, allow, complete, move |_, _, saved| {
            if own_work {
                if !saved {
                    let _ = fs::copy(work.join("dump.log"), bundle.join("criu-dump.log"));
                }
                let _ = fs::remove_dir_all(&work);
            }
        })
    }
}

/// The options as flags of the runtime.
fn arguments(options: &CheckpointOptions) -> Vec<String> {
    let flags = [
        (!options.exit, "--leave-running"),
        (options.open_tcp, "--tcp-established"),
        (options.external_unix_sockets, "--ext-unix-sk"),
        (options.terminal, "--shell-job"),
        (options.file_locks, "--file-locks"),
    ];
    let mut arguments: Vec<String> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()).collect();
    for namespace in &options.empty_namespaces {
        arguments.extend(["--empty-ns".to_owned(), namespace.clone()]);
    }
    if !options.cgroups_mode.is_empty() {
        arguments.extend(["--manage-cgroups-mode".to_owned(), options.cgroups_mode.clone()]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags() {
        assert_eq!(arguments(&CheckpointOptions::default()), ["--leave-running"]);
        let options = CheckpointOptions {
            exit: true,
            open_tcp: true,
            empty_namespaces: vec!["network".into()],
            cgroups_mode: "soft".into(),
            ..Default::default()
        };
        assert_eq!(arguments(&options).join(" "), "--tcp-established --empty-ns network --manage-cgroups-mode soft");
    }
}
