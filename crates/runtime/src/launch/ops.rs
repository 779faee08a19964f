//! The plan's ops as the stub gets them: with numbers of descriptors that are open in it.

use rt_cgroups::Entry;
use rt_plan::spec::Pointer;
use rt_plan::{Op, Plan, slot};
use rt_protocol::flags::namespace;
use rt_protocol::op::encode;
use rt_protocol::wire::{CHUNK, LENGTH, Sink};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::error::LaunchError;
use super::process::open_namespace;
use super::{Descriptors, Place};

struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The ops as the stub gets them, behind their length.
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

/// The plan's ops with descriptors in place, behind those that only the launcher knows of.
pub(super) fn final_ops(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    (idmaps, time): (&[OwnedFd], &Option<OwnedFd>),
    preserve: u32,
) -> Result<Vec<(Op, Pointer)>, LaunchError> {
    let mut ops = Vec::with_capacity(plan.ops.len() + entry.tasks.len() + 2);
    if let Some(fd) = &descriptors.timeline {
        inherit(fd.as_fd())?;
        ops.push((Op::Timeline { fd: fd.as_raw_fd() }, Pointer::new("/process")));
    }
    ops.push((Op::CloseFrom { from: 3 + preserve }, Pointer::new("/process")));
    for tasks in &entry.tasks {
        inherit(tasks.as_fd())?;
        ops.push((Op::JoinCgroup { fd: tasks.as_raw_fd() }, Pointer::new("/linux/cgroupsPath")));
    }
    if let Some(fd) = time {
        inherit(fd.as_fd())?;
        ops.push((Op::EnterTime { fd: fd.as_raw_fd() }, Pointer::new("/linux/namespaces")));
    }
    let find = |wanted: i32| -> Result<i32, LaunchError> {
        let fd = match wanted {
            slot::CONSOLE => descriptors.console.as_ref(),
            slot::START => descriptors.start.as_ref(),
            slot::SECCOMP_AGENT => descriptors.agent.as_ref(),
            slot::PIDFD => descriptors.pidfd.as_ref(),
            n if n <= slot::IDMAP_BASE => idmaps.get((slot::IDMAP_BASE - n) as usize),
            n => return Ok(n),
        };
        let fd = fd.ok_or(LaunchError::Parent { what: "find a descriptor for init", errno: Errno::BADF })?;
        inherit(fd.as_fd())?;
        Ok(fd.as_raw_fd())
    };
    for (op, at) in &plan.ops {
        let mut op = op.clone();
        match &mut op {
            Op::Terminal { socket: fd, .. }
            | Op::AwaitStart { socket: fd }
            | Op::Seccomp { listener: fd, .. }
            | Op::SendPidfd { socket: fd, .. }
            | Op::Bind { idmap: fd, .. }
            | Op::Root { idmap: fd, .. } => *fd = find(*fd)?,
            _ => {}
        }
        ops.push((op, *at));
    }
    Ok(ops)
}

/// The time namespace to be joined. Not by the child: a process that shares its memory may not (time_namespaces(7)).
pub(super) fn time_namespace(plan: &Plan, place: &Place<'_>) -> Result<Option<OwnedFd>, LaunchError> {
    match place {
        Place::Planned => {
            let mut joins = plan.namespaces.join.iter();
            joins.find(|join| join.kind.flag == namespace::NEWTIME).map(open_namespace).transpose()
        }
        Place::Inside(pidfd, kinds) if kinds & namespace::NEWTIME != 0 => {
            let failed = LaunchError::parent("open the container's time namespace");
            let open = || {
                let path = format!("/proc/{}/ns/time", pid_of(*pidfd)?);
                let fd = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                // Whoever is still alive was behind that number.
                pid_of(*pidfd).and(fd)
            };
            open().map(Some).map_err(failed)
        }
        Place::Inside(..) => Ok(None),
    }
}

/// The number behind a pidfd, of a process that lives.
fn pid_of(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or(Errno::SRCH)
}
