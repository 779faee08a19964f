//! `pause` and `resume`.

use rt_cgroups::{Cgroup, FreezerState};

use crate::error::{Context, Error};
use crate::store::directory::Store;
use crate::store::process::{DYING, ends, is_killed};
use crate::store::state::{State, Status};

/// Freezes all processes of a container.
pub fn pause(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    let cgroup = state.own_cgroup()?;
    match container.status(&state, || matches!(cgroup.freezer_state(), Ok(FreezerState::Frozen)))? {
        Status::Running | Status::Created => match cgroup.freeze() {
            // Most likely it is being killed, which thaws.
            Err(rt_cgroups::Error::Thawed { .. }) if ended(&state)? => Err(Error::NotRunning),
            // On v1 it would never get to its end: a kill that came before had nothing to thaw yet.
            Ok(()) if is_killed(state.pid).doing("look at the container's init")? => {
                cgroup.thaw_killed()?;
                Err(Error::NotRunning)
            }
            other => {
                other?;
                tracing::debug!("froze the container");
                Ok(())
            }
        },
        Status::Paused => Err(Error::Paused),
        Status::Stopped => Err(Error::NotRunning),
    }
}

fn ended(state: &State) -> Result<bool, Error> {
    state.init()?.map_or(Ok(true), |init| ends(&init, DYING)).doing("wait for the container's init")
}

/// Thaws a frozen container.
pub fn resume(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    let cgroup = Cgroup::open(&state.cgroup)?;
    match container.status(&state, || matches!(cgroup.freezer_state(), Ok(FreezerState::Frozen)))? {
        Status::Paused => {
            cgroup.thaw()?;
            tracing::debug!("thawed the container");
            Ok(())
        }
        // In runc's words, for a stopped container, too.
        Status::Stopped | Status::Running | Status::Created => Err(Error::NotPaused),
    }
}
