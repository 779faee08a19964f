//! `checkpoint`: a container is saved.

use rt_plan::spec::Spec;
use tracing::trace_span;

use super::delete::destroy;
use super::until_exit;
use crate::checkpoint::{CheckpointError, CriuOptions, Obstacle, dump, judge, look};
use crate::error::Error;
use crate::read_document;
use crate::store::directory::{Container, Store};
use crate::store::state::{State, Status};

/// Saves a running or paused container. Unless it is to run on, it is deleted.
pub fn checkpoint(store: &Store, id: &str, options: &CriuOptions) -> Result<(), Error> {
    let (container, state) = alive(store, id)?;
    let document = read_document(&state.config_path())?;
    let spec: Spec<'_> = document.parse()?;
    trace_span!("criu dumps").in_scope(|| dump(&state, &spec, options, &mut || Ok(())))?;
    tracing::debug!("the image is in {}", options.image.display());
    if !options.leave_running && !options.pre_dump {
        destroy(&container, Some(&state))?;
    }
    until_exit((container, state));
    Ok(())
}

/// What stands in the way of a checkpoint. Nothing is stopped for it.
pub fn check_checkpoint(store: &Store, id: &str, options: &CriuOptions) -> Result<Vec<Obstacle>, Error> {
    let (_container, state) = alive(store, id)?;
    Ok(judge(&look(&state, options)?, options))
}

/// Locks a container that can be saved.
pub fn alive(store: &Store, id: &str) -> Result<(Container, State), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    match container.status(&state, || false)? {
        status @ (Status::Created | Status::Stopped) => Err(CheckpointError::State(status.text()).into()),
        Status::Running | Status::Paused => Ok((container, state)),
    }
}
