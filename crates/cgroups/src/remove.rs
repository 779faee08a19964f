//! Removing a container's cgroup.

use std::time::Duration;

use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Error;
use crate::events;

/// How long killed processes get to leave.
const PATIENCE: Duration = Duration::from_secs(2);

/// Cgroup v1 has no event for "empty". So removal is tried this often, after 1 ms, 2 ms, 4 ms, …
const TRIES_V1: u32 = 11;

impl Cgroup {
    /// Removes the cgroup as [`Cgroup::remove`] does, but only if the directory that lists the
    /// container's processes is empty; `false` if it is not. When a container is deleted the
    /// directory is nearly always empty, and one call to rmdir(2) finds out.
    pub fn remove_if_empty(&self) -> Result<bool, Error> {
        match self.roster() {
            Some(roster) if rustix::fs::rmdir(roster.path()).is_ok() => {
                let others = self.dirs().filter(|dir| dir.path() != roster.path());
                others.map(remove).fold(Ok(()), Result::and).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Removes the cgroup from every hierarchy, with all cgroups below it. A directory that is
    /// already gone is no error.
    ///
    /// All directories are tried; of several failures the first is returned.
    pub fn remove(&self) -> Result<(), Error> {
        self.dirs().map(remove).fold(Ok(()), Result::and)
    }
}

fn remove(dir: &Dir) -> Result<(), Error> {
    match rustix::fs::rmdir(dir.path()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // EBUSY: processes or sub-cgroups. A read-only mount says EROFS even if there is no such
        // directory.
        Err(Errno::BUSY) => {}
        Err(_) if !dir.exists()? => return Ok(()),
        Err(errno) => return Err(dir.call("rmdir", errno)),
    }
    match dir.children() {
        Ok(children) => children.iter().try_for_each(remove)?,
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error),
    }
    wait_until_empty(dir)
}

/// Removes a directory without sub-cgroups as soon as its processes are gone.
fn wait_until_empty(dir: &Dir) -> Result<(), Error> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..TRIES_V1 {
        match rustix::fs::rmdir(dir.path()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(dir.call("rmdir", errno)),
        }
        match events::wait(dir, "populated", "0", PATIENCE) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => std::thread::sleep(pause),
        }
        pause *= 2;
    }
    match rustix::fs::rmdir(dir.path()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(dir.call("rmdir", errno)),
    }
}
