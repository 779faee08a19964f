//! `restore`: a saved container runs again.

use rt_plan::spec::Spec;
use tracing::trace_span;

use super::create::{read_config, wants_terminal};
use super::delete::destroy;
use super::foreground::{self, Awaited, Ending};
use super::making::Draft;
use super::options::CreateOptions;
use super::until_exit;
use crate::caller::terminal::{Terminal, console};
use crate::checkpoint::CriuOptions;
use crate::error::Error;
use crate::store::directory::Store;
use crate::store::exit::Exit;

/// Restores a container from an image; unless detached, waits for its end.
pub fn restore(store: &Store, id: &str, options: &CreateOptions, criu: &CriuOptions) -> Result<Ending, Error> {
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
    let signals = (!options.detach).then(|| foreground::Signals::take(!options.no_subreaper)).transpose()?;
    let draft = Draft::lower(store, id, &spec, options, console, false)?;
    let restored = draft.claim(store, id)?.restore(criu)?;
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
