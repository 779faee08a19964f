//! `create`: a bundle becomes a container whose program waits for `start`.

use rt_cgroups::Location;
use rt_plan::Host;
use rt_plan::spec::{Document, Problem, Spec};
use tracing::trace_span;

use super::making::Draft;
use super::options::{CreateOptions, StoreOptions};
use super::until_exit;
use crate::caller::terminal::console;
use crate::error::Error;
use crate::host::is_rootless_as;
use crate::read_document;
use crate::store::directory::Store;

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
    let draft = Draft::lower(store, id, &spec, options, console, true)?;
    let (container, state, launched) = draft.claim(store, id)?.make(|claimed| {
        let mut staged = claimed.launch()?.stage()?;
        staged.prepare()?;
        staged.finish()
    })?;
    launched.tell_timeline(true);
    until_exit((container, state, launched));
    Ok(())
}

pub fn read_config(options: &CreateOptions) -> Result<Document, Error> {
    let path = options.config.clone().unwrap_or_else(|| options.bundle.join("config.json"));
    read_document(&path)
}

/// Reports what will have no effect.
pub fn warn_of(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

pub fn wants_terminal(spec: &Spec<'_>) -> bool {
    spec.process.as_ref().and_then(|p| p.terminal).unwrap_or(false)
}

/// Where the cgroup goes (config-linux.md "Cgroups Path").
pub fn locate(spec: &Spec<'_>, host: &Host, id: &str, options: &StoreOptions) -> Result<Location, Error> {
    let path = spec.linux.as_ref().and_then(|l| l.cgroups_path.as_deref()).filter(|p| !p.is_empty());
    let rootless = options.rootless.unwrap_or_else(|| is_rootless_as(host.root));
    Ok(rt_cgroups::locate(&host.layout, options.driver, path, id, rootless)?)
}
