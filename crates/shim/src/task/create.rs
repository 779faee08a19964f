//! `Create`: mounts the root filesystem, opens the streams, and has the runtime make the container.

use std::fs;
use std::path::{Path, PathBuf};

use containerd_shim_protos::api::{CreateTaskRequest, CreateTaskResponse};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::topics::TASK_CREATE_EVENT_TOPIC;

use super::container::{Container, Key};
use super::start::Restore;
use crate::arguments::is_identifier;
use crate::error::{Context, Error};
use crate::options::{Config, Options};
use crate::rootfs;
use crate::runtime::Runtime;
use crate::server::{Finished, Reply, Server};
use crate::stdio::{Prepared, Streams};

impl Server {
    /// Makes a container.
    pub(super) fn create(&mut self, reply: Reply, request: CreateTaskRequest) -> Result<(), Error> {
        let id = request.id.clone();
        if !is_identifier(&id) {
            return Err(Error::Identifier { id });
        }
        if self.tasks.containers.contains_key(&id) || !self.tasks.creating.insert(id.clone()) {
            return Err(Error::ContainerExists { id });
        }
        let container = self.new_container(&request).and_then(|container| {
            rootfs::mount_all(&request.rootfs, &container.bundle.join("rootfs"))?;
            Ok(container)
        });
        let container = match container {
            Ok(container) => container,
            Err(error) => {
                self.tasks.creating.remove(&id);
                return Err(error);
            }
        };
        let key = Key::init(&id);
        let (bundle, options, streams) =
            (container.bundle.clone(), container.options.clone(), container.init.streams.clone());
        self.prepare(&key, &bundle, &streams, &options, move |server, prepared| match prepared {
            Ok(prepared) => server.make_container(reply, request, container, prepared),
            Err(error) => server.not_made(reply, &container, &request.id, error),
        });
        Ok(())
    }

    fn new_container(&mut self, request: &CreateTaskRequest) -> Result<Container, Error> {
        let bundle = PathBuf::from(&request.bundle);
        let options = Options::from_any(request.options.as_ref())?;
        options.save(&bundle)?;
        let config = Config::read(&bundle)?;
        let systemd = options.systemd_cgroup.unwrap_or_else(|| config.names_a_unit());
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        Ok(Container {
            runtime: Runtime::new(&options, &self.identity.namespace, &bundle, systemd),
            bundle,
            options,
            mounted: !request.rootfs.is_empty(),
            init: self.tasks.new_process(streams),
            execs: Default::default(),
            ends_with_init: config.ends_with_init(),
            paused: false,
            pausing: false,
            held: None,
            restore: None,
            cgroup: None,
            memory: None,
        })
    }

    fn make_container(
        &mut self,
        reply: Reply,
        request: CreateTaskRequest,
        mut container: Container,
        mut prepared: Prepared,
    ) {
        if !request.checkpoint.is_empty() {
            let restore =
                Restore { image: request.checkpoint.clone(), parent: request.parent_checkpoint.clone(), prepared };
            container.restore = Some(restore);
            return self.made(reply, &request, container);
        }
        let mut command = self.command_of(&container.runtime, "create");
        prepared.give(&mut command.command);
        command.command.arg("--bundle").arg(&container.bundle).arg("--pid-file").arg(container.bundle.join("init.pid"));
        if container.options.no_pivot_root {
            command.command.arg("--no-pivot");
        }
        if container.options.no_new_keyring {
            command.command.arg("--no-new-keyring");
        }
        command.command.arg(&request.id);
        self.tasks.birth_begins();
        self.run(command, move |server, finished| server.created(reply, request, container, prepared, &finished));
    }

    fn created(
        &mut self,
        reply: Reply,
        request: CreateTaskRequest,
        mut container: Container,
        prepared: Prepared,
        finished: &Finished,
    ) {
        let key = Key::init(&request.id);
        let made = finished.result("OCI runtime create failed").and_then(|()| {
            container.init.pid = read_pid(&container.bundle.join("init.pid"))?;
            container.init.attach(self.begin(&key, prepared)?);
            Ok(())
        });
        let pid = Some(container.init.pid).filter(|pid| *pid != 0);
        let early = self.tasks.birth_ends(&key, pid);
        if let Err(error) = made {
            if let Some(pid) = pid {
                self.tasks.running.remove(&pid);
            }
            return self.not_made(reply, &container, &request.id, error);
        }
        container.cgroup = super::memory::cgroup_of(container.init.pid);
        self.made(reply, &request, container);
        if let Some(exit) = early {
            self.ended(&key, exit);
        }
    }

    fn made(&mut self, reply: Reply, request: &CreateTaskRequest, container: Container) {
        let pid = container.init.pid as u32;
        self.tasks.creating.remove(&request.id);
        self.tasks.containers.insert(request.id.clone(), container);
        let io = TaskIO {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
            ..TaskIO::default()
        };
        let rootfs = request.rootfs.iter().map(|mount| containerd_shim_protos::types::mount::Mount {
            type_: mount.type_.clone(),
            source: mount.source.clone(),
            target: mount.target.clone(),
            options: mount.options.clone(),
            ..Default::default()
        });
        let event = TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle.clone(),
            rootfs: rootfs.collect(),
            io: Some(io).into(),
            checkpoint: request.checkpoint.clone(),
            pid,
            ..TaskCreate::default()
        };
        self.publish(TASK_CREATE_EVENT_TOPIC, &event);
        self.answer(reply, Ok(CreateTaskResponse { pid, ..Default::default() }));
    }

    /// Undoes what the shim has done; the runtime has undone its own.
    fn not_made(&mut self, reply: Reply, container: &Container, id: &str, error: Error) {
        self.tasks.creating.remove(id);
        container.unmount();
        self.done(reply, Err(error));
    }
}

/// Reads a pid that the runtime has written.
pub fn read_pid(path: &Path) -> Result<i32, Error> {
    let text = fs::read_to_string(path).on("read the pid", path)?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| Error::File { what: "read the pid", path: path.into(), errno: rustix::io::Errno::INVAL })
}
