//! `pause`, `resume` and `update`.

use rt_cgroups::{Cgroup, FreezerState, Resources, systemd};

use super::error::Error;
use super::state::Status;
use super::store::Store;

/// Freezes all processes of a container.
pub fn pause(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    let cgroup = state.own_cgroup()?;
    match container.status(&state, || matches!(cgroup.freezer_state(), Ok(FreezerState::Frozen)))? {
        Status::Running | Status::Created => Ok(cgroup.freeze()?),
        Status::Paused => Err(Error::Paused),
        Status::Stopped => Err(Error::NotRunning),
    }
}

/// Thaws a frozen container.
pub fn resume(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    let cgroup = Cgroup::open(&state.cgroup)?;
    match container.status(&state, || matches!(cgroup.freezer_state(), Ok(FreezerState::Frozen)))? {
        Status::Paused => Ok(cgroup.thaw()?),
        Status::Stopped => Err(Error::NotRunning),
        Status::Running | Status::Created => Err(Error::NotPaused),
    }
}

/// Changes limits of a container; what is not named stays. `schemata` are lines for its class in resctrl.
pub fn update(store: &Store, id: &str, change: &Resources, schemata: &[String]) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let mut state = container.state()?;
    if state.init()?.is_none() {
        return Err(Error::NotRunning);
    }
    if !schemata.is_empty() {
        container.resctrl().ok_or(Error::OutsideResctrl)?.write(schemata)?;
    }
    let cgroup = state.own_cgroup()?;
    // The kernel first: what it refuses systemd must not come to believe.
    let resources = cgroup.update(&state.resources, change)?;
    if let Err(e) = systemd::update(&state.cgroup, change) {
        let _ = cgroup.update(&resources, &state.resources);
        return Err(e.into());
    }
    // systemd has written what it understands of it, rounded its own way.
    cgroup.update(&state.resources, change)?;
    state.resources = resources;
    container.save(&state)
}
