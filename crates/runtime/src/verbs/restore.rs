//! `restore`: a saved container runs again.

use rt_plan::spec::Spec;
use tracing::trace_span;

use super::create::{read_config, wants_terminal};
use super::delete::destroy;
use super::foreground::{self, Awaited, Ending};
use super::making::Draft;
use super::options::RestoreOptions;
use super::until_exit;
use crate::caller::terminal::{Terminal, console};
use crate::error::Error;
use crate::store::directory::Store;
use crate::store::exit::Exit;

/// Restores a container from an image; unless detached, waits for its end.
pub fn restore(store: &Store, id: &str, options: &RestoreOptions) -> Result<Ending, Error> {
    let RestoreOptions { run: options, criu, clone } = options;
    let mut criu = criu.clone();
    // Clones are restored at the same time, and each call of CRIU needs a place of its own.
    let work = match (clone, &criu.work) {
        (Some(_), None) => Some(criu.image.join(format!("restore-{id}"))),
        _ => None,
    };
    criu.work = work.clone().or(criu.work);
    let (document, read) = (read_config(options)?, trace_span!("parse config.json"));
    let mut spec: Spec<'_> = read.in_scope(|| document.parse())?;
    if let Some(clone) = clone {
        clone.apply(&mut spec, id)?;
    }
    let terminal = wants_terminal(&spec);
    if options.detach && terminal && options.console_socket.is_none() {
        return Err(Error::TerminalWithoutSocket);
    }
    if options.console_socket.is_some() && !(options.detach && terminal) {
        return Err(Error::SocketWithoutTerminal);
    }
    let (console, ours) = console(options.console_socket.as_deref(), terminal)?;
    let signals = (!options.detach).then(|| foreground::Signals::take(!options.no_subreaper)).transpose()?;
    let draft = Draft::lower(store, id, &spec, options, console, false)?;
    let restored = draft.claim(store, id)?.restore(&criu, clone.is_some())?;
    if let Some(work) = work {
        let _ = std::fs::remove_dir_all(work);
    }
    let (container, state) = (restored.container, restored.state);
    tracing::debug!("restored; init is process {}", state.pid);
    container.unlock()?;
    let Some(signals) = signals else {
        until_exit((container, state));
        return Ok(Ending::Detached);
    };
    let terminal = ours.map(|(socket, host)| Terminal::attach(&socket, host)).transpose()?;
    let force = format!("`rt --root {} kill {id} KILL` ends it", store.options().root.display());
    let awaited = Awaited { pidfd: &restored.init, pid: state.pid, force: &force };
    let status = trace_span!("the program runs").in_scope(|| foreground::wait(&awaited, signals, terminal, None))?;
    let reached = foreground::explain(status, || state.reached());
    if options.keep {
        if let Some(exit) = Exit::new(status, &reached) {
            exit.record(&container);
        }
        return Ok(status);
    }
    match container.lock() {
        Ok(()) => trace_span!("delete").in_scope(|| destroy(&container, Some(&state)))?,
        // Another command has deleted it.
        Err(Error::DoesNotExist) => {}
        Err(e) => return Err(e),
    }
    until_exit((container, state));
    Ok(status)
}
