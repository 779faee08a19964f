//! `restore`: a saved container runs again.

use rt_plan::spec::Spec;
use tracing::trace_span;

use super::create::{read_config, wants_terminal};
use super::foreground::{self, Ending};
use super::making::Draft;
use super::options::RestoreOptions;
use super::run::{Foreground, to_its_end};
use super::until_exit;
use crate::caller::terminal::console;
use crate::checkpoint::make_inside;
use crate::error::Error;
use crate::store::directory::Store;

/// Restores a container from an image; unless detached, waits for its end.
pub fn restore(store: &Store, id: &str, options: &RestoreOptions) -> Result<Ending, Error> {
    let RestoreOptions { run: options, criu, clone } = options;
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
    // Clones are restored at the same time, and each call of CRIU needs a place of its own.
    let own_place = clone.is_some() && criu.work.is_none();
    let mut criu = criu.clone();
    if own_place {
        let work = criu.image.join(format!("restore-{id}"));
        make_inside(&work)?;
        criu.work = Some(work);
    }
    let restored =
        draft.claim(store, id).and_then(|claimed| claimed.make(|claimed| claimed.restore(&criu, clone.is_some())));
    if let Some(work) = criu.work.filter(|_| own_place) {
        // After a failure CRIU's log stays, if it has come to that.
        let _ = if restored.is_ok() { std::fs::remove_dir_all(work) } else { std::fs::remove_dir(work) };
    }
    let restored = restored?;
    let (container, state) = (restored.container, restored.state);
    tracing::debug!("restored; init is process {}", state.pid);
    container.unlock()?;
    let Some(signals) = signals else {
        until_exit((container, state));
        return Ok(Ending::Detached);
    };
    let foreground = Foreground { signals, terminal: ours, proxy: None, keep: options.keep };
    let status = to_its_end(store, &container, &state, &restored.init, foreground)?;
    until_exit((container, state));
    Ok(status)
}
