//! The identity of the program: user, groups, capabilities.

use rt_protocol::report::Step;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, major, minor, openat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities as get_capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::fail::{At, Fail};
use crate::temporary::Temporary;

/// `Op::OwnStdio`: pipes and terminals that the engine made belong to the user, so that /dev/stdout
/// can be opened. What cannot be given (a read-only filesystem, someone else's file in a user
/// namespace) stays as it is.
///
/// The caller's /dev/null becomes the container's: a descriptor of the host's shows a file system
/// of the host, and CRIU cannot dump it.
pub fn own_stdio(uid: u32) -> Result<(), Fail> {
    let mut own_null = None;
    for number in 0..3 {
        // SAFETY: 0, 1 and 2 are never closed by init; a number without a file gives EBADF below.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(stat) = fstat(fd) else { continue };
        if is_null(&stat) {
            let null = own_null.get_or_insert_with(open_null);
            if let Some(null) = null {
                match number {
                    0 => dup2_stdin(null)?,
                    1 => dup2_stdout(null)?,
                    _ => dup2_stderr(null)?,
                }
            }
            continue;
        }
        if stat.st_uid == uid {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(uid)), None) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

/// The container's null device; None if it has none or may not open it.
fn open_null() -> Option<Temporary> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: Temporary = openat(CWD, c"/dev/null", flags, Mode::empty()).ok()?.into();
    let stat = fstat(file.as_fd()).ok()?;
    is_null(&stat).then_some(file)
}

/// `Op::User`. Capabilities stay permitted over the change of user; `Op::Capabilities` sets them
/// right.
pub fn user(uid: u32, gid: u32, groups: &[u8], keep_groups: bool) -> Result<(), Fail> {
    // To become root takes none away.
    if uid != 0 {
        set_keep_capabilities(true)?;
    }
    if !keep_groups {
        // NGROUPS_MAX is 65536; what an engine sends is a few dozen.
        let mut list = [Gid::ROOT; 1024];
        let count = groups.len() / 4;
        let list = list.get_mut(..count).ok_or(Errno::INVAL)?;
        for (place, group) in list.iter_mut().zip(groups.as_chunks::<4>().0) {
            *place = Gid::from_raw(u32::from_le_bytes(*group));
        }
        set_thread_groups(list).map_err(|e| Fail::new(Step::Only, e).with_detail(b"setgroups"))?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid).map_err(|e| Fail::new(Step::Only, e).with_detail(b"setgid"))?;
    set_thread_res_uid(uid, uid, uid).map_err(|e| Fail::new(Step::Only, e).with_detail(b"setuid"))?;
    // A program that should run as an ordinary user must not stay root, whatever the kernel took
    // the arguments for.
    if !(uid.is_root() && gid.is_root()) && (getuid(), geteuid(), getgid(), getegid()) != (uid, uid, gid, gid) {
        return Err(Fail::new(Step::Verify, Errno::PERM).with_detail(b"the kernel reports another user or group"));
    }
    Ok(())
}

/// `Op::Bounding`.
pub fn bounding(keep: u64, last: u32) -> Result<(), Errno> {
    for cap in 0..=last {
        if keep & (1 << cap) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << cap);
        match remove_capability_from_bounding_set(capability) {
            // In a user namespace without CAP_SETPCAP nothing can be dropped; what was never there
            // need not be.
            Err(Errno::PERM) if !capability_is_in_bounding_set(capability)? => {}
            // Past the last capability of this kernel.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// `Op::Capabilities`. Exec recomputes permitted and effective from inheritable, ambient and the
/// bounding set alone (capabilities(7)), so `held` may stay until then, for an op that still needs
/// it.
///
/// Returns what was asked for and left out: what is not the runtime's to give, and what could not
/// be raised in the ambient set.
pub fn capabilities(
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
    held: u64,
) -> Result<(u64, u64), Fail> {
    let sets = |have: CapabilitySet| CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective | held) & have,
        permitted: CapabilitySet::from_bits_retain(permitted | held) & have,
        inheritable: CapabilitySet::from_bits_retain(inheritable) & have,
    };
    let mut missing = 0;
    // What is not both permitted and inheritable, the kernel takes out of the ambient set
    // (capabilities(7)).
    if permitted & inheritable != 0 {
        clear_ambient_capability_set()?;
    }
    match set_capabilities(None, sets(CapabilitySet::from_bits_retain(u64::MAX))) {
        Err(Errno::PERM) => {
            let have = get_capabilities(None)?.permitted;
            missing = (permitted | inheritable | effective) & !have.bits();
            set_capabilities(None, sets(have)).at(Step::Only)?;
        }
        other => other.at(Step::Only)?,
    }
    let mut not_raised = 0;
    for cap in 0..64 {
        let capability = CapabilitySet::from_bits_retain(ambient & (1 << cap));
        // A capability that is not permitted and inheritable cannot be ambient; peers go on with a
        // warning.
        if !capability.is_empty() && configure_capability_in_ambient_set(capability, true).is_err() {
            not_raised |= 1 << cap;
        }
    }
    Ok((missing, not_raised))
}
