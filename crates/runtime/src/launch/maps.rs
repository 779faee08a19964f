//! Id maps of user namespaces (user_namespaces(7)), written by the parent.

use std::path::Path;

use rt_plan::spec::IdMapping;
use rt_plan::{IdMaps, Idmap, Plan};
use rt_protocol::flags::namespace;
use rt_sys::clone::{flags, spawn};
use rt_sys::exec::exit;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, geteuid, pidfd_send_signal, waitid};

use super::LaunchError;
use super::process::open_namespace;
use crate::host::command::{HostCommand, failure};

/// Writes both maps of the process `pid`.
pub fn write_maps(pid: i32, maps: &IdMaps) -> Result<(), LaunchError> {
    // Without root a process can map only its own id; ranges of /etc/subuid go through the setuid
    // helpers.
    if !geteuid().is_root() && needs_helper(maps) {
        run_helper("newuidmap", pid, &maps.uid, "/linux/uidMappings")?;
        return run_helper("newgidmap", pid, &maps.gid, "/linux/gidMappings");
    }
    if !geteuid().is_root() {
        put(pid, "setgroups", "deny").map_err(named("/linux/gidMappings", "write setgroups of", pid))?;
    }
    put(pid, "uid_map", &lines(&maps.uid)).map_err(named("/linux/uidMappings", "write uid_map of", pid))?;
    put(pid, "gid_map", &lines(&maps.gid)).map_err(named("/linux/gidMappings", "write gid_map of", pid))
}

fn named(pointer: &str, what: &'static str, pid: i32) -> impl FnOnce(Errno) -> LaunchError {
    let pointer = pointer.to_owned();
    move |errno| LaunchError::Named { pointer, what, name: format!("/proc/{pid}"), errno }
}

fn needs_helper(maps: &IdMaps) -> bool {
    let own = |maps: &[IdMapping]| matches!(maps, [m] if m.size == 1);
    !own(&maps.uid) || !own(&maps.gid)
}

fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}

/// The kernel takes a map in one write only.
fn put(pid: i32, file: &str, text: &str) -> Result<(), Errno> {
    let path = format!("/proc/{pid}/{file}");
    let file = openat(CWD, path.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, text.as_bytes()).map(drop)
}

fn run_helper(program: &'static str, pid: i32, maps: &[IdMapping], pointer: &'static str) -> Result<(), LaunchError> {
    let numbers = maps.iter().flat_map(|m| [m.container_id, m.host_id, m.size]).map(|number| number.to_string());
    let output = HostCommand::find(program)
        .and_then(|command| command.args([pid.to_string()].into_iter().chain(numbers))?.output())
        .map_err(|errno| {
            let errno = rt_sys::errno::text(errno);
            let how = format!("{errno}; install the package uidmap, which maps ranges of ids without root");
            LaunchError::Helper { pointer, program, how }
        })?;
    let Some(how) = failure(&output.status) else { return Ok(()) };
    let how = format!("{how}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Err(LaunchError::Helper { pointer, program, how })
}

/// The user namespace whose maps an id-mapped mount gets.
pub fn of_mount(plan: &Plan, idmap: &Idmap) -> Result<OwnedFd, LaunchError> {
    match idmap {
        Idmap::Maps(maps) => user_namespace(maps),
        Idmap::Joined => match plan.namespaces.join.iter().find(|join| join.kind.flag == namespace::NEWUSER) {
            Some(join) => open_namespace(join),
            None => Err(LaunchError::Parent { what: "find the user namespace to join", errno: Errno::NOENT }),
        },
    }
}

/// A user namespace with the container's own maps; None if it has no user namespace.
pub fn of_container(plan: &Plan) -> Result<Option<OwnedFd>, LaunchError> {
    let idmap = match () {
        () if plan.namespaces.joins(namespace::NEWUSER) => Idmap::Joined,
        () if plan.namespaces.has(namespace::NEWUSER) => Idmap::Maps(plan.namespaces.maps.clone()),
        () => return Ok(None),
    };
    of_mount(plan, &idmap).map(Some)
}

/// A user namespace with these maps, for an id-mapped mount. The process in it lives only as long
/// as this call.
fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, LaunchError> {
    let parent = LaunchError::parent;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(parent("make a pipe"))?;
    let mut stack = Box::new_uninit_slice(8192);
    let arg = reader.as_raw_fd() as usize as *mut std::ffi::c_void;
    // SAFETY: `idle` only reads from a descriptor and exits; the stack lives until the process is
    // reaped below.
    let (pid, pidfd) = unsafe { spawn(flags::VM | namespace::NEWUSER, None, &mut stack, idle, arg) }
        .map_err(parent("make a user namespace for an id-mapped mount"))?;
    let namespace = write_maps(pid, maps).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        openat(CWD, Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(parent("open a user namespace"))
    });
    drop(writer);
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    namespace
}

unsafe extern "C" fn idle(reader: *mut std::ffi::c_void) -> ! {
    // SAFETY: the parent passed the number of a descriptor that this process inherited a copy of.
    let reader = unsafe { rustix::fd::BorrowedFd::borrow_raw(reader as usize as i32) };
    let _ = read(reader, &mut [0_u8; 1]);
    exit(0)
}
