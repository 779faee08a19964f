//! The process itself: cloned into its namespaces and its cgroup.

use std::ffi::c_char;
use std::mem::ManuallyDrop;

use rt_cgroups::Entry;
use rt_plan::{Join, Plan};
use rt_protocol::flags::namespace;
use rt_protocol::report::{Report, Step};
use rt_sys::clone::{flags, spawn};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{
    DumpableBehavior, Signal, WaitId, WaitIdOptions, pidfd_send_signal, set_dumpable_behavior, waitid,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::child::{self, Child, FIRST_JOIN, Second};
use super::error::{CLONE, CLONE_INSIDE, LaunchError};
use super::launched::proceed;
use super::reports::Message;
use super::{Destination, maps};

const STACK: usize = 16 * 1024;

/// What a process of `exec` does first.
pub(super) const JOIN_INSIDE: &str = "join the container's namespaces";

pub(super) struct Wiring<'a> {
    pub(super) socket: BorrowedFd<'a>,
    pub(super) stub: BorrowedFd<'a>,
    pub(super) argv: *const *const c_char,
}

pub(super) fn clone_process(
    plan: &Plan,
    entry: &Entry,
    place: &Destination<'_>,
    held: bool,
    wiring: &Wiring<'_>,
    socket: &OwnedFd,
) -> Result<(i32, OwnedFd), LaunchError> {
    let parent = LaunchError::parent;
    let joined = open_namespaces(plan)?;
    let joins: ManuallyDrop<Vec<(BorrowedFd<'_>, u64)>> = ManuallyDrop::new(match place {
        Destination::Planned => joined.iter().map(|(fd, flag)| (fd.as_fd(), *flag)).collect(),
        Destination::Inside(pidfd, kinds) => vec![(*pidfd, enter_pid_namespace(*pidfd, kinds & !namespace::NEWTIME)?)],
    });
    let joined_kinds = joins.iter().fold(0, |all, (_, kinds)| all | kinds);
    let new = plan.namespaces.made_by_clone();
    let new_user = new & namespace::NEWUSER != 0;
    // A pid namespace takes effect for children only, and a new user namespace must own what is
    // made together with it but must not be needed for what is joined. In both cases a first
    // process joins and then makes a second.
    let two = joined_kinds & (namespace::NEWPID | namespace::NEWUSER) != 0 || (new_user && !joins.is_empty());
    // With the rights of another user the cgroup might no longer be writable, so it is entered
    // first.
    let cgroup = entry.unified.as_ref().map(AsRawFd::as_raw_fd);
    let cgroup_first = !two || joined_kinds & namespace::NEWUSER != 0;
    // Like the arguments, all that the child reads is never freed. From another cgroup namespace
    // the cgroup cannot be entered any more, so the cgroup namespace is joined last. The process
    // that joins must not be in the cgroup itself: the limits would apply to the memory that it
    // shares with this process.
    let last = if two && !cgroup_first {
        joins.iter().find(|(_, k)| k & namespace::NEWCGROUP != 0).map(|(fd, _)| *fd)
    } else {
        None
    };
    let first_joins = joins.iter().map(|(fd, k)| (*fd, if last.is_some() { k & !namespace::NEWCGROUP } else { *k }));
    let joins = ManuallyDrop::new(first_joins.filter(|(_, k)| *k != 0).collect::<Vec<_>>());
    let offsets = ManuallyDrop::new(plan.namespaces.time_offsets.clone().into_bytes());
    let mut stack = ManuallyDrop::new(Box::new_uninit_slice(STACK));
    let mut second_stack = ManuallyDrop::new(Box::new_uninit_slice(if two { STACK } else { 0 }));
    // A child that enters a very small cgroup gets a copy of this memory, so that it dies alone and
    // this process can report it.
    let shared = flags::VM | flags::CLEAR_SIGHAND;
    let base = if plan.tight_memory.is_some() { flags::CLEAR_SIGHAND } else { shared };
    let mut child = ManuallyDrop::new(Box::new(Child {
        joins: &joins,
        last_cgroup_namespace: last,
        second: two.then_some(Second {
            flags: base | flags::PARENT | new,
            cgroup: cgroup.filter(|_| !cgroup_first),
            stack: &mut second_stack,
            result: None,
        }),
        await_maps: new_user || held,
        become_root: new_user,
        time_offsets: plan.namespaces.offsets_before_stub().then_some(offsets.as_slice()),
        socket: wiring.socket,
        stub: wiring.stub,
        argv: wiring.argv,
    }));
    let first_flags = if two { shared | flags::FILES | flags::VFORK } else { base | new };
    let arg = (&raw mut **child).cast();
    if joined_kinds != 0 {
        // While the child still shares this memory, processes of a container can reach it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(parent("hide from the container"))?;
    }
    // SAFETY: `child`, the stacks and what they point to are never freed, and not written here
    // while the child may read them; the entry only makes system calls.
    let spawned = unsafe { spawn(first_flags, cgroup.filter(|_| cgroup_first), &mut stack, child::first, arg) };
    let inside = matches!(place, Destination::Inside(..));
    let (mut pid, mut pidfd) = spawned.map_err(parent(if inside { CLONE_INSIDE } else { CLONE }))?;
    if two {
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(parent("wait for the joining process"))?;
        match child.second.as_mut().and_then(|s| s.result.take()) {
            Some(made) => (pid, pidfd) = made.map_err(parent(CLONE_INSIDE))?,
            None => return Err(before_stub(socket, &plan.namespaces.join)),
        }
    }
    if new_user {
        let mapped = maps::write_maps(pid, &plan.namespaces.maps);
        let released = mapped.and_then(|()| if held { Ok(()) } else { proceed(socket) });
        if let Err(e) = released {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            return Err(e);
        }
    }
    Ok((pid, pidfd))
}

/// Enters the pid namespace of the process behind `pidfd`, for the next child alone, and returns the
/// kinds that are left for the child to join. This process starts no thread (EINVAL, clone(2)) and no
/// program of its own any more. Rights over the namespaces may have to come from a user namespace; then
/// a first process joins them all.
fn enter_pid_namespace(pidfd: BorrowedFd<'_>, kinds: u64) -> Result<u64, LaunchError> {
    if kinds & namespace::NEWUSER != 0 || kinds & namespace::NEWPID == 0 {
        return Ok(kinds);
    }
    move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::PROCESS_ID).map_err(LaunchError::parent(JOIN_INSIDE))?;
    Ok(kinds & !namespace::NEWPID)
}

fn open_namespaces(plan: &Plan) -> Result<Vec<(OwnedFd, u64)>, LaunchError> {
    let joins = plan.namespaces.join.iter().filter(|join| join.kind.flag != namespace::NEWTIME);
    joins.map(|join| Ok((open_namespace(join)?, join.kind.flag))).collect()
}

pub(super) fn open_namespace(join: &Join) -> Result<OwnedFd, LaunchError> {
    let named = |errno| LaunchError::Named {
        pointer: join.at.to_string(),
        what: "open namespace",
        name: join.path.display().to_string(),
        errno,
    };
    openat(CWD, &join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(named)
}

/// The clocks' offsets were refused.
pub(super) fn time_offsets_refused(errno: Errno) -> LaunchError {
    let name = "/proc/self/timens_offsets".to_owned();
    LaunchError::Named { pointer: "/linux/timeOffsets".into(), what: "write", name, errno }
}

/// The error of a report about one of the namespaces to be joined.
pub(super) fn join_refused(joins: &[Join], report: &Report) -> Option<LaunchError> {
    let index = report.op.checked_sub(FIRST_JOIN).filter(|_| report.op != child::BEFORE_STUB)?;
    // A time namespace is joined by init.
    let join = joins.iter().filter(|join| join.kind.flag != namespace::NEWTIME).nth(index as usize)?;
    Some(LaunchError::Join {
        pointer: join.at.to_string(),
        kind: join.kind.name,
        path: join.path.display().to_string(),
        errno: Errno::from_raw_os_error(report.errno as i32),
    })
}

/// The failure that the child reported before it had a plan.
fn before_stub(socket: &OwnedFd, joins: &[rt_plan::Join]) -> LaunchError {
    let message = Message::receive(socket, RecvFlags::DONTWAIT).ok();
    let report = message.and_then(|message| message.report().map(|(report, _)| report));
    let errno = report.map_or(Errno::CHILD, |r| Errno::from_raw_os_error(r.errno as i32));
    if let Some(refused) = report.and_then(|report| join_refused(joins, &report)) {
        return refused;
    }
    match report.map(|r| r.step) {
        Some(Step::Source) => LaunchError::Parent { what: JOIN_INSIDE, errno },
        Some(Step::Idmap) => LaunchError::Parent { what: "become root of the user namespace", errno },
        Some(Step::Write) => time_offsets_refused(errno),
        Some(_) => LaunchError::Parent { what: "execute the init stub", errno },
        None => LaunchError::Parent { what: "start init", errno },
    }
}
