//! Init is started, makes the container from the inside, and is followed on its way.

use rt_cgroups::{Driver, Entry};
use rt_plan::Plan;
use rustix::fd::OwnedFd;
use scopeguard::{ScopeGuard, guard};
use tracing::trace_span;

use super::{Claimed, Draft, Placed};
use crate::caller::inherited::{set_oom_score, write_oom_score};
use crate::error::{Context, Error};
use crate::launch::network::move_devices;
use crate::launch::{Destination, Entering, Event, LaunchError, Launched, launch};
use crate::store::directory::{Container, STATE_FILE};
use crate::store::process::{Stat, has_executed};
use crate::store::state::State;
use crate::verbs::undo::{Undo, end};

/// A container whose init is at work, in its cgroup.
pub struct Started<'a> {
    /// Init.
    pub init: Undo<Launched>,
    cgroup: Undo<Placed>,
    /// This process's own oom_score_adj, to be restored.
    own_score: Option<Undo<String>>,
    claimed: Claimed<'a>,
}

/// A container whose state is written, under a name where no command looks.
pub struct Staged<'a> {
    started: Started<'a>,
    state: State,
}

fn restore_score(score: String) {
    let _ = write_oom_score(&score);
}

impl<'a> Claimed<'a> {
    /// Makes the cgroup and starts init, which goes to work.
    pub fn launch(mut self) -> Result<Started<'a>, Error> {
        self.record()?;
        let own_score = self.draft.plan.oom_score_adj.map_or(Ok(None), set_oom_score)?;
        let own_score = own_score.map(|score| guard(score, restore_score as fn(String)));
        let classes = self.enter_resctrl()?;
        let (init, cgroup) = match self.draft.location.driver {
            Driver::Systemd => self.launch_into_unit(classes)?,
            Driver::Cgroupfs | Driver::Disabled => self.launch_into_cgroup(classes)?,
        };
        Ok(Started { init, cgroup, own_score, claimed: self })
    }

    fn launch_into_cgroup(&self, classes: Vec<OwnedFd>) -> Result<(Undo<Launched>, Undo<Placed>), Error> {
        let plan = &self.draft.plan;
        let made = self.make_cgroup()?;
        let cgroup = &made.0;
        let filter = || trace_span!("device filter").in_scope(|| cgroup.apply_devices(&plan.devices));
        // Between denied and allowed again, the device of init's terminal could not be opened.
        let meanwhile = cgroup.devices_at_once();
        if !meanwhile {
            filter()?;
        }
        let mut entry = cgroup.entry()?;
        entry.tasks.extend(classes);
        let init = self.start_init(&entry, Entering::ByEntry)?;
        tracing::debug!("init is process {}", init.pid);
        // What takes long and is not needed before init runs anything but our own code is done
        // while it is at work.
        init.make_meanwhile(plan)?;
        if meanwhile {
            filter()?;
        }
        tracing::debug!("the device rules are in force");
        Ok((init, made))
    }

    /// systemd makes a unit around a process that exists; init waits until it is in the unit, and
    /// limited.
    fn launch_into_unit(&self, classes: Vec<OwnedFd>) -> Result<(Undo<Launched>, Undo<Placed>), Error> {
        let entry = Entry { unified: None, tasks: classes };
        let mut init = self.start_init(&entry, Entering::Held)?;
        tracing::debug!("init is process {}, and waits for its unit", init.pid);
        let made = self.make_unit(init.pid)?;
        init.proceed()?;
        init.make_meanwhile(&self.draft.plan)?;
        Ok((init, made))
    }

    fn start_init(&self, entry: &Entry, entering: Entering) -> Result<Undo<Launched>, Error> {
        let Draft { plan, descriptors, preserve, .. } = &self.draft;
        let init = launch(plan, descriptors, entry, *preserve, &Destination::Planned, entering)?;
        Ok(guard(init, end))
    }
}

impl<'a> Started<'a> {
    /// The container's directory.
    pub fn container(&self) -> &Container {
        &self.claimed.container
    }

    fn plan(&self) -> &Plan {
        &self.claimed.draft.plan
    }

    /// Writes the state to a temporary file while init is at work; other commands see it after
    /// [`Staged::finish`].
    pub fn stage(self) -> Result<Staged<'a>, Error> {
        let span = trace_span!("write the state").entered();
        let state = self.state()?;
        self.container().stage(&state)?;
        drop(span);
        Ok(Staged { started: self, state })
    }

    /// Init has ended without a report: the kernel or another process killed it.
    fn died(&self) -> Error {
        let mut reached = self.cgroup.0.reached();
        // A unit of systemd's may go while it is read, and its limit with it.
        for hit in reached.0.iter_mut().filter(|hit| hit.resource == "memory") {
            hit.limit = hit.limit.or(self.plan().tight_memory.and_then(|limit| u64::try_from(limit).ok()));
        }
        if reached.0.iter().any(|hit| hit.resource == "memory") {
            return Error::OomKilled(reached);
        }
        let how = match self.init.abort() {
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit status {code}"),
                // A unit of systemd's takes its counters along.
                (None, Some(9)) if let Some(limit) = self.plan().tight_memory => {
                    format!("killed by signal 9 (memory limit too low? It is {limit} bytes)")
                }
                (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
            },
            None => "for an unknown reason".to_owned(),
        };
        LaunchError::Died { how }.into()
    }

    fn state(&self) -> Result<State, Error> {
        let Some(stat) = Stat::read(self.init.pid).doing("look at the container's init")? else {
            return Err(self.died());
        };
        let state = self.claimed.state(self.init.pid, stat.start_time);
        Ok(State { late_ops: self.init.late_ops(), ..state })
    }
}

impl Staged<'_> {
    /// Whether init needs nothing of this process when it is ready.
    pub fn is_unattended(&self) -> bool {
        self.started.plan().unattended
    }

    /// Lets init go on.
    pub fn release(&self) -> Result<(), Error> {
        Ok(self.started.init.release()?)
    }

    fn has_executed(&self) -> Result<bool, Error> {
        has_executed(self.state.pid, self.state.start_time).doing("look at the container's init")
    }

    /// Waits until a released init has executed the program.
    pub fn await_program(&self) -> Result<(), Error> {
        match self.started.init.event()? {
            Event::Executed if self.has_executed()? => Ok(()),
            _ => Err(self.started.died()),
        }
    }

    /// Goes with init through its preparations.
    pub fn prepare(&mut self) -> Result<(), Error> {
        loop {
            match self.started.init.event()? {
                Event::Hooks => {
                    // Init has a memory of its own by now; hooks are not the container's.
                    drop(self.started.own_score.take());
                    let init = &self.started.init;
                    move_devices(&self.started.plan().net_devices, &init.pidfd)?;
                    trace_span!("hooks")
                        .in_scope(|| self.started.claimed.runtime_hooks(init.pid, init.interrupt.as_ref()))?;
                    init.release()?;
                }
                Event::Ready => {
                    tracing::debug!("init is ready");
                    return Ok(self.started.init.set_limits(&self.started.plan().limits)?);
                }
                Event::Executed => return Err(self.started.died()),
            }
        }
    }

    /// Init is ready, or the program already: the container exists from here on.
    pub fn finish(mut self) -> Result<(Container, State, Launched), Error> {
        let container = self.started.container();
        container.publish()?;
        tracing::debug!("the state is in {}", container.path.join(STATE_FILE).display());
        if let Some(file) = self.started.claimed.pid_file.take() {
            file.publish(self.started.init.pid)?;
            tracing::debug!("wrote the pid file");
        }
        if !self.is_unattended() {
            self.release()?;
        }
        let Started { init, cgroup, own_score, claimed } = self.started;
        // Not before init has a memory of its own: the kernel changes the score of all that share
        // it.
        drop(own_score);
        claimed.named_pid_file.map(ScopeGuard::into_inner);
        ScopeGuard::into_inner(cgroup);
        Ok((ScopeGuard::into_inner(claimed.container), self.state, ScopeGuard::into_inner(init)))
    }
}
