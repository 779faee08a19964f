//! The device filter on cgroup v2: an eBPF program on the cgroup's directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rt_sys::bpf;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::filter::Filter;
use super::program::assemble;
use crate::dir::Dir;
use crate::error::Error;

/// This name distinguishes our programs from those of systemd or of a device plugin.
const NAME: &std::ffi::CStr = c"rt_devices";

/// No GPL-only helper is called, so any licence will do.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";

/// `BPF_CGROUP_MAX_PROGS`: no cgroup has more.
const MOST_PROGRAMS: usize = 64;

/// Puts the filter in force, in the place of an earlier one of ours.
///
/// All programs attached to a cgroup and its ancestors must agree to an access. So programs of
/// others stay, and when everything is allowed none of ours is needed.
pub(crate) fn apply(dir: &Dir, filter: &Filter, fresh: bool) -> Result<(), Error> {
    let failed = |action| move |errno| Error::DeviceFilter { action, path: dir.path().to_owned(), errno };
    let cgroup = dir.fd()?;
    let old = if fresh { Vec::new() } else { attached(cgroup).map_err(failed("query"))? };
    if !filter.allows_everything() {
        let new = load(filter).map_err(failed("load"))?;
        if let [only] = &old[..] {
            match bpf::attach_device_program(cgroup, new.as_fd(), Some(only.as_fd())) {
                // Linux before 5.6 cannot replace; attach beside the old one, which is then taken
                // away.
                Err(Errno::INVAL) => {}
                result => return result.map_err(failed("attach")),
            }
        }
        bpf::attach_device_program(cgroup, new.as_fd(), None).map_err(failed("attach"))?;
    }
    for program in &old {
        match bpf::detach_device_program(cgroup, program.as_fd()) {
            // Somebody else took it away.
            Err(Errno::NOENT) => {}
            result => result.map_err(failed("detach"))?,
        }
    }
    Ok(())
}

/// The programs of ours on this cgroup.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0; MOST_PROGRAMS];
    let count = bpf::query_device_programs(cgroup, &mut ids)?;
    let mut ours = Vec::new();
    for &id in &ids[..count.min(MOST_PROGRAMS)] {
        let program = match bpf::program_by_id(id) {
            // Detached since the query.
            Err(Errno::NOENT) => continue,
            program => program?,
        };
        if bpf::program_name(program.as_fd())?.starts_with(NAME.to_bytes_with_nul()) {
            ours.push(program);
        }
    }
    Ok(ours)
}

fn load(filter: &Filter) -> Result<OwnedFd, Errno> {
    let program = assemble(filter);
    match bpf::load_device_program(&program, LICENSE, NAME) {
        // Linux before 5.11 counts programs as locked memory and says EPERM when that is used up.
        Err(Errno::PERM) if raise_locked_memory() => bpf::load_device_program(&program, LICENSE, NAME),
        result => result,
    }
}

/// Lifts the limit on locked memory as far as we may; true if that changed it.
fn raise_locked_memory() -> bool {
    let old = rustix::process::getrlimit(Resource::Memlock);
    let unlimited = Rlimit { current: None, maximum: None };
    let most = Rlimit { current: old.maximum, maximum: old.maximum };
    old.current.is_some()
        && (rustix::process::setrlimit(Resource::Memlock, unlimited).is_ok()
            || old.current != old.maximum && rustix::process::setrlimit(Resource::Memlock, most).is_ok())
}
