//! The work that init does while the parent makes the network namespace. Ops that come after the
//! wait for that namespace go before it if their effect is certain to be the same.

use rt_protocol::flags::namespace;
use rt_protocol::op::{self, flag};

use super::{Lowering, Op};
use crate::spec::Pointer;

/// How an op after `JoinNetwork` relates to being done before it.
enum Turn<'o> {
    /// It does one thing at this path of the container, and may go ahead inside a fresh filesystem.
    Path(&'o [u8]),
    /// It stays, and so does what concerns its path.
    Stays(&'o [u8]),
    /// It leaves the host's root, and may go ahead if nothing that stays needs the host's files.
    Leaves,
    /// It concerns the process or the host name only, and goes ahead.
    Anywhere,
    /// It stays, and does not mind what overtakes it.
    Apart,
    /// It may observe the effect of every op before it, or decide what comes after.
    Barrier,
}

/// What decides whether an op looks for something in the host's tree of files.
struct Host {
    /// The container is not made in another user namespace than the host's first.
    first_user_namespace: bool,
    /// The container gets a cgroup namespace.
    own_cgroups: bool,
}

/// The paths among those that engines mask which are directories of sysfs on every host.
const DIRECTORIES: [&[u8]; 2] = [b"/sys/firmware", b"/sys/devices/virtual/powercap"];

impl Lowering<'_> {
    /// Moves ops before `JoinNetwork`.
    pub(super) fn work_ahead_of_network(&mut self) {
        let host = Host {
            first_user_namespace: self.host.first_user_namespace,
            own_cgroups: self.namespaces.new & namespace::NEWCGROUP != 0,
        };
        self.ops = ahead_of_network(std::mem::take(&mut self.ops), &host);
    }
}

/// The ops in the order in which init has least to wait for; each has the effect that it has in the
/// plain order.
///
/// Of those with a path only what is inside a procfs or tmpfs mounted before goes ahead, such as
/// the nodes of /dev and the masks of /proc: nothing of the image's is in there that could lead to
/// another place. Where paths are nested, and with hooks or kernel parameters between, the order
/// stays.
///
/// An image can have a symlink that leads a mount over /dev by another name. Then what a config
/// asks for inside /dev is covered, where in the plain order it would be made in that mount.
fn ahead_of_network(mut ops: Vec<(Op, Pointer)>, host: &Host) -> Vec<(Op, Pointer)> {
    let Some(join) = ops.iter().position(|(op, _)| matches!(op, op::Op::JoinNetwork {})) else { return ops };
    let (before, behind) = ops.split_at(join);
    let fresh: Vec<&[u8]> = before.iter().filter_map(|(op, _)| fresh_filesystem(op)).collect();
    let mut staying: Vec<&[u8]> = Vec::new();
    // In any other user namespace the kernel gives a new sysfs only to a process that sees one
    // already (mount_too_revealing).
    let mut host_needed = !host.first_user_namespace;
    let mut ahead = vec![false; behind.len()];
    for ((op, _), ahead) in behind.iter().zip(&mut ahead).skip(1) {
        let (goes, stays_at) = match turn(op) {
            Turn::Path(path) => {
                let nested = staying.iter().any(|other| within(path, other) || within(other, path));
                (!nested && fresh.iter().any(|root| within(path, root)), Some(path))
            }
            Turn::Stays(path) => (false, Some(path)),
            Turn::Leaves => (!host_needed, None),
            Turn::Anywhere => (true, None),
            Turn::Apart => (false, None),
            Turn::Barrier => break,
        };
        *ahead = goes;
        if !goes {
            staying.extend(stays_at);
            host_needed |= needs_host(op, host);
        }
    }
    let mut ahead = ahead.into_iter();
    let behind = ops.split_off(join);
    let (first, rest): (Vec<_>, Vec<_>) = behind.into_iter().partition(|_| ahead.next() == Some(true));
    ops.extend(first);
    ops.extend(rest);
    ops
}

/// Whether the op looks for something in the host's tree of files.
fn needs_host(op: &Op, host: &Host) -> bool {
    use op::Op;
    match op {
        Op::Mount(mount) if mount.flags & flag::LEGACY != 0 => true,
        Op::Mount(mount) => match mount.fstype.0.to_bytes() {
            b"sysfs" | b"proc" | b"tmpfs" | b"devpts" | b"mqueue" => false,
            b"cgroup2" => mount.flags & flag::CGROUP_FALLBACK != 0 && !host.own_cgroups,
            _ => true,
        },
        // A masked file is covered by the host's null device; a masked directory needs nothing of
        // the host.
        Op::Mask { .. } => needs_null_device(op),
        // A node that may not be made is bound from the host; attributes before Linux 5.12 go by a
        // path of /proc.
        Op::Bind(_) | Op::Node { .. } | Op::ReadOnly { .. } | Op::Attributes { .. } => true,
        _ => false,
    }
}

/// Whether the op covers, or may cover, a file.
pub(super) fn needs_null_device(op: &Op) -> bool {
    matches!(op, op::Op::Mask { path } if !DIRECTORIES.contains(&path.0.to_bytes()))
}

/// The destination of a new filesystem that contains only what the kernel or an op puts there.
fn fresh_filesystem(op: &Op) -> Option<&[u8]> {
    let op::Op::Mount(mount) = op else { return None };
    let fresh = matches!(mount.fstype.0.to_bytes(), b"proc" | b"tmpfs") && mount.flags & flag::COPY_UP == 0;
    fresh.then(|| mount.target.0.to_bytes())
}

fn turn(op: &Op) -> Turn<'_> {
    use op::Op;
    match op {
        Op::Mount(mount) => match mount.fstype.0.to_bytes() {
            b"tmpfs" | b"devpts" | b"mqueue" if mount.flags & flag::COPY_UP == 0 => {
                Turn::Path(mount.target.0.to_bytes())
            }
            _ => Turn::Stays(mount.target.0.to_bytes()),
        },
        Op::Node { path, .. } | Op::Symlink { path, .. } | Op::Mask { path } | Op::ReadOnly { path } => {
            Turn::Path(path.0.to_bytes())
        }
        Op::Bind(bind) => Turn::Stays(bind.target.0.to_bytes()),
        Op::Directory { path, .. } | Op::Attributes { path, .. } => Turn::Stays(path.0.to_bytes()),
        Op::PivotRoot { .. } => Turn::Leaves,
        Op::Hostname { .. } | Op::Domainname { .. } | Op::Bounding { .. } => Turn::Anywhere,
        // The root's attributes must wait for the last destination made in it.
        Op::RootAttributes { .. } | Op::NewSession {} | Op::LoopbackUp {} => Turn::Apart,
        Op::WorkingDirectory { .. } | Op::OwnStdio { .. } | Op::PrepareLabel { .. } => Turn::Apart,
        Op::Limit { .. } | Op::Umask { .. } => Turn::Apart,
        Op::Affinity { .. } | Op::Scheduler { .. } | Op::IoPriority { .. } => Turn::Apart,
        // Programs run, or what they may do changes.
        Op::AwaitHooks {} | Op::Hook(_) | Op::Exec { .. } | Op::FindProgram { .. } => Turn::Barrier,
        Op::User { .. } | Op::Capabilities { .. } | Op::NoNewPrivileges {} | Op::Seccomp { .. } => Turn::Barrier,
        Op::Label { .. } | Op::SessionKeyring { .. } | Op::Personality { .. } | Op::MemoryPolicy { .. } => {
            Turn::Barrier
        }
        // A kernel parameter may be one of the network's.
        Op::Sysctl { .. } => Turn::Barrier,
        // A process outside gets a message, or init waits for one.
        Op::Ready { .. } | Op::AwaitStart { .. } | Op::SendPidfd { .. } | Op::Terminal { .. } => Turn::Barrier,
        // These come before the network in every plan.
        Op::JoinCgroup { .. } | Op::Unshare { .. } | Op::TimeOffsets { .. } | Op::EnterTime { .. } => Turn::Barrier,
        Op::Source { .. } | Op::MountNamespace { .. } => Turn::Barrier,
        Op::MountsPropagation { .. } | Op::ParentPrivate { .. } | Op::Root { .. } => Turn::Barrier,
        Op::CloseFrom { .. } | Op::Timeline { .. } | Op::JoinNetwork {} => Turn::Barrier,
        Op::MoveRoot {} | Op::Chroot {} => Turn::Barrier,
    }
}

/// Whether `path` is `root` or below it, going by the names.
fn within(path: &[u8], root: &[u8]) -> bool {
    let below = path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || root.ends_with(b"/"));
    below && !path.split(|b| *b == b'/').any(|part| part == b"..")
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::within;

    /// An op wrongly taken for one inside /dev or /proc would be done before what it depends on.
    #[test]
    fn below_by_name() {
        assert!(within(b"/dev", b"/dev") && within(b"/dev/shm", b"/dev") && within(b"/etc", b"/"));
        assert!(!within(b"/device", b"/dev") && !within(b"/dev/../sys", b"/dev") && !within(b"/", b"/dev"));
    }
}
