//! `delete`: the end of a container, and of all that it had.

use std::path::Path;
use std::time::Duration;

use rt_cgroups::{Cgroup, Driver, Location, systemd};
use rt_plan::spec::Hook;
use rt_protocol::flags::namespace;
use rustix::fs::readlinkat;
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::Error;
use crate::host::host_mount::HostMount;
use crate::launch::{HookRun, run_one};
use crate::store::directory::{CGROUP_LINK, Container, Store};
use crate::store::process::ends;
use crate::store::state::{State, Status};
use crate::verbs::until_exit;

/// How long a killed init may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a forced delete waits before it looks again whether it can have the lock.
const PAUSE: Duration = Duration::from_millis(5);

/// Deletes a container that is stopped or created; with `force` in any state, and then a container
/// that does not exist is no error.
pub fn delete(store: &Store, id: &str, force: bool) -> Result<(), Error> {
    let container = match store.open(id) {
        Err(Error::DoesNotExist) if force => return Ok(()),
        other => other?,
    };
    match if force { lock_by_force(&container) } else { container.lock() } {
        Err(Error::DoesNotExist) if force => return Ok(()),
        other => other?,
    }
    let state = match container.state() {
        Ok(state) => state,
        // The container was left by a creator that was killed, or its state is damaged: its cgroup
        // is known nevertheless.
        Err(Error::DoesNotExist | Error::Damaged { .. }) if force => return destroy(&container, None),
        Err(e) => return Err(e),
    };
    let cgroup = Cgroup::open(&state.cgroup)?;
    let status = container.status(&state, || false)?;
    match status {
        Status::Stopped => {}
        Status::Created => kill_and_wait(&state, &cgroup)?,
        _ if force => {
            cgroup.kill_all()?;
            kill_and_wait(&state, &cgroup)?;
        }
        _ => {
            let paused = matches!(cgroup.freezer_state(), Ok(rt_cgroups::FreezerState::Frozen));
            let status = if paused { Status::Paused } else { status };
            return Err(Error::DeleteRunning { id: id.to_owned(), status: status.text() });
        }
    }
    destroy(&container, Some(&state))?;
    until_exit((container, state, cgroup));
    Ok(())
}

/// Waits for the lock, and ends an init that keeps it. Until init executes the stub it shares all that
/// its creator has open. In a frozen cgroup it does not get there, and has the lock when the creator
/// was killed.
fn lock_by_force(container: &Container) -> Result<(), Error> {
    while !container.try_lock()? {
        let half_made = matches!(container.state(), Err(Error::DoesNotExist));
        let location = if half_made { recorded_location(container) } else { None };
        if let Some(cgroup) = location.and_then(|location| Cgroup::open(&location).ok())
            && cgroup.stands_still().unwrap_or(false)
        {
            cgroup.kill_all()?;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn kill_and_wait(state: &State, cgroup: &Cgroup) -> Result<(), Error> {
    let Some(init) = state.init()? else { return Ok(()) };
    let _ = pidfd_send_signal(&init, Signal::KILL);
    tracing::debug!("killed init, process {}", state.pid);
    // An engine may have frozen it, created or running.
    cgroup.thaw_killed()?;
    match ends(&init, PATIENCE) {
        Ok(false) => Err(Error::InitStillRunning),
        _ => Ok(()),
    }
}

/// Removes the cgroup with all processes that still run in it, runs the poststop hooks, removes the
/// directory.
pub fn destroy(container: &Container, state: Option<&State>) -> Result<(), Error> {
    let location = match state {
        Some(state) => Some(state.cgroup.clone()),
        None => recorded_location(container),
    };
    if let Some(location) = location {
        let cgroup = Cgroup::open(&location)?;
        if location.driver == Driver::Systemd || !cgroup.remove_if_empty()? {
            if cgroup.processes().is_ok_and(|p| !p.is_empty()) {
                cgroup.kill_all()?;
            }
            systemd::stop(&location)?;
            cgroup.remove()?;
        }
        for (_, path) in &location.paths {
            tracing::debug!("removed the cgroup {}", path.display());
        }
    }
    if state.is_none_or(|s| s.resctrl) {
        leave_resctrl(container)?;
    }
    // Only a container without a mount namespace of its own has mounted anything on the host.
    if state.is_none_or(|s| s.namespaces & namespace::NEWNS == 0)
        && let Some(mount) = HostMount::recorded(container)
    {
        mount.remove();
    }
    if let Some(state) = state {
        let hooks = state.hooks.poststop.as_deref().unwrap_or_default();
        if !hooks.is_empty() {
            poststop(hooks, &state.for_hook("stopped"), &state.bundle);
        }
    }
    container.remove(state)?;
    tracing::debug!("removed {}", container.path.display());
    Ok(())
}

/// Runs the poststop hooks with `state` as their input. The container is gone, whatever they return
/// (config.md "Poststop": log a warning, go on).
pub fn poststop(hooks: &[Hook<'_>], state: &[u8], bundle: &Path) {
    let run = HookRun { kind: "poststop", hooks, state, directory: bundle, interrupt: None };
    for i in 0..hooks.len() {
        if let Err(e) = run_one(&run, i) {
            tracing::warn!("{e}");
        }
    }
}

/// Removes what the container has of its own in resctrl; most have nothing.
pub fn leave_resctrl(container: &Container) -> Result<(), Error> {
    match container.resctrl() {
        Some(group) => group.remove(),
        None => Ok(()),
    }
}

/// What the creator wrote down before it made the cgroup.
fn recorded_location(container: &Container) -> Option<Location> {
    let text = readlinkat(container.dir(), CGROUP_LINK, Vec::new()).ok()?;
    serde_json::from_slice(text.to_bytes()).ok()
}
