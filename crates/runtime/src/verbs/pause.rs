//! `pause`, `resume` and `update`.

use rt_cgroups::{Cgroup, FreezerState, Resources, systemd};

use crate::error::{Context, Error};
use crate::store::directory::{Container, Store};
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

/// Changes limits of a container; what is not named stays. `schemata` are lines for its class in
/// resctrl.
pub fn update(store: &Store, id: &str, change: &Resources, schemata: &[String]) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let mut state = container.state()?;
    if state.init()?.is_none() {
        return Err(Error::NotRunning);
    }
    let cgroup = state.own_cgroup()?;
    let before = state.resources.read().map_err(|e| container.damaged(&e))?;
    state.resources = before.updated(change).into();
    // The new limits are written to the state first, so that a full disk is reported before
    // anything changes.
    container.stage(&state)?;
    let changed = apply(&container, &cgroup, &state, (&before, change), schemata);
    if changed.is_err() {
        container.unstage()?;
        return changed;
    }
    container.publish()
}

fn apply(
    container: &Container,
    cgroup: &Cgroup,
    state: &State,
    (before, change): (&Resources, &Resources),
    schemata: &[String],
) -> Result<(), Error> {
    if !schemata.is_empty() {
        container.resctrl().ok_or(Error::OutsideResctrl)?.write(schemata)?;
    }
    // The kernel is asked first: systemd must not record a limit that the kernel refuses.
    cgroup.update(before, change)?;
    if state.cgroup.unit.is_none() {
        return Ok(());
    }
    if let Err(e) = systemd::update(&state.cgroup, change) {
        let _ = cgroup.update(&before.updated(change), before);
        return Err(e.into());
    }
    // systemd has written its own version of the limits, rounded in its own way; so they are
    // written again.
    Ok(cgroup.update(before, change)?)
}
