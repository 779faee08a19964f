//! Signals to all processes of a container.

use std::collections::BTreeSet;
use std::num::NonZeroI32;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::procs::below;

/// How often the list of processes is read again for those that appeared during the last round.
const ROUNDS: u32 = 100;

impl Cgroup {
    /// Kills all processes, those in sub-cgroups as well. They are dying when this returns, not
    /// gone.
    pub fn kill_all(&self) -> Result<(), Error> {
        let killed = self.kill_by_kernel()?;
        if killed && self.is_v2() {
            return Ok(());
        }
        // On a hybrid host the hierarchies of version 1 decide which processes belong to the
        // container; a process that has left the tree of version 2 has not been killed yet.
        let mut left = self.processes()?;
        if left.is_empty() {
            return Ok(());
        }
        if let Some(dir) = self.unified.as_ref().filter(|_| killed) {
            let dying = numbers(&below(dir)?);
            left.retain(|pid| !dying.contains(&pid.as_raw_nonzero()));
        }
        if !left.is_empty() {
            self.signal_all(Signal::KILL)?;
        }
        // On v1 a frozen process dies only when it thaws.
        match self.thaw() {
            Err(Error::NoFreezer) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            result => result,
        }
    }

    /// Linux 5.14 takes all processes of a cgroup at once, frozen ones and those being forked
    /// included. `false` on an older kernel, in a threaded cgroup, and where there is no cgroup
    /// (any more).
    fn kill_by_kernel(&self) -> Result<bool, Error> {
        let Some(dir) = &self.unified else {
            return Ok(false);
        };
        match dir.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() || error.errno() == Some(Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to each process. They are frozen meanwhile, so that none escapes by forking;
    /// in a container that was frozen before, the signal stays pending.
    pub fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        self.while_frozen(|| {
            let mut reached = BTreeSet::new();
            for _ in 0..ROUNDS {
                let new: Vec<Pid> =
                    self.processes()?.into_iter().filter(|pid| !reached.contains(&pid.as_raw_nonzero())).collect();
                if new.is_empty() {
                    break;
                }
                self.signal(&new, signal)?;
                reached.extend(numbers(&new));
            }
            Ok(())
        })
    }

    /// Signals these processes of the container.
    fn signal(&self, pids: &[Pid], signal: Signal) -> Result<(), Error> {
        let mut open = Vec::with_capacity(pids.len());
        for &pid in pids {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(fd) => open.push((pid, fd)),
                // EINVAL: it is just being reaped.
                Err(Errno::SRCH | Errno::INVAL) => {}
                Err(errno) => return Err(self.process_call("pidfd_open", pid, errno)),
            }
        }
        // Between reading the list and pidfd_open(2) the number may have been reused for an
        // unrelated process. If the number is in the list again now, the descriptor refers to a
        // process that was in the container at this moment, or that has ended.
        let still = numbers(&self.processes()?);
        for (pid, fd) in open.into_iter().filter(|(pid, _)| still.contains(&pid.as_raw_nonzero())) {
            match pidfd_send_signal(&fd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(self.process_call("signal", pid, errno)),
            }
        }
        Ok(())
    }

    fn process_call(&self, action: &'static str, pid: Pid, errno: Errno) -> Error {
        Error::Call { action, path: format!("/proc/{}", pid.as_raw_nonzero()).into(), errno }
    }
}

/// A sorted set for look-ups and not a hash set, whose random seed takes one more system call, and
/// whose failure to get a seed ends the program.
fn numbers(pids: &[Pid]) -> BTreeSet<NonZeroI32> {
    pids.iter().map(|pid| pid.as_raw_nonzero()).collect()
}
