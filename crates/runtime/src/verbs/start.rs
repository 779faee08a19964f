//! `start`: opens the barrier and waits until the program has been executed.

use rt_protocol::greeting::Greeting;
use rt_protocol::report::Kind;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, send};
use tracing::trace_span;

use super::delete::destroy;
use super::run::poststart;
use crate::caller::notify::Proxy;
use crate::caller::sockets::connect_to_init;
use crate::error::{Context, Error};
use crate::launch::{Message, from_late_report, timeline};
use crate::store::directory::{START_SOCKET, Store};
use crate::store::process::has_executed;
use crate::store::state::{State, Status};
use crate::verbs::until_exit;

/// Starts a created container.
pub fn start(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.open(id)?;
    container.lock()?;
    let state = container.state()?;
    match container.status(&state, || false)? {
        Status::Created => {}
        Status::Stopped => return Err(stopped(&state)),
        Status::Running | Status::Paused => return Err(Error::StartRunning),
    }
    let proxy = Proxy::open(&container)?;
    // A start that fails before init hears of it can be tried again.
    let socket = match connect_to_init(&container) {
        // The listener is closed by exec: a starter that died just then had already succeeded.
        Err(Errno::CONNREFUSED) if state.init()?.is_some() => Err(Error::StartRunning),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Err(stopped(&state)),
        other => Ok(other.doing("connect to the container's init")?),
    };
    let opened = socket.and_then(|socket| trace_span!("start").in_scope(|| open_barrier(&socket, &state)));
    if timeline::is_wanted()
        && let Some(file) = container.noted_timeline()
    {
        // The first is the wait.
        let late = state.late_ops.iter().skip(1).map(|op| (op.index as usize, op.what.clone(), op.pointer.clone()));
        timeline::tell(&file, state.pid, late, false);
    }
    // A container that cannot run its program has ended; `delete` removes the rest of it.
    container.forget(START_SOCKET)?;
    opened?;
    tracing::debug!("the program of init, process {}, is executed", state.pid);
    // A hook may use the runtime itself.
    container.unlock()?;
    if let Err(e) = poststart(&state, None) {
        if let Ok(Some(pidfd)) = state.init() {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        }
        container.lock()?;
        let _ = destroy(&container, Some(&state));
        return Err(e);
    }
    if let Some(proxy) = proxy
        && let Some(init) = state.init()?
    {
        proxy.await_ready(&init, state.pid)?;
    }
    until_exit((container, state));
    Ok(())
}

fn stopped(state: &State) -> Error {
    Error::StartStopped(state.reached())
}

fn open_barrier(socket: &OwnedFd, state: &State) -> Result<(), Error> {
    send(socket, &Greeting::Start.bytes(), SendFlags::NOSIGNAL).doing("start the container")?;
    loop {
        let message = match Message::receive(socket, RecvFlags::empty()) {
            Err(Errno::CONNRESET) => return Err(stopped(state)),
            other => other.doing("wait for the container's init")?,
        };
        let Some((report, detail)) = message.report() else {
            // Closed without a report: by exec, or by init's death before it.
            let executed = has_executed(state.pid, state.start_time).doing("look at the container's init")?;
            return if executed { Ok(()) } else { Err(stopped(state)) };
        };
        if report.kind == Kind::Failed {
            let late = state.late_ops.iter().find(|op| op.index == report.op);
            return Err(match late {
                Some(op) => from_late_report(op, &report, detail, socket).into(),
                None => {
                    Error::System { what: "start the container", errno: Errno::from_raw_os_error(report.errno as i32) }
                }
            });
        }
    }
}
