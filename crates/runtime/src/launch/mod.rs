//! The parent's half of a launch: a process is cloned into its namespaces and its cgroup, executes
//! the stub, gets the plan, and reports back.

mod child;
mod error;
mod hooks;
mod launched;
pub mod maps;
pub mod network;
mod ops;
mod process;
mod reports;
mod stub;
pub mod timeline;
mod trees;

use std::ffi::{CString, c_char};
use std::mem::ManuallyDrop;

use rt_cgroups::Entry;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tracing::trace_span;

use crate::caller::signals::start_with_default_signals;
use ops::{encoded, final_ops, inherit, time_namespace};
use process::{Wiring, clone_process};
use rt_plan::Plan;

pub use error::{LateOp, LaunchError, from_late_report};
pub use hooks::{HookRun, run_hooks, run_one};
pub use launched::{Event, Launched};
pub use reports::Message;

/// Descriptors for the slots of the plan.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The console socket.
    pub console: Option<OwnedFd>,
    /// The start barrier's listening socket.
    pub start: Option<OwnedFd>,
    /// The seccomp agent.
    pub agent: Option<OwnedFd>,
    /// The pidfd socket.
    pub pidfd: Option<OwnedFd>,
    /// Where init notes its times, for `--trace`.
    pub timeline: Option<OwnedFd>,
    /// The base of the new mount namespace.
    pub base: Option<OwnedFd>,
}

/// Where the process goes.
pub enum Destination<'a> {
    /// New and joined namespaces, as the plan says.
    Planned,
    /// The namespaces of the process behind a pidfd: CLONE_NEW* of those that differ from ours.
    Inside(BorrowedFd<'a>, u64),
}

/// How the process gets into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entering {
    /// The launch, by what [`Entry`] has.
    ByEntry,
    /// Another process, such as systemd, while the new process waits for [`Launched::proceed`]
    /// before it does anything.
    Held,
}

/// The name under which the stub shows in /proc/PID/comm.
pub const WAITING_NAME: &str = "rt:init";

/// Clones the process and starts the stub. `preserve` descriptors from 3 on stay open in the
/// program. `descriptors` are for this process alone: the caller closes them after the last try.
pub fn launch(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    preserve: u32,
    destination: &Destination<'_>,
    entering: Entering,
) -> Result<Launched, LaunchError> {
    let launched = try_launch(plan, descriptors, entry, preserve, destination, entering);
    let (Err(refused), Some(cgroup)) = (&launched, &entry.unified) else { return launched };
    if !matches!(refused.errno(), Some(Errno::NOSYS | Errno::PERM)) || !refused.is_of_clone() {
        return launched;
    }
    // clone(2) cannot place the process in a cgroup, so init enters the cgroup as its first op, as
    // on cgroup v1.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let Ok(procs) = openat(cgroup, c"cgroup.procs", flags, Mode::empty()) else { return launched };
    let tasks = entry.tasks.iter().map(OwnedFd::try_clone).chain([Ok(procs)]).collect::<std::io::Result<Vec<_>>>();
    let Ok(tasks) = tasks else { return launched };
    try_launch(plan, descriptors, &Entry { unified: None, tasks }, preserve, destination, entering)
}

fn try_launch(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    preserve: u32,
    destination: &Destination<'_>,
    entering: Entering,
) -> Result<Launched, LaunchError> {
    let parent = LaunchError::parent;
    start_with_default_signals();
    // Init may wait at its barrier for a long time, so descriptors that the caller left open are
    // closed when the stub starts and not when init ends.
    rt_sys::process::close_range(3 + preserve, u32::MAX, true).map_err(parent("mark descriptors close-on-exec"))?;
    let span = trace_span!("prepare init").entered();
    let idmaps = plan.idmaps.iter().map(|idmap| maps::of_mount(plan, idmap)).collect::<Result<Vec<_>, _>>()?;
    let time = time_namespace(plan, destination)?;
    let ops = final_ops(plan, descriptors, entry, (&idmaps, &time), preserve)?;
    let stub_fd = stub::executable().map_err(parent("make a memfd for init"))?;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(parent("make a socket pair"))?;
    inherit(theirs.as_fd())?;
    let arguments = [c"rt-init".to_owned(), number(&theirs)];
    let argv: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    // The child reads these until it has executed the stub, and no event reports that moment: so
    // they are never freed. The runtime is a short-lived process.
    let (_arguments, argv) = (ManuallyDrop::new(arguments), ManuallyDrop::new(argv));
    let wiring = Wiring { socket: theirs.as_fd(), stub: stub_fd.as_fd(), argv: argv.as_ptr() };
    drop(span);
    let (pid, pidfd) = trace_span!("clone")
        .in_scope(|| clone_process(plan, entry, destination, entering == Entering::Held, &wiring, &socket))?;
    drop((theirs, stub_fd));
    let timeline = descriptors.timeline.as_ref().and_then(|file| file.try_clone().ok());
    // While the process executes the stub.
    let joins = plan.namespaces.join.clone();
    let plan = trace_span!("encode the plan").in_scope(|| encoded(&ops));
    let mut launched = Launched { pid, pidfd, socket, ops, joins, idmaps, interrupt: None, plan, timeline };
    if entering == Entering::ByEntry {
        launched.send_plan()?;
    }
    Ok(launched)
}

fn number(fd: &OwnedFd) -> CString {
    CString::new(fd.as_raw_fd().to_string()).unwrap_or_default()
}
