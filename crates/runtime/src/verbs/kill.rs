//! `kill`: a signal to init, or to everything in the container.

use rt_cgroups::Cgroup;
use rt_protocol::flags::namespace;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::{Context, Error};
use crate::store::directory::Store;
use crate::verbs::until_exit;

/// Reads a signal: a number (0 and real-time ones included) or a name with or without SIG, in any
/// case.
pub fn parse_signal(text: &str) -> Result<i32, Error> {
    let unknown = || Error::UnknownSignal(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let alias = match name.as_str() {
        "SIGPOLL" => "SIGIO",
        "SIGCLD" => "SIGCHLD",
        "SIGIOT" => "SIGABRT",
        "SIGUNUSED" => "SIGSYS",
        name => name,
    };
    alias.parse::<nix::sys::signal::Signal>().map(|s| s as i32).map_err(|_| unknown())
}

/// Sends `signal` to init; with `all`, to every process of the container.
pub fn kill(store: &Store, id: &str, signal: i32, all: bool) -> Result<(), Error> {
    let container = store.open(id)?;
    let state = container.state()?;
    let cgroup = || Cgroup::open(&state.cgroup);
    if all {
        let Some(_) = state.init()? else {
            // Init has ended. Processes that it left behind still get the signal, and the missing
            // init is no error here.
            if let Some(signal) = checked(signal) {
                let _ = cgroup()?.signal_all(signal);
            }
            return Ok(());
        };
        return match checked(signal) {
            Some(signal) => Ok(cgroup()?.signal_all(signal)?),
            None => Ok(()),
        };
    }
    let Some(init) = state.init()? else {
        // Without a pid namespace the container can outlive its init.
        if signal == SIGKILL && state.namespaces & namespace::NEWPID == 0 {
            let cgroup = cgroup()?;
            if !cgroup.processes().unwrap_or_default().is_empty() {
                return Ok(cgroup.kill_all()?);
            }
        }
        return Err(Error::NotRunning);
    };
    if signal == SIGKILL && state.namespaces & namespace::NEWPID == 0 {
        // Only a pid namespace takes the rest down with init.
        let cgroup = cgroup()?;
        if !cgroup.processes().unwrap_or_default().is_empty() {
            return Ok(cgroup.kill_all()?);
        }
    }
    send(&init, signal)?;
    tracing::debug!("sent signal {signal} to init, process {}", state.pid);
    if signal == SIGKILL {
        cgroup()?.thaw_killed()?;
    }
    until_exit((container, state, init));
    Ok(())
}

const SIGKILL: i32 = 9;

fn send(pidfd: &rustix::fd::OwnedFd, signal: i32) -> Result<(), Error> {
    let Some(signal) = checked(signal) else { return Ok(()) };
    match pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Err(Error::NotRunning),
        other => other.doing("signal the container's init"),
    }
}

/// The signal of a number; 0 only asks whether the process is there.
fn checked(number: i32) -> Option<Signal> {
    u32::try_from(number).ok().and_then(rt_sys::signal::signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines send numbers, people names.
    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in
            [("9", 9), ("0", 0), ("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("37", 37), ("64", 64)]
        {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for bad in ["", "65", "-1", "NOPE", "SIGRTMIN+1", "1x"] {
            assert!(parse_signal(bad).is_err(), "{bad}");
        }
    }
}
