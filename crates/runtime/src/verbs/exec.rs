//! `exec`: another process in a container, in its namespaces and its cgroup, through the same stub.

use std::path::PathBuf;
use std::time::Duration;

use rt_cgroups::{Cgroup, Driver, Entry, systemd};
use rt_plan::spec::{Capabilities, Linux, Process, Spec, Text, User};
use rt_plan::{Console, ExecRequest, Host, Plan, Request, lower_exec};
use rt_seccomp::Profile;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid};
use scopeguard::{ScopeGuard, guard};
use serde::Deserialize;

use super::create::warn_of;
use super::foreground::{self, Awaited, Ending, explain};
use crate::caller::inherited::{check_preserved, set_oom_score, write_oom_score};
use crate::caller::sockets::connect_to;
use crate::caller::terminal::{Terminal, console};
use crate::error::{Context, Error};
use crate::launch::{Descriptors, Destination, Entering, Event, LaunchError, Launched, launch, timeline};
use crate::read_document;
use crate::store::deferred::Deferred;
use crate::store::directory::{Container, SECCOMP_FILE, Store};
use crate::store::pid_file::PidFile;
use crate::store::process::{DYING, ends};
use crate::store::state::{State, Status, Surroundings};
use crate::verbs::undo::{Undo, end};
use crate::verbs::until_exit;

/// The options of `exec`.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// `--process`: a file with the whole process.
    pub process: Option<PathBuf>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--env`, in addition to the container's.
    pub env: Vec<String>,
    /// `--tty`.
    pub terminal: bool,
    /// `--user`: user and group.
    pub user: Option<(u32, Option<u32>)>,
    /// `--additional-gids`.
    pub additional_gids: Vec<u32>,
    /// `--cap`, in addition to the container's.
    pub caps: Vec<String>,
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--apparmor`.
    pub apparmor: Option<String>,
    /// `--process-label`.
    pub process_label: Option<String>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`, absolute.
    pub pid_file: Option<PathBuf>,
    /// `--detach`.
    pub detach: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
    /// `--cgroup`: a cgroup below the container's.
    pub cgroup: Option<String>,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
}

/// What `exec` wants to know of a container's config.json.
#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow)]
    process: Option<Process<'a>>,
}

/// Executes a process; unless detached, waits for its end.
pub fn exec(store: &Store, id: &str, options: &ExecOptions) -> Result<Ending, Error> {
    let container = store.open(id)?;
    let state = container.state()?;
    let cgroup = Cgroup::open(&state.cgroup)?;
    let (init, stat) = state.init_and_stat()?.ok_or_else(|| Error::ExecStopped(state.reached()))?;
    let paused = || matches!(cgroup.freezer_state(), Ok(rt_cgroups::FreezerState::Frozen));
    if container.status_of(&stat, paused)? == Status::Paused && !options.ignore_paused {
        return Err(Error::ExecPaused);
    }
    let document = match &options.process {
        Some(path) => read_document(path)?,
        None => read_document(&state.bundle.join("config.json"))?,
    };
    let process: Process<'_> = match &options.process {
        Some(_) => document.parse()?,
        None => document.parse::<Config<'_>>()?.process.unwrap_or_default(),
    };
    let defaults = state.process.read().map_err(|e| container.damaged(&e))?;
    let process = with_options(process, options, defaults)?;
    let terminal = process.terminal.unwrap_or(false);
    if options.detach && terminal && options.console_socket.is_none() {
        return Err(Error::TerminalWithoutSocket);
    }
    if options.console_socket.is_some() && !terminal {
        return Err(Error::SocketWithoutTerminal);
    }
    let ending = launch_in(&container, &state, &cgroup, &init, process, options);
    let ending = ending.map_err(|e| or_stopped(e, &init, &state))?;
    until_exit((container, state, cgroup, init));
    Ok(ending)
}

/// An init that ends takes with it what is being executed beside it; what is seen of that is not
/// the cause. Already before it has ended it is in no namespaces (setns(2), ESRCH), and its pid
/// namespace takes no new process (clone(2), ENOMEM).
fn or_stopped(e: Error, init: &OwnedFd, state: &State) -> Error {
    let suspicious =
        matches!(e.errno(), Some(Errno::NOMEM | Errno::SRCH)) || matches!(e, Error::Launch(LaunchError::Died { .. }));
    let patience = if suspicious { DYING } else { Duration::ZERO };
    if ends(init, patience) == Ok(true) { Error::ExecStopped(state.reached()) } else { e }
}

fn launch_in(
    container: &Container,
    state: &State,
    cgroup: &Cgroup,
    init: &OwnedFd,
    process: Process<'_>,
    options: &ExecOptions,
) -> Result<Ending, Error> {
    let terminal = process.terminal.unwrap_or(false);
    let (console, ours) = console(options.console_socket.as_deref(), terminal)?;
    check_preserved(options.preserve_fds)?;
    let how = console.as_ref().map_or(Console::Absent, |(_, how)| *how);
    let plan = lowered(container, state, process, options, how)?;
    warn_of(&plan.warnings);
    let agent = state.seccomp_agent.as_ref();
    let descriptors = Descriptors {
        console: console.map(|(socket, _)| socket),
        start: None,
        agent: agent.map(|(p, _)| connect_to("failed to connect with seccomp agent", p)).transpose()?,
        pidfd: options.pidfd_socket.as_deref().map(|p| connect_to("connect to the pidfd socket", p)).transpose()?,
        timeline: timeline::is_wanted().then(timeline::in_memory).transpose().doing("make a file for the timeline")?,
        base: None,
    };
    let pid_file = options.pid_file.as_deref().map(PidFile::prepare).transpose()?;
    let subreaper = !options.no_subreaper && state.namespaces & rt_protocol::flags::namespace::NEWPID == 0;
    let signals = (!options.detach).then(|| foreground::Signals::take(subreaper)).transpose()?;
    let own_score = plan.oom_score_adj.map(set_oom_score).transpose()?.flatten();
    let launched = started(&Joined { container, state, cgroup, init }, &plan, descriptors, options)?;
    let executed = launched.set_limits(&plan.limits).and_then(|()| match launched.event()? {
        Event::Ready => launched.release().and_then(|()| launched.event()),
        event => Ok(event),
    });
    // Not before the process has a memory of its own: the kernel changes the score of all that
    // share it.
    if let Some(score) = own_score {
        let _ = write_oom_score(&score);
    }
    match executed? {
        Event::Executed => {}
        _ => return Err(Error::System { what: "execute the process", errno: Errno::PROTO }),
    }
    launched.tell_timeline(false);
    tracing::debug!("the program is executed");
    // Only now: to conmon this file is the sign of success.
    pid_file.map_or(Ok(()), |file| file.publish(launched.pid))?;
    let launched = ScopeGuard::into_inner(launched);
    let ending = match signals {
        Some(signals) => {
            let terminal = ours.map(|(socket, host)| Terminal::attach(&socket, host)).transpose()?;
            let force = format!("`kill -KILL {}` ends it", launched.pid);
            let awaited = Awaited { pidfd: &launched.pidfd, pid: launched.pid, force: &force };
            foreground::wait(&awaited, signals, terminal, None)?
        }
        None => Ending::Detached,
    };
    explain(ending, || cgroup.reached());
    until_exit((launched, plan));
    Ok(ending)
}

/// The plan of the process, with what the container's state keeps for executed processes.
fn lowered(
    container: &Container,
    state: &State,
    process: Process<'_>,
    options: &ExecOptions,
    console: Console,
) -> Result<Plan, Error> {
    let request = Request {
        console,
        preserve_fds: options.preserve_fds,
        pidfd_socket: options.pidfd_socket.is_some(),
        ..Request::plain(&container.id, &state.bundle, &state.cgroup)
    };
    let program = if state.seccomp { Some(container.read(SECCOMP_FILE)?) } else { None };
    let exec = ExecRequest { request, namespaces: state.namespaces, seccomp: program.as_deref() };
    let seccomp = state.seccomp_agent.as_ref().map(|(path, metadata)| Profile {
        listener_path: Some(path.to_string_lossy().into_owned()),
        listener_metadata: Some(metadata.clone()),
        ..Profile::default()
    });
    let surroundings =
        state.surroundings.as_ref().map(Deferred::read).transpose().map_err(|e| container.damaged(&e))?;
    let Surroundings { personality, memory_policy } = surroundings.unwrap_or_default();
    let linux = Some(Linux { seccomp, personality, memory_policy, ..Linux::default() });
    let annotations = state.annotations.iter().map(|(k, v)| (Text::from(k.as_str()), Text::from(v.as_str()))).collect();
    let spec = Spec { process: Some(process), linux, annotations: Some(annotations), ..Spec::default() };
    let host = Host::of_executed(geteuid().is_root());
    Ok(tracing::trace_span!("lower").in_scope(|| lower_exec(&spec, &host, &exec))?)
}

/// The container that a process joins.
struct Joined<'a> {
    container: &'a Container,
    state: &'a State,
    cgroup: &'a Cgroup,
    init: &'a OwnedFd,
}

/// Starts the process in the container's namespaces and in its cgroup. It is killed if it is dropped.
fn started(
    joined: &Joined<'_>,
    plan: &Plan,
    descriptors: Descriptors,
    options: &ExecOptions,
) -> Result<Undo<Launched>, Error> {
    let Joined { container, state, cgroup, init } = joined;
    // A user may move no processes between cgroups that only share a parent of root's: systemd does
    // it for its units.
    let by_systemd = state.cgroup.driver == Driver::Systemd && state.cgroup.rootless;
    let (asked_for, beside);
    let mut entry = match &options.cgroup {
        _ if by_systemd => Entry { unified: None, tasks: Vec::new() },
        Some(below) => {
            let (controller, path) = below.split_once(':').map_or((None, below.as_str()), |(c, p)| (Some(c), p));
            let bad = |source| Error::SubCgroup { path: below.clone(), source };
            asked_for = cgroup.descend(controller, path).map_err(bad)?;
            asked_for.entry().map_err(bad)?
        }
        None => cgroup.entry()?,
    };
    if let Some(group) = state.resctrl.then(|| container.resctrl()).flatten() {
        entry.tasks.extend(group.tasks()?);
    }
    let entering = if by_systemd { Entering::Held } else { Entering::ByEntry };
    let destination = Destination::Inside(init.as_fd(), state.namespaces);
    // Where no certain cgroup is asked for, and the container's takes no processes, init's own is
    // the next best.
    let beside_init = || match &options.cgroup {
        Some(_) => Ok(None),
        None => Pid::from_raw(state.pid).map_or(Ok(None), |pid| cgroup.path_below(&rt_cgroups::detect()?, pid)),
    };
    let launched = match launch(plan, &descriptors, &entry, options.preserve_fds, &destination, entering) {
        Err(refused) if refused.errno() == Some(Errno::BUSY) => {
            let Some(below) = beside_init()? else { return Err(refused.into()) };
            beside = cgroup.descend(Some(""), &below)?;
            entry.unified = beside.entry()?.unified;
            launch(plan, &descriptors, &entry, options.preserve_fds, &destination, entering)?
        }
        other => other?,
    };
    let mut launched: Undo<Launched> = guard(launched, end);
    tracing::debug!("the process is {}", launched.pid);
    if by_systemd {
        attach(&mut launched, state, options, beside_init)?;
    }
    Ok(launched)
}

/// Has systemd put a held process into the container's unit, and lets it begin. A second try is
/// made beside init.
fn attach(
    launched: &mut Launched,
    state: &State,
    options: &ExecOptions,
    beside_init: impl Fn() -> Result<Option<String>, rt_cgroups::Error>,
) -> Result<(), Error> {
    let pid = Pid::from_raw(launched.pid).ok_or(Error::NotRunning)?;
    if let Err(refused) = systemd::attach(&state.cgroup, options.cgroup.as_deref().unwrap_or_default(), pid) {
        let Some(below) = beside_init()? else { return Err(refused.into()) };
        systemd::attach(&state.cgroup, &below, pid)?;
    }
    Ok(launched.proceed()?)
}

/// The process with the changes that the options ask for, and with the container's defaults for all
/// that it leaves open.
fn with_options<'a>(
    mut process: Process<'a>,
    options: &ExecOptions,
    defaults: Process<'static>,
) -> Result<Process<'a>, Error> {
    let text = |s: &String| Text::from(s.clone());
    if options.process.is_none() {
        if options.args.is_empty() {
            return Err(Error::ExecWithoutArgs);
        }
        process.args = Some(options.args.iter().map(text).collect());
        process.terminal = Some(options.terminal);
        // The scheduler, priority and affinity of the container's init are inherited as everything
        // in its config.
        process.env.get_or_insert_default().extend(options.env.iter().map(text));
        if let Some(cwd) = &options.cwd {
            process.cwd = Some(text(cwd));
        }
        if let Some((uid, gid)) = options.user {
            let user = process.user.get_or_insert_with(User::default);
            user.uid = Some(uid);
            user.gid = gid.or(user.gid);
        }
        if !options.additional_gids.is_empty() {
            let user = process.user.get_or_insert_with(User::default);
            user.additional_gids.get_or_insert_default().extend(&options.additional_gids);
        }
        if options.no_new_privs {
            process.no_new_privileges = Some(true);
        }
        if let Some(profile) = &options.apparmor {
            process.apparmor_profile = Some(text(profile));
        }
        if let Some(label) = &options.process_label {
            process.selinux_label = Some(text(label));
        }
        add_capabilities(&mut process, &options.caps);
    }
    if process.args.as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::ExecWithoutArgs);
    }
    process.capabilities = process.capabilities.take().or(defaults.capabilities);
    process.rlimits = process.rlimits.take().or(defaults.rlimits);
    process.no_new_privileges = process.no_new_privileges.or(defaults.no_new_privileges);
    process.oom_score_adj = process.oom_score_adj.or(defaults.oom_score_adj);
    process.scheduler = process.scheduler.take().or(defaults.scheduler);
    process.io_priority = process.io_priority.take().or(defaults.io_priority);
    process.exec_cpu_affinity = process.exec_cpu_affinity.take().or(defaults.exec_cpu_affinity);
    if let Some(umask) = defaults.user.and_then(|user| user.umask) {
        process.user.get_or_insert_default().umask.get_or_insert(umask);
    }
    let unset = |t: &Option<Text<'_>>| t.as_deref().is_none_or(str::is_empty);
    if unset(&process.apparmor_profile) && unset(&process.selinux_label) {
        process.apparmor_profile = defaults.apparmor_profile;
        process.selinux_label = defaults.selinux_label;
    }
    Ok(process)
}

/// `--cap` adds to bounding, effective and permitted; never to inheritable (CVE-2022-29162), and to
/// ambient only what is already inheritable.
fn add_capabilities(process: &mut Process<'_>, caps: &[String]) {
    if caps.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_with(Capabilities::default);
    let inheritable = sets.inheritable.clone().unwrap_or_default();
    for cap in caps {
        let cap = Text::from(cap.clone());
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.get_or_insert_default().push(cap.clone());
        }
        if inheritable.contains(&cap) {
            sets.ambient.get_or_insert_default().push(cap);
        }
    }
}
