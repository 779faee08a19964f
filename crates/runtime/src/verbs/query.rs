//! Questions about containers: `state`, `list`, `ps`.

use rt_cgroups::{Cgroup, FreezerState};
use rustix::process::Pid;

use crate::error::{Context, Error};
use crate::store::directory::{Container, Store};
use crate::store::document::StateDocument;
use crate::store::exit::Exit;
use crate::store::state::{State, Status};
use crate::verbs::until_exit;

/// A container with its state and status.
pub fn load(store: &Store, id: &str) -> Result<(Container, State, Status), Error> {
    let container = store.open(id)?;
    let state = container.state()?;
    let paused =
        || Cgroup::open(&state.cgroup).and_then(|c| c.freezer_state()).is_ok_and(|s| s == FreezerState::Frozen);
    let status = container.status(&state, paused)?;
    Ok((container, state, status))
}

/// The state document of one container.
pub fn state(store: &Store, id: &str) -> Result<StateDocument, Error> {
    let (container, state, status) = load(store, id)?;
    let document = document(&container, &state, status);
    until_exit((container, state));
    Ok(document)
}

fn document(container: &Container, state: &State, status: Status) -> StateDocument {
    let exit = if status == Status::Stopped { Exit::of(container, state) } else { None };
    StateDocument::new(state, status, exit)
}

/// All containers with the ids of the owners of their directories, as they are in this user
/// namespace. A container whose state cannot be read is left out, with a warning.
pub fn list(store: &Store) -> Result<Vec<(StateDocument, u32)>, Error> {
    let mut all = Vec::new();
    for id in store.ids()? {
        match load(store, &id) {
            Ok((container, state, status)) => {
                let owner = rustix::fs::fstat(container.dir()).on("look at", &container.path)?.st_uid;
                all.push((document(&container, &state, status), owner));
            }
            // Being created or just deleted.
            Err(Error::DoesNotExist) => {}
            Err(e) => tracing::warn!("{e}"),
        }
    }
    Ok(all)
}

/// The pids of all processes of a container, as the runtime sees them.
pub fn processes(store: &Store, id: &str) -> Result<Vec<Pid>, Error> {
    let state = store.open(id)?.state()?;
    Ok(state.own_cgroup()?.processes()?)
}
