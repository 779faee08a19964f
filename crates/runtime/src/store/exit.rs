//! How init ended. The kernel reports that once, to the process that waits for init, which is
//! usually the engine. rt keeps what it learns itself: because it waits in `run`, or because it
//! looks at an init that no process has waited for yet.

use rt_cgroups::Reached;
use rustix::fs::{CWD, readlinkat, renameat};
use serde::{Deserialize, Serialize};

use super::directory::Container;
use super::process::Stat;
use super::state::State;
use super::time;
use crate::verbs::foreground::Ending;

const EXIT_FILE: &str = "exit.json";
const SIGKILL: i32 = 9;

/// The end of a container's init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that killed it instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// SIGKILL, and the kernel has killed in this container for memory.
    pub oom_killed: bool,
    /// When rt saw it, RFC 3339.
    pub seen: String,
}

impl Exit {
    /// None for an init that has not been waited for.
    pub fn new(ending: Ending, reached: &Reached) -> Option<Exit> {
        let (code, signal) = match ending {
            Ending::Exited(code) => (Some(code), None),
            Ending::Killed(signal) => (None, Some(signal)),
            Ending::Detached => return None,
        };
        let oom_killed = signal == Some(SIGKILL) && reached.0.iter().any(|hit| hit.resource == "memory");
        Some(Exit { code, signal, oom_killed, seen: time::now() })
    }

    /// What is known of the end of a stopped container's init.
    pub fn of(container: &Container, state: &State) -> Option<Exit> {
        if let Some(known) = container.read(EXIT_FILE).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Some(known);
        }
        let exit = Exit::new(unreaped(state)?, &state.reached())?;
        exit.record(container);
        Some(exit)
    }

    /// Keeps it. It is for people to read: a full disk does not make the command fail that came to
    /// know it.
    pub fn record(&self, container: &Container) {
        // More than one command may look at the same time.
        let staged = format!(".exit.{}", std::process::id());
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if container.write(&staged, &bytes).is_ok()
            && renameat(container.dir(), &staged, container.dir(), EXIT_FILE).is_err()
        {
            let _ = container.forget(&staged);
        }
    }
}

/// The ending of an init that is a zombie.
fn unreaped(state: &State) -> Option<Ending> {
    let stat = Stat::read(state.pid).ok()??;
    if stat.start_time != state.start_time || !stat.is_dead() {
        return None;
    }
    // A process that may not look into this process sees a 0, as if it had ended well
    // (proc_pid_stat(5)).
    readlinkat(CWD, format!("/proc/{}/ns/user", state.pid), Vec::new()).ok()?;
    stat.ending()
}
