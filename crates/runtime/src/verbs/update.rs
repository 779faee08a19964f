//! `update`.

use rt_cgroups::{Cgroup, Resources, systemd};
use rt_plan::problems_with_limits;
use rt_plan::spec::SpecError;

use super::create::warn_of;
use crate::error::Error;
use crate::store::directory::{Container, Store};
use crate::store::state::State;

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
    check(&before.to_write(change))?;
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

/// What `create` would refuse, or warn of, among the limits that are to be written.
fn check(limits: &Resources) -> Result<(), Error> {
    let (problems, warnings) = problems_with_limits(limits, &rt_cgroups::detect()?);
    if !problems.is_empty() {
        return Err(SpecError::Invalid(problems).into());
    }
    warn_of(&warnings);
    Ok(())
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
