//! What init does while the parent makes the network namespace: of the ops behind the one that waits for it, all that surely
//! come out the same before it go before it.

use rt_protocol::flags::namespace;
use rt_protocol::op::{self, flag};

use super::{Lowering, Op};

/// How an op behind `JoinNetwork` stands to being done before it.
enum Place<'o> {
    /// It does one thing at this path of the container, and may go ahead inside a fresh filesystem.
    Path(&'o [u8]),
    /// It stays, and so does what concerns its path.
    Stays(&'o [u8]),
    /// It leaves the host's root, and may go ahead if nothing that stays needs the host's files.
    Leaves,
    /// It means the process or the host name alone, and goes ahead.
    Anywhere,
    /// It stays, and does not mind what overtakes it.
    Apart,
    /// It may see all that was done before it, or decide what comes after.
    Barrier,
}

/// Of the paths that engines mask, those that are directories of sysfs wherever they exist.
const DIRECTORIES: [&[u8]; 2] = [b"/sys/firmware", b"/sys/devices/virtual/powercap"];

impl Lowering<'_> {
    /// Moves ops before `JoinNetwork`.
    ///
    /// Of those with a path only what is inside a procfs or tmpfs mounted before, such as the nodes of /dev and the masks of
    /// /proc: nothing of the image's is in there that could lead to another place. Where paths are nested, and with hooks or
    /// kernel parameters between, the order stays.
    pub(super) fn work_ahead_of_network(&mut self) {
        let Some(join) = self.ops.iter().position(|(op, _)| matches!(op, op::Op::JoinNetwork {})) else { return };
        let (before, behind) = self.ops.split_at(join);
        let fresh: Vec<&[u8]> = before.iter().filter_map(|(op, _)| fresh_filesystem(op)).collect();
        let mut staying: Vec<&[u8]> = Vec::new();
        // In any other user namespace the kernel gives a new sysfs only to who sees one already (mount_too_revealing).
        let mut host_needed = !self.host.first_user_namespace;
        let mut ahead = vec![false; behind.len()];
        for ((op, _), ahead) in behind.iter().zip(&mut ahead).skip(1) {
            let (goes, stays_at) = match place(op) {
                Place::Path(path) => {
                    let nested = staying.iter().any(|other| within(path, other) || within(other, path));
                    (!nested && fresh.iter().any(|root| within(path, root)), Some(path))
                }
                Place::Stays(path) => (false, Some(path)),
                Place::Leaves => (!host_needed, None),
                Place::Anywhere => (true, None),
                Place::Apart => (false, None),
                Place::Barrier => break,
            };
            *ahead = goes;
            if !goes {
                staying.extend(stays_at);
                host_needed |= self.needs_host(op);
            }
        }
        let mut ahead = ahead.into_iter();
        let behind = self.ops.split_off(join);
        let (first, rest): (Vec<_>, Vec<_>) = behind.into_iter().partition(|_| ahead.next() == Some(true));
        self.ops.extend(first);
        self.ops.extend(rest);
    }

    /// Whether the op looks for something in the host's tree of files.
    fn needs_host(&self, op: &Op) -> bool {
        let own_cgroups = self.namespaces.new & namespace::NEWCGROUP != 0;
        match op {
            op::Op::Mount { flags, .. } if flags & flag::LEGACY != 0 => true,
            op::Op::Mount { fstype, flags, .. } => match fstype.0.to_bytes() {
                b"sysfs" | b"proc" | b"tmpfs" | b"devpts" | b"mqueue" => false,
                b"cgroup2" => flags & flag::CGROUP_FALLBACK != 0 && !own_cgroups,
                _ => true,
            },
            // A file is covered by the host's null device, a directory by nothing of the host's.
            op::Op::Mask { path } => !DIRECTORIES.contains(&path.0.to_bytes()),
            // A node that may not be made is bound from the host; attributes before Linux 5.12 go by a path of /proc.
            op::Op::Bind { .. } | op::Op::Node { .. } | op::Op::ReadOnly { .. } | op::Op::Attributes { .. } => true,
            _ => false,
        }
    }
}

/// The destination of a new filesystem in which nothing is but what the kernel or an op puts there.
fn fresh_filesystem(op: &Op) -> Option<&[u8]> {
    match op {
        op::Op::Mount { fstype, target, flags, .. } if flags & flag::COPY_UP == 0 => {
            matches!(fstype.0.to_bytes(), b"proc" | b"tmpfs").then(|| target.0.to_bytes())
        }
        _ => None,
    }
}

fn place(op: &Op) -> Place<'_> {
    use op::Op;
    match op {
        Op::Mount { fstype, target, flags, .. } => match fstype.0.to_bytes() {
            b"tmpfs" | b"devpts" | b"mqueue" if flags & flag::COPY_UP == 0 => Place::Path(target.0.to_bytes()),
            _ => Place::Stays(target.0.to_bytes()),
        },
        Op::Node { path, .. } | Op::Symlink { path, .. } | Op::Mask { path } | Op::ReadOnly { path } => {
            Place::Path(path.0.to_bytes())
        }
        Op::Bind { target: path, .. } | Op::Directory { path, .. } | Op::Attributes { path, .. } => {
            Place::Stays(path.0.to_bytes())
        }
        Op::PivotRoot { .. } => Place::Leaves,
        Op::Hostname { .. } | Op::Domainname { .. } | Op::Bounding { .. } => Place::Anywhere,
        // The root's attributes must wait for the last destination made in it.
        Op::RootAttributes { .. } | Op::NewSession {} | Op::LoopbackUp {} => Place::Apart,
        Op::WorkingDirectory { .. } | Op::OwnStdio { .. } | Op::PrepareLabel { .. } => Place::Apart,
        Op::Limit { .. } | Op::Umask { .. } => Place::Apart,
        Op::Affinity { .. } | Op::Scheduler { .. } | Op::IoPriority { .. } => Place::Apart,
        _ => Place::Barrier,
    }
}

/// Whether `path` is `root` or below it, going by the names.
fn within(path: &[u8], root: &[u8]) -> bool {
    let below = path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || root.ends_with(b"/"));
    below && !path.split(|b| *b == b'/').any(|part| part == b"..")
}

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
