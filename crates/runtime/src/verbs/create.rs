//! `create` and `run`: a bundle becomes a container.

use std::path::Path;

use rt_cgroups::{Cgroup, Driver, Entry, Location, systemd};
use rt_plan::spec::{Document, Spec};
use rt_plan::{Console, Host, Plan, Request, hook_state_for, lower};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, stat, symlinkat};
use rustix::io::Errno;
use tracing::trace_span;
use {crate::store::time, crate::verbs::until_exit};

use super::delete::destroy;
use super::foreground::{self, Awaited, Ending};
use super::options::{CreateOptions, StoreOptions};
use crate::caller::inherited::{
    check_preserved, environment_for_hooks, set_oom_score, socket_activation, write_oom_score,
};
use crate::caller::notify::{self, Proxy};
use crate::caller::sockets::{connect_to, listen_for_start};
use crate::caller::terminal::{Terminal, console};
use crate::error::{Context, Error};
use crate::host::host_mount::HostMount;
use crate::host::resctrl::Group;
use crate::host::{self, is_rootless_as};
use crate::launch::network::{move_devices, refuse_own_parameters};
use crate::launch::{
    Descriptors, Destination, Entering, Event, HookRun, LaunchError, Launched, launch, run_hooks, timeline,
};
use crate::read_document;
use crate::store::deferred::Deferred;
use crate::store::directory::{CGROUP_LINK, Container, NOTIFY_DIR, RESCTRL_FILE, SECCOMP_FILE, STATE_FILE, Store};
use crate::store::exit::Exit;
use crate::store::from_config::{defaults_for_exec, later_hooks, owned_annotations, surroundings_for_exec};
use crate::store::pid_file::PidFile;
use crate::store::process::{Stat, has_executed};
use crate::store::state::State;

/// Creates a container; its program waits for `start`.
pub fn create(store: &Store, id: &str, options: &CreateOptions) -> Result<(), Error> {
    let (document, read) = (read_config(options)?, trace_span!("parse config.json"));
    let spec: Spec<'_> = read.in_scope(|| document.parse())?;
    let terminal = wants_terminal(&spec);
    if terminal && options.console_socket.is_none() {
        return Err(Error::TerminalWithoutSocket);
    }
    if !terminal && options.console_socket.is_some() {
        return Err(Error::SocketWithoutTerminal);
    }
    let (console, _) = console(options.console_socket.as_deref(), false)?;
    let mut making = Making::begin(store, id, &spec, options, console, true)?;
    making.stage()?;
    making.prepare()?;
    let (container, state, launched) = making.finish()?;
    launched.tell_timeline(true);
    until_exit((container, state, launched));
    Ok(())
}

/// Creates a container and starts its program; unless detached, waits for its end.
pub fn run(store: &Store, id: &str, options: &CreateOptions) -> Result<Ending, Error> {
    let (document, read) = (read_config(options)?, trace_span!("parse config.json"));
    let spec: Spec<'_> = read.in_scope(|| document.parse())?;
    let terminal = wants_terminal(&spec);
    if options.detach && terminal && options.console_socket.is_none() {
        return Err(Error::TerminalWithoutSocket);
    }
    if options.console_socket.is_some() && !(options.detach && terminal) {
        return Err(Error::SocketWithoutTerminal);
    }
    let (console, ours) = console(options.console_socket.as_deref(), terminal)?;
    // Signals from here on are the container's: none may be lost between its start and the wait for
    // it.
    let subreaper = !options.no_subreaper && !has_pid_namespace(&spec);
    let signals = (!options.detach).then(|| foreground::Signals::take(subreaper)).transpose()?;
    let mut making = Making::begin(store, id, &spec, options, console, false)?;
    // Before the program can look for it.
    let proxy = making.container.as_ref().map_or(Ok(None), Proxy::open)?;
    // Without hooks nothing keeps init for long.
    if spec.hooks.is_some()
        && signals.is_some()
        && let Some(launched) = &mut making.launched
    {
        launched.interrupt = Some(foreground::interrupts()?);
    }
    making.stage()?;
    let ahead = making.plan.unattended;
    if ahead {
        // Init then finds its release waiting, and this process sleeps until the program has been
        // executed.
        making.launched()?.release()?;
        making.await_program()?;
    } else {
        making.prepare()?;
    }
    let (container, state, launched) = making.finish()?;
    let executed = if ahead { Ok(()) } else { launched.event().map(drop).map_err(Error::from) };
    launched.tell_timeline(false);
    if executed.is_ok() {
        tracing::debug!("the program is executed");
    }
    // A hook may use the runtime itself.
    container.unlock()?;
    let started = executed.and_then(|()| poststart(&state, launched.interrupt.as_ref()));
    if let Err(e) = started {
        launched.abort();
        container.lock()?;
        let _ = destroy(&container, Some(&state));
        return Err(e);
    }
    let Some(signals) = signals else {
        if let Some(proxy) = &proxy {
            proxy.await_ready(&launched.pidfd, launched.pid)?;
        }
        return Ok(Ending::Detached);
    };
    let program = trace_span!("the program runs");
    let terminal = ours.map(|(socket, host)| Terminal::attach(&socket, host)).transpose()?;
    let force = format!("`rt --root {} kill {id} KILL` ends it", store.options().root.display());
    let awaited = Awaited { pidfd: &launched.pidfd, pid: launched.pid, force: &force };
    let status = program.in_scope(|| foreground::wait(&awaited, signals, terminal, proxy.as_ref()))?;
    let reached = foreground::explain(status, || state.reached());
    if options.keep {
        if let Some(exit) = Exit::new(status, &reached) {
            exit.record(&container);
        }
        return Ok(status);
    }
    match container.lock() {
        Ok(()) => trace_span!("delete").in_scope(|| destroy(&container, Some(&state)))?,
        // Somebody else has deleted it.
        Err(Error::DoesNotExist) => {}
        Err(e) => return Err(e),
    }
    until_exit((container, state, launched));
    Ok(status)
}

pub fn read_config(options: &CreateOptions) -> Result<Document, Error> {
    let path = options.config.clone().unwrap_or_else(|| options.bundle.join("config.json"));
    read_document(&path)
}

/// Tells what will have no effect.
pub fn warn_of(plan: &Plan) {
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
}

fn has_pid_namespace(spec: &Spec<'_>) -> bool {
    let namespaces = spec.linux.as_ref().and_then(|l| l.namespaces.as_deref()).unwrap_or_default();
    namespaces.iter().any(|namespace| namespace.kind.as_deref() == Some("pid"))
}

fn wants_terminal(spec: &Spec<'_>) -> bool {
    spec.process.as_ref().and_then(|p| p.terminal).unwrap_or(false)
}

/// poststart hooks; their failure is the caller's to know, the container lives.
pub fn poststart(state: &State, interrupt: Option<&OwnedFd>) -> Result<(), Error> {
    let hooks = state.hooks.poststart.as_deref().unwrap_or_default();
    let document = if hooks.is_empty() { Vec::new() } else { state.for_hook("running") };
    run_hooks(&HookRun { kind: "poststart", hooks, state: &document, directory: &state.bundle, interrupt })?;
    Ok(())
}

/// A container in the making. Dropped before it is finished, it leaves nothing behind.
struct Making<'a> {
    spec: &'a Spec<'a>,
    options: &'a CreateOptions,
    location: Location,
    plan: Plan,
    container: Option<Container>,
    cgroup: Option<Cgroup>,
    launched: Option<Launched>,
    state: Option<State>,
    /// This process's own oom_score_adj, to be restored.
    own_score: Option<String>,
    pid_file: Option<PidFile>,
}

impl<'a> Making<'a> {
    /// Checks and lowers the config, claims the id, makes the cgroup, and launches init.
    fn begin(
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
        check_preserved(options.preserve_fds.saturating_add(activation.count))?;
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
        let container = trace_span!("claim the id").in_scope(|| store.claim(id))?;
        tracing::debug!("claimed {}", container.path.display());
        let pid_file = options.pid_file.as_deref().map(PidFile::prepare).transpose();
        if notify.is_some() {
            notify::make_directory(&container)?;
        }
        let preserve = options.preserve_fds.saturating_add(activation.count);
        let mut making = Making {
            spec,
            options,
            location,
            plan,
            container: Some(container),
            cgroup: None,
            launched: None,
            state: None,
            own_score: None,
            pid_file: None,
        };
        making.pid_file = pid_file?;
        making.launch(&host, descriptors, barrier, preserve)?;
        Ok(making)
    }

    fn launch(&mut self, host: &Host, mut descriptors: Descriptors, barrier: bool, preserve: u32) -> Result<(), Error> {
        let container = self.container.as_ref().ok_or(Error::DoesNotExist)?;
        if barrier {
            descriptors.start = Some(listen_for_start(container)?);
        }
        if timeline::is_wanted() {
            descriptors.timeline = Some(container.timeline()?);
        }
        if let Some(program) = &self.plan.seccomp {
            container.write(SECCOMP_FILE, program)?;
        }
        let record = serde_json::to_string(&self.location).unwrap_or_default();
        symlinkat(record.as_str(), container.dir(), CGROUP_LINK).on("record the cgroup in", &container.path)?;
        if !self.plan.namespaces.has(rt_protocol::flags::namespace::NEWNS) {
            HostMount::record(container, &self.plan.rootfs)?;
        }
        let resources = self.spec.linux.as_ref().and_then(|l| l.resources.as_ref());
        if let Some(score) = self.plan.oom_score_adj {
            self.own_score = set_oom_score(score)?;
        }
        let classes = self.enter_resctrl()?;
        if self.location.driver == Driver::Systemd {
            return self.launch_into_unit(host, descriptors, preserve, classes);
        }
        let made = trace_span!("make the cgroup");
        let cgroup = self.cgroup.insert(made.in_scope(|| Cgroup::create(&host.layout, &self.location))?);
        for (_, path) in &self.location.paths {
            tracing::debug!("made the cgroup {}", path.display());
        }
        if let Some(resources) = resources {
            trace_span!("set the limits").in_scope(|| cgroup.apply(resources))?;
            tracing::debug!("set the limits");
        }
        let filter =
            |cgroup: &Cgroup| trace_span!("device filter").in_scope(|| cgroup.apply_devices(&self.plan.devices));
        // Between denied and allowed again, the device of init's terminal could not be opened.
        let meanwhile = cgroup.devices_at_once();
        if !meanwhile {
            filter(cgroup)?;
        }
        let mut entry = cgroup.entry()?;
        entry.tasks.extend(classes);
        let launched = launch(&self.plan, &descriptors, &entry, preserve, &Destination::Planned, Entering::ByEntry)?;
        let launched = self.launched.insert(launched);
        tracing::debug!("init is process {}", launched.pid);
        // What takes long and is not needed before init runs anything but our own code is done
        // while it is at work.
        launched.make_meanwhile(&self.plan)?;
        if meanwhile {
            filter(cgroup)?;
        }
        tracing::debug!("the device rules are in force");
        Ok(())
    }

    /// The `tasks` of the classes of cache and memory bandwidth. Recorded before they are made, as
    /// the cgroup is.
    fn enter_resctrl(&self) -> Result<Vec<OwnedFd>, Error> {
        let (Some(wanted), Some(container)) = (&self.plan.resctrl, &self.container) else { return Ok(Vec::new()) };
        let group = Group::locate(&container.id, wanted)?;
        container.write(RESCTRL_FILE, &serde_json::to_vec(&group).unwrap_or_default())?;
        group.make(wanted)?;
        group.tasks()
    }

    /// systemd makes a unit around a process that exists; it waits until it is in there, and
    /// limited.
    fn launch_into_unit(
        &mut self,
        host: &Host,
        descriptors: Descriptors,
        preserve: u32,
        classes: Vec<OwnedFd>,
    ) -> Result<(), Error> {
        let entry = Entry { unified: None, tasks: classes };
        let launched = self.launched.insert(launch(
            &self.plan,
            &descriptors,
            &entry,
            preserve,
            &Destination::Planned,
            Entering::Held,
        )?);
        let id = self.container.as_ref().map_or("", |c| &c.id);
        let resources = self.spec.linux.as_ref().and_then(|l| l.resources.clone()).unwrap_or_default();
        let pid = rustix::process::Pid::from_raw(launched.pid).ok_or(Error::NotRunning)?;
        let annotations = owned_annotations(self.spec);
        let wanted =
            systemd::Wanted { id, resources: &resources, devices: &self.plan.devices, annotations: &annotations };
        let unit = trace_span!("systemd makes the unit");
        tracing::debug!("init is process {}, and waits for its unit", launched.pid);
        let cgroup = unit.in_scope(|| systemd::start(&host.layout, &self.location, pid, &wanted))?;
        if let Some(unit) = &self.location.unit {
            tracing::debug!("systemd has made {} in {}", unit.name, unit.slice);
        }
        self.cgroup = Some(cgroup);
        launched.proceed()?;
        Ok(launched.make_meanwhile(&self.plan)?)
    }

    fn launched(&self) -> Result<&Launched, Error> {
        self.launched.as_ref().ok_or(Error::NotRunning)
    }

    /// Writes the state to a temporary file while init is at work; other commands see it after
    /// [`Making::finish`].
    fn stage(&mut self) -> Result<(), Error> {
        let container = self.container.as_ref().ok_or(Error::DoesNotExist)?;
        let _span = trace_span!("write the state").entered();
        let state = self.state(&container.id, self.launched()?)?;
        container.stage(&state)?;
        self.state = Some(state);
        Ok(())
    }

    fn has_executed(&self) -> Result<bool, Error> {
        let state = self.state.as_ref().ok_or(Error::NotRunning)?;
        has_executed(state.pid, state.start_time).doing("look at the container's init")
    }

    /// Waits until a released init has executed the program.
    fn await_program(&self) -> Result<(), Error> {
        let launched = self.launched()?;
        match launched.event()? {
            Event::Executed if self.has_executed()? => Ok(()),
            _ => Err(self.died()),
        }
    }

    /// Goes with init through its preparations.
    fn prepare(&mut self) -> Result<(), Error> {
        loop {
            let launched = self.launched()?;
            match launched.event() {
                Ok(Event::Hooks) => {
                    move_devices(&self.plan.net_devices, &self.launched()?.pidfd)?;
                    trace_span!("hooks").in_scope(|| self.runtime_hooks())?;
                    self.launched()?.release()?;
                }
                Ok(Event::Ready) => {
                    tracing::debug!("init is ready");
                    return Ok(launched.set_limits(&self.plan.limits)?);
                }
                Ok(Event::Executed) => return Err(self.died()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// prestart, then createRuntime (config.md "Prestart", "CreateRuntime Hooks").
    fn runtime_hooks(&self) -> Result<(), Error> {
        let Some(hooks) = &self.spec.hooks else { return Ok(()) };
        let pid = self.launched()?.pid;
        let id = self.container.as_ref().map_or("", |c| &c.id);
        let state = hook_state_for(self.spec, id, &self.options.bundle, "creating", pid);
        let lists = [("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)];
        for (kind, list) in lists {
            let hooks = list.as_deref().unwrap_or_default();
            let interrupt = self.launched()?.interrupt.as_ref();
            run_hooks(&HookRun { kind, hooks, state: &state, directory: &self.options.bundle, interrupt })?;
        }
        Ok(())
    }

    /// Init has ended without a report: the kernel or another process killed it.
    fn died(&self) -> Error {
        let mut reached = self.cgroup.as_ref().map(Cgroup::reached).unwrap_or_default();
        // A unit of systemd's may go while it is read, and its limit with it.
        for hit in reached.0.iter_mut().filter(|hit| hit.resource == "memory") {
            hit.limit = hit.limit.or(self.plan.tight_memory.and_then(|limit| u64::try_from(limit).ok()));
        }
        if reached.0.iter().any(|hit| hit.resource == "memory") {
            return Error::OomKilled(reached);
        }
        let how = match self.launched.as_ref().and_then(Launched::abort) {
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit status {code}"),
                // A unit of systemd's takes its counters along.
                (None, Some(9)) if let Some(limit) = self.plan.tight_memory => {
                    format!("killed by signal 9 (memory limit too low? It is {limit} bytes)")
                }
                (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
            },
            None => "for an unknown reason".to_owned(),
        };
        LaunchError::Died { how }.into()
    }

    /// Init is ready, or the program already: the container exists from here on.
    fn finish(mut self) -> Result<(Container, State, Launched), Error> {
        let launched = self.launched()?;
        let container = self.container.as_ref().ok_or(Error::DoesNotExist)?;
        container.publish()?;
        tracing::debug!("the state is in {}", container.path.join(STATE_FILE).display());
        let pid = launched.pid;
        if let Some(file) = self.pid_file.take() {
            file.publish(pid)?;
            tracing::debug!("wrote the pid file");
        }
        let launched = self.launched()?;
        if !self.plan.unattended {
            launched.release()?;
        }
        // Not before init has a memory of its own: the kernel changes the score of all that share
        // it.
        if let Some(score) = &self.own_score {
            let _ = write_oom_score(score);
        }
        match (self.container.take(), self.state.take(), self.launched.take()) {
            (Some(container), Some(state), Some(launched)) => Ok((container, state, launched)),
            _ => Err(Error::DoesNotExist),
        }
    }

    fn state(&self, id: &str, launched: &Launched) -> Result<State, Error> {
        let Some(stat) = Stat::read(launched.pid).doing("look at the container's init")? else {
            return Err(self.died());
        };
        let spec = self.spec;
        let linux = spec.linux.as_ref();
        let agent = self.plan.seccomp_agent.clone().map(|path| {
            let metadata = linux.and_then(|l| l.seccomp.as_ref()).and_then(|s| s.listener_metadata.clone());
            (path, metadata.unwrap_or_default())
        });
        Ok(State {
            id: id.to_owned(),
            pid: launched.pid,
            start_time: stat.start_time,
            created: time::now(),
            bundle: self.options.bundle.clone(),
            rootfs: self.plan.rootfs.clone(),
            annotations: owned_annotations(spec),
            cgroup: self.location.clone(),
            resources: linux.and_then(|l| l.resources.clone()).unwrap_or_default().into(),
            namespaces: self.plan.namespaces.all(),
            uid_mappings: self.plan.namespaces.maps.uid.clone(),
            process: defaults_for_exec(spec.process.as_ref()).into(),
            surroundings: surroundings_for_exec(linux).map(Deferred::from),
            hooks: later_hooks(spec.hooks.as_ref()),
            seccomp: self.plan.seccomp.is_some(),
            resctrl: self.plan.resctrl.is_some(),
            seccomp_agent: agent,
            late_ops: launched.late_ops(),
        })
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // Taken by `finish`: the container lives on.
        let Some(container) = &self.container else { return };
        if let Some(launched) = &self.launched {
            launched.abort();
        }
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill_all();
            let _ = systemd::stop(&self.location);
            let _ = cgroup.remove();
        }
        if self.plan.resctrl.is_some() {
            let _ = super::delete::leave_resctrl(container);
        }
        if let Some(mount) = HostMount::recorded(container) {
            mount.remove();
        }
        if let Some(path) = &self.options.pid_file {
            // Published already, or never.
            let _ = std::fs::remove_file(path);
        }
        let _ = container.remove(None);
    }
}

/// Where the cgroup goes (config-linux.md "Cgroups Path").
pub fn locate(spec: &Spec<'_>, host: &Host, id: &str, options: &StoreOptions) -> Result<Location, Error> {
    let path = spec.linux.as_ref().and_then(|l| l.cgroups_path.as_deref()).filter(|p| !p.is_empty());
    let rootless = options.rootless.unwrap_or_else(|| is_rootless_as(host.root));
    Ok(rt_cgroups::locate(&host.layout, options.driver, path, id, rootless)?)
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
