//! The processes of a container, and adding one from outside.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Error;

impl Cgroup {
    /// All processes, those in sub-cgroups as well.
    pub fn processes(&self) -> Result<Vec<Pid>, Error> {
        self.roster().map_or(Ok(Vec::new()), below)
    }

    /// Moves a process into the cgroup, with all its threads.
    ///
    /// EBUSY from cgroup v2 means that the container's init has made sub-cgroups with controllers
    /// and moved away; see [`Cgroup::path_below`].
    pub fn add_process(&self, pid: Pid) -> Result<(), Error> {
        self.dirs().try_for_each(|dir| add(dir, pid))
    }

    /// The hierarchy whose list of processes counts as the container's.
    ///
    /// All hierarchies have the same processes unless a process of the container has moved itself.
    /// Software inside a container has the least reason to change `devices`.
    pub(crate) fn roster(&self) -> Option<&Dir> {
        self.v1("devices").or(self.v1("freezer")).or(self.dirs().last())
    }
}

/// Processes of a directory and of all below it. Directories that vanish meanwhile have none.
pub(crate) fn below(dir: &Dir) -> Result<Vec<Pid>, Error> {
    let mut pids = Vec::new();
    collect(dir, &mut pids)?;
    Ok(pids)
}

fn collect(dir: &Dir, pids: &mut Vec<Pid>) -> Result<(), Error> {
    // In a threaded cgroup the file cannot be read; its processes are listed by the domain above.
    let Some(text) = dir.read_list_if_any("cgroup.procs")? else {
        return Ok(());
    };
    // 0 stands for a process outside of our PID namespace, which we can do nothing with.
    pids.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
    match dir.children() {
        Ok(children) => children.iter().try_for_each(|child| collect(child, pids)),
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(error),
    }
}

fn add(dir: &Dir, pid: Pid) -> Result<(), Error> {
    let pid = pid.as_raw_nonzero().to_string();
    let mut pause = Duration::from_millis(1);
    for _ in 0..7 {
        match dir.write("cgroup.procs", &pid) {
            // A process cannot be moved in the first moments of its life (TASK_NEW in the kernel),
            // and no event reports when this time is over.
            Err(error) if error.errno() == Some(Errno::INVAL) => std::thread::sleep(pause),
            result => return result,
        }
        pause *= 2;
    }
    dir.write("cgroup.procs", &pid)
}
