//! A container in the making. Each state takes the one before it: a [`Draft`] changes nothing yet, with
//! [`Claimed`] the id is taken. Then init is launched ([`launching`]), or restored ([`restoring`]).
//! A state that is dropped removes what was made, in the reverse order.

mod launching;
mod restoring;

use std::path::{Path, PathBuf};

use rt_cgroups::{Cgroup, Location, systemd};
use rt_plan::spec::Spec;
use rt_plan::{Console, Host, Plan, Request, hook_state_for, lower};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, stat, symlinkat};
use rustix::io::Errno;
use scopeguard::guard;
use tracing::trace_span;

use super::create::{locate, warn_of};
use super::delete::poststop;
use super::options::CreateOptions;
use super::undo::Undo;
use crate::caller::inherited::{check_preserved, environment_for_hooks, socket_activation};
use crate::caller::notify;
use crate::caller::sockets::{connect_to, listen_for_start};
use crate::error::{Context, Error};
use crate::host;
use crate::host::base_mounts;
use crate::host::host_mount::HostMount;
use crate::host::resctrl::Group;
use crate::launch::network::refuse_own_parameters;
use crate::launch::{Descriptors, HookRun, LaunchError, run_hooks, timeline};
use crate::store::deferred::Deferred;
use crate::store::directory::{CGROUP_LINK, Container, NOTIFY_DIR, RESCTRL_FILE, SECCOMP_FILE, Store};
use crate::store::from_config::{defaults_for_exec, later_hooks, owned_annotations, surroundings_for_exec};
use crate::store::pid_file::PidFile;
use crate::store::state::State;
use crate::store::time;

/// A cgroup, and where it is.
type Placed = (Cgroup, Location);

/// All that can be decided and checked before anything changes.
pub struct Draft<'a> {
    spec: &'a Spec<'a>,
    options: &'a CreateOptions,
    host: Host,
    location: Location,
    plan: Plan,
    descriptors: Descriptors,
    /// How many descriptors the program gets besides the standard streams.
    preserve: u32,
    /// The container gets a notify socket of its own.
    notifies: bool,
    /// Init waits for `rt start`.
    barrier: bool,
}

/// A draft whose id is taken.
pub struct Claimed<'a> {
    draft: Draft<'a>,
    pid_file: Option<PidFile>,
    /// The pid file under its final name, from now or from an earlier container.
    named_pid_file: Option<Undo<PathBuf>>,
    container: Undo<Container>,
}

fn remove_container(container: Container) {
    let _ = super::delete::leave_resctrl(&container);
    if let Some(mount) = HostMount::recorded(&container) {
        mount.remove();
    }
    let _ = container.remove(None);
}

fn remove_cgroup((cgroup, location): Placed) {
    let _ = cgroup.kill_all();
    let _ = systemd::stop(&location);
    let _ = cgroup.remove();
}

fn remove_pid_file(path: PathBuf) {
    let _ = std::fs::remove_file(path);
}

impl<'a> Draft<'a> {
    /// Lowers the config, checks what the host can tell beforehand, and connects to the caller's sockets.
    pub fn lower(
        store: &Store,
        id: &str,
        spec: &'a Spec<'a>,
        options: &'a CreateOptions,
        console: Option<(OwnedFd, Console)>,
        barrier: bool,
    ) -> Result<Self, Error> {
        crate::store::directory::check_id(id)?;
        let host = trace_span!("probe the host").in_scope(host::probe)?;
        let location = locate(spec, &host, id, store.options())?;
        let activation = socket_activation();
        let preserve = options.preserve_fds.saturating_add(activation.count);
        check_preserved(preserve)?;
        let notify = notify::wanted().then(|| store.options().root.join(id).join(NOTIFY_DIR));
        let environment = environment_for_hooks(spec);
        let request = Request {
            id,
            bundle: &options.bundle,
            cgroup: &location,
            console: console.as_ref().map_or(Console::Absent, |(_, how)| *how),
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            listen_fds: activation.count,
            listen_names: activation.names.as_deref(),
            notify_dir: notify.as_deref(),
            pidfd_socket: options.pidfd_socket.is_some(),
            barrier,
            environment: &environment,
        };
        let plan = trace_span!("lower").in_scope(|| lower(spec, &host, &request))?;
        warn_of(&plan.warnings);
        tracing::debug!("{} steps for init, rootfs {}", plan.ops.len(), plan.rootfs.display());
        refuse_own_parameters(&plan)?;
        check_rootfs(&plan.rootfs)?;
        let agent = plan.seccomp_agent.as_deref().filter(|_| plan.seccomp.is_some());
        let descriptors = Descriptors {
            console: console.map(|(socket, _)| socket),
            start: None,
            agent: agent.map(|p| connect_to("failed to connect with seccomp agent", p)).transpose()?,
            pidfd: options.pidfd_socket.as_deref().map(|p| connect_to("connect to the pidfd socket", p)).transpose()?,
            timeline: None,
            base: None,
        };
        let notifies = notify.is_some();
        Ok(Draft { spec, options, host, location, plan, descriptors, preserve, notifies, barrier })
    }

    /// Takes the id, and prepares the files that the caller or the program looks for.
    pub fn claim(self, store: &Store, id: &str) -> Result<Claimed<'a>, Error> {
        let container = trace_span!("claim the id").in_scope(|| store.claim(id))?;
        let container: Undo<Container> = guard(container, remove_container);
        tracing::debug!("claimed {}", container.path.display());
        let path = self.options.pid_file.as_deref();
        let named_pid_file = path.map(|path| guard(path.to_owned(), remove_pid_file as fn(PathBuf)));
        let pid_file = path.map(PidFile::prepare).transpose()?;
        if self.notifies {
            notify::make_directory(&container)?;
        }
        Ok(Claimed { draft: self, pid_file, named_pid_file, container })
    }
}

impl<'a> Claimed<'a> {
    /// Makes the container by `steps`. If they fail, nothing of it is left, and then its poststop hooks
    /// run, as after a delete: hooks that ran before may have made what these remove (runtime.md
    /// "Lifecycle", steps 12 and 13).
    pub fn make<T>(self, steps: impl FnOnce(Self) -> Result<T, Error>) -> Result<T, Error> {
        let Draft { spec, options, .. } = self.draft;
        let hooks = spec.hooks.as_ref().and_then(|hooks| hooks.poststop.as_deref()).unwrap_or_default();
        let id = self.container.id.clone();
        steps(self).inspect_err(|_| {
            poststop(hooks, &hook_state_for(spec, &id, &options.bundle, "stopped", 0), &options.bundle);
        })
    }

    /// Writes what init needs, and where the cgroup and a mount on the host will be: a creator that is
    /// killed from here on leaves enough for `rt delete --force`.
    fn record(&mut self) -> Result<(), Error> {
        let (container, draft) = (&self.container, &mut self.draft);
        if draft.barrier {
            draft.descriptors.start = Some(listen_for_start(container)?);
        }
        if timeline::is_wanted() {
            draft.descriptors.timeline = Some(container.timeline()?);
        }
        if draft.plan.namespaces.mounts_by_init {
            draft.descriptors.base = base_mounts::get();
        }
        if let Some(program) = &draft.plan.seccomp {
            container.write(SECCOMP_FILE, program)?;
        }
        let location = serde_json::to_string(&draft.location).unwrap_or_default();
        symlinkat(location.as_str(), container.dir(), CGROUP_LINK).on("record the cgroup in", &container.path)?;
        if !draft.plan.namespaces.has(rt_protocol::flags::namespace::NEWNS) {
            HostMount::record(container, &draft.plan.rootfs)?;
        }
        Ok(())
    }

    /// The `tasks` of the classes of cache and memory bandwidth. Recorded before they are made, as
    /// the cgroup is.
    fn enter_resctrl(&self) -> Result<Vec<OwnedFd>, Error> {
        let Some(wanted) = &self.draft.plan.resctrl else { return Ok(Vec::new()) };
        let group = Group::locate(&self.container.id, wanted)?;
        self.container.write(RESCTRL_FILE, &serde_json::to_vec(&group).unwrap_or_default())?;
        group.make(wanted)?;
        group.tasks()
    }

    /// Makes the cgroup, with its limits.
    fn make_cgroup(&self) -> Result<Undo<Placed>, Error> {
        let Draft { spec, host, location, .. } = &self.draft;
        let cgroup = trace_span!("make the cgroup").in_scope(|| Cgroup::create(&host.layout, location))?;
        let made: Undo<Placed> = guard((cgroup, location.clone()), remove_cgroup);
        for (_, path) in &location.paths {
            tracing::debug!("made the cgroup {}", path.display());
        }
        if let Some(resources) = spec.linux.as_ref().and_then(|l| l.resources.as_ref()) {
            trace_span!("set the limits").in_scope(|| made.0.apply(resources))?;
            tracing::debug!("set the limits");
        }
        Ok(made)
    }

    /// Lets systemd make a unit with the limits around the process `pid`.
    fn make_unit(&self, pid: i32) -> Result<Undo<Placed>, Error> {
        let Draft { spec, host, location, plan, .. } = &self.draft;
        let resources = spec.linux.as_ref().and_then(|l| l.resources.clone()).unwrap_or_default();
        let pid = rustix::process::Pid::from_raw(pid).ok_or(Error::NotRunning)?;
        let annotations = owned_annotations(spec);
        let id = &self.container.id;
        let wanted = systemd::Wanted { id, resources: &resources, devices: &plan.devices, annotations: &annotations };
        let unit = trace_span!("systemd makes the unit");
        let cgroup = unit.in_scope(|| systemd::start(&host.layout, location, pid, &wanted))?;
        if let Some(unit) = &location.unit {
            tracing::debug!("systemd has made {} in {}", unit.name, unit.slice);
        }
        Ok(guard((cgroup, location.clone()), remove_cgroup))
    }

    /// prestart, then createRuntime (config.md "Prestart", "CreateRuntime Hooks").
    fn runtime_hooks(&self, init: i32, interrupt: Option<&OwnedFd>) -> Result<(), Error> {
        let Draft { spec, options, .. } = &self.draft;
        let Some(hooks) = &spec.hooks else { return Ok(()) };
        let state = hook_state_for(spec, &self.container.id, &options.bundle, "creating", init);
        let lists = [("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)];
        for (kind, list) in lists {
            let hooks = list.as_deref().unwrap_or_default();
            run_hooks(&HookRun { kind, hooks, state: &state, directory: &options.bundle, interrupt })?;
        }
        Ok(())
    }

    /// The state of the container, with this process as its init.
    fn state(&self, pid: i32, start_time: u64) -> State {
        let Draft { spec, options, location, plan, .. } = &self.draft;
        let linux = spec.linux.as_ref();
        let agent = plan.seccomp_agent.clone().map(|path| {
            let metadata = linux.and_then(|l| l.seccomp.as_ref()).and_then(|s| s.listener_metadata.clone());
            (path, metadata.unwrap_or_default())
        });
        State {
            id: self.container.id.clone(),
            pid,
            start_time,
            created: time::now(),
            bundle: options.bundle.clone(),
            config: options.config.clone(),
            rootfs: plan.rootfs.clone(),
            annotations: owned_annotations(spec),
            cgroup: location.clone(),
            resources: linux.and_then(|l| l.resources.clone()).unwrap_or_default().into(),
            namespaces: plan.namespaces.all(),
            uid_mappings: plan.namespaces.maps.uid.clone(),
            process: defaults_for_exec(spec.process.as_ref()).into(),
            surroundings: surroundings_for_exec(linux).map(Deferred::from),
            hooks: later_hooks(spec.hooks.as_ref()),
            seccomp: plan.seccomp.is_some(),
            resctrl: plan.resctrl.is_some(),
            seccomp_agent: agent,
            late_ops: Vec::new(),
        }
    }
}

fn check_rootfs(rootfs: &Path) -> Result<(), Error> {
    let is_directory = stat(rootfs).and_then(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(()),
        _ => Err(Errno::NOTDIR),
    });
    match is_directory {
        Ok(()) => Ok(()),
        Err(errno) => Err(LaunchError::Named {
            pointer: "/root/path".into(),
            what: "rootfs",
            name: rootfs.display().to_string(),
            errno,
        }
        .into()),
    }
}
