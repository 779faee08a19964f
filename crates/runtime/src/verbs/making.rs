//! A container in the making. Each state takes the one before it: a [`Draft`] changes nothing yet, with
//! [`Claimed`] the id is taken, with [`Started`] init is at work, with [`Staged`] the state is written.
//! A state that is dropped removes what was made, in the reverse order.

use std::path::{Path, PathBuf};

use rt_cgroups::{Cgroup, Driver, Entry, Location, systemd};
use rt_plan::spec::Spec;
use rt_plan::{Console, Host, Plan, Request, hook_state_for, lower};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, stat, symlinkat};
use rustix::io::Errno;
use scopeguard::{ScopeGuard, guard};
use tracing::trace_span;

use super::create::{locate, warn_of};
use super::options::CreateOptions;
use super::undo::{Undo, end};
use crate::caller::inherited::{
    check_preserved, environment_for_hooks, set_oom_score, socket_activation, write_oom_score,
};
use crate::caller::notify;
use crate::caller::sockets::{connect_to, listen_for_start};
use crate::error::{Context, Error};
use crate::host;
use crate::host::host_mount::HostMount;
use crate::host::resctrl::Group;
use crate::launch::network::{move_devices, refuse_own_parameters};
use crate::launch::{
    Descriptors, Destination, Entering, Event, HookRun, LaunchError, Launched, launch, run_hooks, timeline,
};
use crate::store::deferred::Deferred;
use crate::store::directory::{CGROUP_LINK, Container, NOTIFY_DIR, RESCTRL_FILE, SECCOMP_FILE, STATE_FILE, Store};
use crate::store::from_config::{defaults_for_exec, later_hooks, owned_annotations, surroundings_for_exec};
use crate::store::pid_file::PidFile;
use crate::store::process::{Stat, has_executed};
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

/// A container whose init is at work, in its cgroup.
pub struct Started<'a> {
    /// Init.
    pub init: Undo<Launched>,
    cgroup: Undo<Placed>,
    /// This process's own oom_score_adj, to be restored.
    own_score: Option<String>,
    claimed: Claimed<'a>,
}

/// A container whose state is written, under a name where no command looks.
pub struct Staged<'a> {
    started: Started<'a>,
    state: State,
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
        warn_of(&plan);
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
    /// Makes the cgroup and starts init, which goes to work.
    pub fn launch(mut self) -> Result<Started<'a>, Error> {
        self.record()?;
        let own_score = self.draft.plan.oom_score_adj.map_or(Ok(None), set_oom_score)?;
        let classes = self.enter_resctrl()?;
        let (init, cgroup) = match self.draft.location.driver {
            Driver::Systemd => self.launch_into_unit(classes)?,
            Driver::Cgroupfs | Driver::Disabled => self.launch_into_cgroup(classes)?,
        };
        Ok(Started { init, cgroup, own_score, claimed: self })
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

    fn launch_into_cgroup(&self, classes: Vec<OwnedFd>) -> Result<(Undo<Launched>, Undo<Placed>), Error> {
        let Draft { spec, host, location, plan, .. } = &self.draft;
        let cgroup = trace_span!("make the cgroup").in_scope(|| Cgroup::create(&host.layout, location))?;
        let made: Undo<Placed> = guard((cgroup, location.clone()), remove_cgroup);
        let cgroup = &made.0;
        for (_, path) in &location.paths {
            tracing::debug!("made the cgroup {}", path.display());
        }
        if let Some(resources) = spec.linux.as_ref().and_then(|l| l.resources.as_ref()) {
            trace_span!("set the limits").in_scope(|| cgroup.apply(resources))?;
            tracing::debug!("set the limits");
        }
        let filter = || trace_span!("device filter").in_scope(|| cgroup.apply_devices(&plan.devices));
        // Between denied and allowed again, the device of init's terminal could not be opened.
        let meanwhile = cgroup.devices_at_once();
        if !meanwhile {
            filter()?;
        }
        let mut entry = cgroup.entry()?;
        entry.tasks.extend(classes);
        let init = self.start_init(&entry, Entering::ByEntry)?;
        tracing::debug!("init is process {}", init.pid);
        // What takes long and is not needed before init runs anything but our own code is done
        // while it is at work.
        init.make_meanwhile(plan)?;
        if meanwhile {
            filter()?;
        }
        tracing::debug!("the device rules are in force");
        Ok((init, made))
    }

    /// systemd makes a unit around a process that exists; init waits until it is in the unit, and
    /// limited.
    fn launch_into_unit(&self, classes: Vec<OwnedFd>) -> Result<(Undo<Launched>, Undo<Placed>), Error> {
        let Draft { spec, host, location, plan, .. } = &self.draft;
        let entry = Entry { unified: None, tasks: classes };
        let mut init = self.start_init(&entry, Entering::Held)?;
        let resources = spec.linux.as_ref().and_then(|l| l.resources.clone()).unwrap_or_default();
        let pid = rustix::process::Pid::from_raw(init.pid).ok_or(Error::NotRunning)?;
        let annotations = owned_annotations(spec);
        let id = &self.container.id;
        let wanted = systemd::Wanted { id, resources: &resources, devices: &plan.devices, annotations: &annotations };
        tracing::debug!("init is process {}, and waits for its unit", init.pid);
        let unit = trace_span!("systemd makes the unit");
        let cgroup = unit.in_scope(|| systemd::start(&host.layout, location, pid, &wanted))?;
        let made: Undo<Placed> = guard((cgroup, location.clone()), remove_cgroup);
        if let Some(unit) = &location.unit {
            tracing::debug!("systemd has made {} in {}", unit.name, unit.slice);
        }
        init.proceed()?;
        init.make_meanwhile(plan)?;
        Ok((init, made))
    }

    fn start_init(&self, entry: &Entry, entering: Entering) -> Result<Undo<Launched>, Error> {
        let Draft { plan, descriptors, preserve, .. } = &self.draft;
        let init = launch(plan, descriptors, entry, *preserve, &Destination::Planned, entering)?;
        Ok(guard(init, end))
    }
}

impl<'a> Started<'a> {
    /// The container's directory.
    pub fn container(&self) -> &Container {
        &self.claimed.container
    }

    fn plan(&self) -> &Plan {
        &self.claimed.draft.plan
    }

    /// Writes the state to a temporary file while init is at work; other commands see it after
    /// [`Staged::finish`].
    pub fn stage(self) -> Result<Staged<'a>, Error> {
        let span = trace_span!("write the state").entered();
        let state = self.state()?;
        self.container().stage(&state)?;
        drop(span);
        Ok(Staged { started: self, state })
    }

    /// Init has ended without a report: the kernel or another process killed it.
    fn died(&self) -> Error {
        let mut reached = self.cgroup.0.reached();
        // A unit of systemd's may go while it is read, and its limit with it.
        for hit in reached.0.iter_mut().filter(|hit| hit.resource == "memory") {
            hit.limit = hit.limit.or(self.plan().tight_memory.and_then(|limit| u64::try_from(limit).ok()));
        }
        if reached.0.iter().any(|hit| hit.resource == "memory") {
            return Error::OomKilled(reached);
        }
        let how = match self.init.abort() {
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit status {code}"),
                // A unit of systemd's takes its counters along.
                (None, Some(9)) if let Some(limit) = self.plan().tight_memory => {
                    format!("killed by signal 9 (memory limit too low? It is {limit} bytes)")
                }
                (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
            },
            None => "for an unknown reason".to_owned(),
        };
        LaunchError::Died { how }.into()
    }

    fn state(&self) -> Result<State, Error> {
        let Draft { spec, options, location, plan, .. } = &self.claimed.draft;
        let Some(stat) = Stat::read(self.init.pid).doing("look at the container's init")? else {
            return Err(self.died());
        };
        let linux = spec.linux.as_ref();
        let agent = plan.seccomp_agent.clone().map(|path| {
            let metadata = linux.and_then(|l| l.seccomp.as_ref()).and_then(|s| s.listener_metadata.clone());
            (path, metadata.unwrap_or_default())
        });
        Ok(State {
            id: self.container().id.clone(),
            pid: self.init.pid,
            start_time: stat.start_time,
            created: time::now(),
            bundle: options.bundle.clone(),
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
            late_ops: self.init.late_ops(),
        })
    }
}

impl Staged<'_> {
    /// Whether init needs nothing of this process when it is ready.
    pub fn is_unattended(&self) -> bool {
        self.started.plan().unattended
    }

    /// Lets init go on.
    pub fn release(&self) -> Result<(), Error> {
        Ok(self.started.init.release()?)
    }

    fn has_executed(&self) -> Result<bool, Error> {
        has_executed(self.state.pid, self.state.start_time).doing("look at the container's init")
    }

    /// Waits until a released init has executed the program.
    pub fn await_program(&self) -> Result<(), Error> {
        match self.started.init.event()? {
            Event::Executed if self.has_executed()? => Ok(()),
            _ => Err(self.started.died()),
        }
    }

    /// Goes with init through its preparations.
    pub fn prepare(&mut self) -> Result<(), Error> {
        let (init, plan) = (&self.started.init, self.started.plan());
        loop {
            match init.event()? {
                Event::Hooks => {
                    move_devices(&plan.net_devices, &init.pidfd)?;
                    trace_span!("hooks").in_scope(|| self.runtime_hooks())?;
                    init.release()?;
                }
                Event::Ready => {
                    tracing::debug!("init is ready");
                    return Ok(init.set_limits(&plan.limits)?);
                }
                Event::Executed => return Err(self.started.died()),
            }
        }
    }

    /// prestart, then createRuntime (config.md "Prestart", "CreateRuntime Hooks").
    fn runtime_hooks(&self) -> Result<(), Error> {
        let Draft { spec, options, .. } = &self.started.claimed.draft;
        let Some(hooks) = &spec.hooks else { return Ok(()) };
        let init = &self.started.init;
        let state = hook_state_for(spec, &self.state.id, &options.bundle, "creating", init.pid);
        let lists = [("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)];
        for (kind, list) in lists {
            let hooks = list.as_deref().unwrap_or_default();
            let interrupt = init.interrupt.as_ref();
            run_hooks(&HookRun { kind, hooks, state: &state, directory: &options.bundle, interrupt })?;
        }
        Ok(())
    }

    /// Init is ready, or the program already: the container exists from here on.
    pub fn finish(mut self) -> Result<(Container, State, Launched), Error> {
        let container = self.started.container();
        container.publish()?;
        tracing::debug!("the state is in {}", container.path.join(STATE_FILE).display());
        if let Some(file) = self.started.claimed.pid_file.take() {
            file.publish(self.started.init.pid)?;
            tracing::debug!("wrote the pid file");
        }
        if !self.is_unattended() {
            self.release()?;
        }
        let Started { init, cgroup, own_score, claimed } = self.started;
        // Not before init has a memory of its own: the kernel changes the score of all that share
        // it.
        if let Some(score) = &own_score {
            let _ = write_oom_score(score);
        }
        claimed.named_pid_file.map(ScopeGuard::into_inner);
        ScopeGuard::into_inner(cgroup);
        Ok((ScopeGuard::into_inner(claimed.container), self.state, ScopeGuard::into_inner(init)))
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
