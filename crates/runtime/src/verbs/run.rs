//! `run`: `create` and `start` in one, and the wait for the end.

use rt_plan::spec::Spec;
use rustix::fd::OwnedFd;
use tracing::trace_span;

use super::create::{read_config, wants_terminal};
use super::delete::destroy;
use super::foreground::{self, Awaited, Ending};
use super::making::Draft;
use super::options::CreateOptions;
use super::until_exit;
use crate::caller::notify::Proxy;
use crate::caller::terminal::{Ours, Terminal, console};
use crate::error::Error;
use crate::launch::{HookRun, run_hooks};
use crate::store::directory::{Container, Store};
use crate::store::exit::Exit;
use crate::store::state::State;

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
    let draft = Draft::lower(store, id, &spec, options, console, false)?;
    let ((container, state, launched), proxy, ahead) = draft.claim(store, id)?.make(|claimed| {
        let mut started = claimed.launch()?;
        // Before the program can look for it.
        let proxy = Proxy::open(started.container())?;
        // Without hooks nothing keeps init for long.
        if spec.hooks.is_some() && signals.is_some() {
            started.init.interrupt = Some(foreground::interrupts()?);
        }
        let mut staged = started.stage()?;
        let ahead = staged.is_unattended();
        if ahead {
            // Init then finds its release waiting, and this process sleeps until the program has been
            // executed.
            staged.release()?;
            staged.await_program()?;
        } else {
            staged.prepare()?;
        }
        Ok((staged.finish()?, proxy, ahead))
    })?;
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
    let foreground = Foreground { signals, terminal: ours, proxy: proxy.as_ref(), keep: options.keep };
    let status = to_its_end(store, &container, &state, &launched.pidfd, foreground)?;
    until_exit((container, state, launched));
    Ok(status)
}

/// What the wait for a container in the foreground needs.
pub struct Foreground<'a> {
    pub signals: foreground::Signals,
    pub terminal: Ours,
    pub proxy: Option<&'a Proxy>,
    /// `--keep`.
    pub keep: bool,
}

/// Waits for the end of the container's init, and deletes the container or records the end.
pub fn to_its_end(
    store: &Store,
    container: &Container,
    state: &State,
    init: &OwnedFd,
    how: Foreground<'_>,
) -> Result<Ending, Error> {
    let program = trace_span!("the program runs");
    let terminal = how.terminal.map(|(socket, host)| Terminal::attach(&socket, host)).transpose()?;
    let force = format!("`rt --root {} kill {} KILL` ends it", store.options().root.display(), state.id);
    let awaited = Awaited { pidfd: init, pid: state.pid, force: &force };
    let status = program.in_scope(|| foreground::wait(&awaited, how.signals, terminal, how.proxy))?;
    let reached = foreground::explain(status, || state.reached());
    if how.keep {
        if let Some(exit) = Exit::new(status, &reached) {
            exit.record(container);
        }
        return Ok(status);
    }
    match container.lock() {
        Ok(()) => trace_span!("delete").in_scope(|| destroy(container, Some(state)))?,
        // Another command has deleted it.
        Err(Error::DoesNotExist) => {}
        Err(e) => return Err(e),
    }
    Ok(status)
}

fn has_pid_namespace(spec: &Spec<'_>) -> bool {
    let namespaces = spec.linux.as_ref().and_then(|l| l.namespaces.as_deref()).unwrap_or_default();
    namespaces.iter().any(|namespace| namespace.kind.as_deref() == Some("pid"))
}

/// poststart hooks; their failure is the caller's to know, the container lives.
pub fn poststart(state: &State, interrupt: Option<&OwnedFd>) -> Result<(), Error> {
    let hooks = state.hooks.poststart.as_deref().unwrap_or_default();
    let document = if hooks.is_empty() { Vec::new() } else { state.for_hook("running") };
    run_hooks(&HookRun { kind: "poststart", hooks, state: &document, directory: &state.bundle, interrupt })?;
    Ok(())
}
