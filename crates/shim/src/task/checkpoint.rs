//! `Checkpoint`: freezes a container to files.

use std::fs;

use containerd_shim_protos::api::CheckpointTaskRequest;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::CheckpointOptions;

use super::container::{Key, State};
use crate::error::Error;
use crate::server::{Reply, Server};

impl Server {
    /// Has the runtime save a container to `path`; it runs on unless the options say `exit`.
    pub(super) fn checkpoint(&mut self, reply: Reply, request: CheckpointTaskRequest) -> Result<(), Error> {
        let key = Key::init(&request.id);
        self.tasks.find(&key)?;
        let options = request.options.as_ref().map_or(&[][..], |any| &any.value);
        let malformed = |why| Error::Message { what: "checkpoint options".to_owned(), why };
        let options = CheckpointOptions::parse_from_bytes(options).map_err(malformed)?;
        self.exclusively(&key.clone(), move |server| {
            let Ok(container) = server.tasks.container(&key.container) else {
                return server.done(reply, Err(Error::NoContainer));
            };
            let refused = match container.init.state {
                State::Created => Some(("created", "task")),
                State::Stopped => Some(("stopped", "container")),
                State::Running => None,
            };
            if let Some((state, kind)) = refused {
                server.done(reply, Err(Error::State { what: "checkpoint", state, kind }));
                return server.release(&key);
            }
            let (runtime, bundle) = (container.runtime.clone(), container.bundle.clone());
            let own_work = options.work_path.is_empty();
            let work = if own_work { bundle.join("criu-work") } else { options.work_path.clone().into() };
            let mut command = server.command(&runtime, &bundle, "checkpoint");
            command.command.args(arguments(&options)).arg("--image-path").arg(&request.path);
            command.command.arg("--work-path").arg(&work).arg(&key.container);
            server.run(command, move |server, finished| {
                if own_work {
                    let _ = fs::copy(work.join("dump.log"), bundle.join("criu-dump.log"));
                    let _ = fs::remove_dir_all(&work);
                }
                server.done(reply, finished.result("OCI runtime checkpoint failed"));
                server.release(&key);
            });
        });
        Ok(())
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
