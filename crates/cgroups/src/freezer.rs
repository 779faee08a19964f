//! Freezing and thawing all processes of a container.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Error;
use crate::events;

/// How long processes get to reach a point where they can be frozen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries to freeze on cgroup v1 without a pause, and after how many tries the cgroup is thawed in
/// between.
const TRIES_V1_AT_ONCE: u32 = 20;
const TRIES_V1_PER_THAW: u32 = 50;

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezerState {
    /// Yes, or it could if it had processes.
    Running,
    /// No.
    Frozen,
}

impl Cgroup {
    /// Stops all processes, including those in cgroups below, and returns when all have stopped.
    pub fn freeze(&self) -> Result<(), Error> {
        match self.freezer().ok_or(Error::NoFreezer)? {
            Freezer::V1(dir) => freeze_v1(dir),
            Freezer::V2(dir) => freeze_v2(dir),
        }
    }

    /// Lets them run again.
    pub fn thaw(&self) -> Result<(), Error> {
        match self.freezer().ok_or(Error::NoFreezer)? {
            Freezer::V1(dir) => dir.write("freezer.state", "THAWED"),
            Freezer::V2(dir) => dir.write("cgroup.freeze", "0"),
        }
    }

    /// Thaws processes that were killed while frozen, so that they can die. On v2 the kernel does
    /// this itself (cgroup-v2.rst, "cgroup.freeze").
    pub fn thaw_killed(&self) -> Result<(), Error> {
        match self.freezer() {
            Some(Freezer::V1(dir)) if is_frozen_v1(dir)? => dir.write("freezer.state", "THAWED"),
            _ => Ok(()),
        }
    }

    /// Whether the container is frozen, or about to be frozen. A container without a freezer, or
    /// whose cgroup is gone, is not.
    pub fn freezer_state(&self) -> Result<FreezerState, Error> {
        let frozen = match self.freezer() {
            Some(Freezer::V1(dir)) => is_frozen_v1(dir)?,
            Some(Freezer::V2(dir)) => dir.peek_if_any("cgroup.freeze")?.is_some_and(|text| text.trim() == "1"),
            None => false,
        };
        Ok(if frozen { FreezerState::Frozen } else { FreezerState::Running })
    }

    /// Whether no process runs, also because a cgroup above is frozen.
    pub fn stands_still(&self) -> Result<bool, Error> {
        match self.freezer() {
            Some(Freezer::V1(dir)) => is_frozen_v1(dir),
            Some(Freezer::V2(dir)) => events::wait(dir, "frozen", "1", Duration::ZERO),
            None => Ok(false),
        }
    }

    fn freezer(&self) -> Option<Freezer<'_>> {
        // On a hybrid host v1's is used, as the other runtimes and the host's tools look there.
        self.v1("freezer").map(Freezer::V1).or(self.unified.as_ref().map(Freezer::V2))
    }
}

enum Freezer<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

/// The kernel freezes and says when it is done.
fn freeze_v2(dir: &Dir) -> Result<(), Error> {
    dir.write("cgroup.freeze", "1")?;
    match events::wait(dir, "frozen", "1", PATIENCE) {
        Ok(true) => Ok(()),
        result => {
            // Half frozen is the worst of states.
            let thawed = dir.write("cgroup.freeze", "0");
            tracing::debug!(?thawed, "gave up freezing");
            result.and(Err(Error::FreezeTimeout { path: dir.path().to_owned() }))
        }
    }
}

/// The kernel freezes the processes that it finds and misses those that appear meanwhile. It then
/// reports FREEZING, and the state has to be written again. When that does not help either, letting
/// all processes run for a moment does.
fn freeze_v1(dir: &Dir) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    for attempt in 1_u32.. {
        dir.write("freezer.state", "FROZEN")?;
        match dir.read("freezer.state")?.trim() {
            "FROZEN" => return Ok(()),
            "FREEZING" => {}
            "THAWED" => return Err(Error::Thawed { path: dir.path().to_owned() }),
            other => return Err(dir.malformed("freezer.state", other)),
        }
        if Instant::now() > end {
            break;
        }
        if attempt.is_multiple_of(TRIES_V1_PER_THAW) {
            dir.write("freezer.state", "THAWED")?;
        }
        // There is nothing to poll on v1; a process that waits for the disk, or for a processor,
        // needs a while.
        if attempt > TRIES_V1_AT_ONCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    dir.write("freezer.state", "THAWED")?;
    Err(Error::FreezeTimeout { path: dir.path().to_owned() })
}

/// `freezer.state` also reports frozen ancestors: the processes below them do not run, either.
fn is_frozen_v1(dir: &Dir) -> Result<bool, Error> {
    let Some(state) = dir.peek_if_any("freezer.state")? else {
        return Ok(false);
    };
    match state.trim() {
        "THAWED" => Ok(false),
        // The state is still changing. The command that asked for the change waits for it, or
        // undoes it.
        "FROZEN" | "FREEZING" => Ok(true),
        other => Err(dir.malformed("freezer.state", other)),
    }
}

impl Cgroup {
    /// Runs `action` with all processes frozen, and restores the state they were in.
    ///
    /// Best effort: a container that cannot be frozen is acted on as it is.
    pub(crate) fn while_frozen<T>(&self, action: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let froze = self.freezer_state()? == FreezerState::Running && self.freeze().is_ok();
        let result = action();
        if froze {
            match self.thaw() {
                Err(error) if error.errno() != Some(Errno::NOENT) && error.errno() != Some(Errno::NODEV) => {
                    return result.and(Err(error));
                }
                _ => {}
            }
        }
        result
    }
}
