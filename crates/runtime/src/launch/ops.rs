//! The ops of the plan in the form that the stub gets: with the numbers of descriptors that are
//! open in the stub.

use rt_cgroups::Entry;
use rt_plan::spec::Pointer;
use rt_plan::{Op, Plan};
use rt_protocol::descriptor::{Descriptor, Slot};
use rt_protocol::flags::namespace;
use rt_protocol::op::encode;
use rt_protocol::wire::{CHUNK, LENGTH, Sink};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::error::LaunchError;
use super::process::open_namespace;
use super::{Descriptors, Destination};

struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The encoded ops, after their length.
pub(super) fn encoded(ops: &[(Op, Pointer)]) -> Vec<u8> {
    let mut bytes = Bytes(Vec::with_capacity(CHUNK));
    bytes.put(&[0; LENGTH]);
    encode(ops.iter().map(|(op, _)| op), &mut bytes);
    let length = (bytes.0.len() - LENGTH) as u64;
    bytes.0[..LENGTH].copy_from_slice(&length.to_le_bytes());
    bytes.0
}

pub(super) fn inherit(fd: BorrowedFd<'_>) -> Result<(), LaunchError> {
    fcntl_setfd(fd, FdFlags::empty()).map_err(LaunchError::parent("pass a descriptor to init"))
}

/// The descriptor, which init inherits, as an op names it.
fn open(fd: &OwnedFd) -> Result<Descriptor, LaunchError> {
    inherit(fd.as_fd())?;
    Ok(Descriptor::Open(fd.as_raw_fd()))
}

/// The ops of the plan with descriptors filled in, after the ops that only the launcher adds.
pub(super) fn final_ops(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    (idmaps, time): (&[OwnedFd], &Option<OwnedFd>),
    preserve: u32,
) -> Result<Vec<(Op, Pointer)>, LaunchError> {
    let mut ops = Vec::with_capacity(plan.ops.len() + entry.tasks.len() + 2);
    if let Some(fd) = &descriptors.timeline {
        ops.push((Op::Timeline { fd: open(fd)? }, Pointer::new("/process")));
    }
    ops.push((Op::CloseFrom { from: 3 + preserve }, Pointer::new("/process")));
    for tasks in &entry.tasks {
        ops.push((Op::JoinCgroup { fd: open(tasks)? }, Pointer::new("/linux/cgroupsPath")));
    }
    if let Some(fd) = time {
        ops.push((Op::EnterTime { fd: open(fd)? }, Pointer::new("/linux/namespaces")));
    }
    let find = |slot: Slot| -> Result<Descriptor, LaunchError> {
        let fd = match slot {
            Slot::Console => descriptors.console.as_ref(),
            Slot::Start => descriptors.start.as_ref(),
            Slot::SeccompAgent => descriptors.agent.as_ref(),
            Slot::Pidfd => descriptors.pidfd.as_ref(),
            Slot::Idmap(number) => idmaps.get(number as usize),
            Slot::Base => match &descriptors.base {
                None => return Ok(Descriptor::None),
                base => base.as_ref(),
            },
        };
        open(fd.ok_or(LaunchError::Parent { what: "find a descriptor for init", errno: Errno::BADF })?)
    };
    for (op, at) in &plan.ops {
        let mut op = op.clone();
        let mut filled = Ok(());
        op.descriptors(&mut |descriptor| {
            if let Descriptor::Slot(slot) = *descriptor {
                match find(slot) {
                    Ok(open) => *descriptor = open,
                    Err(e) => filled = Err(e),
                }
            }
        });
        filled?;
        ops.push((op, *at));
    }
    Ok(ops)
}

/// The time namespace to join. Init joins it and not the child: a process that shares its memory
/// with another may not (time_namespaces(7)).
pub(super) fn time_namespace(plan: &Plan, place: &Destination<'_>) -> Result<Option<OwnedFd>, LaunchError> {
    match place {
        Destination::Planned => {
            let mut joins = plan.namespaces.join.iter();
            joins.find(|join| join.kind.flag == namespace::NEWTIME).map(open_namespace).transpose()
        }
        Destination::Inside(pidfd, kinds) if kinds & namespace::NEWTIME != 0 => {
            let failed = LaunchError::parent("open the container's time namespace");
            let open = || {
                let path = format!("/proc/{}/ns/time", pid_of(*pidfd)?);
                let fd = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                // The process is still alive, so the number was its own.
                pid_of(*pidfd).and(fd)
            };
            open().map(Some).map_err(failed)
        }
        Destination::Inside(..) => Ok(None),
    }
}

/// The number behind a pidfd, of a process that lives.
fn pid_of(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or(Errno::SRCH)
}
