//! Who makes the container's mount namespace, and from what.
//!
//! clone3(2) copies every mount of the host, and leaving the old root unmounts every copy: a start
//! would cost more the more containers run. So init, where it can, opens the rootfs and the sources of
//! all bind mounts first, then enters a copy of a mount namespace with nothing in it, and mounts
//! them there.

use rt_protocol::descriptor::{Descriptor, Slot};
use rt_protocol::flags::{namespace, propagation};
use rt_protocol::op::{self, MOST_SOURCES, flag};
use rt_protocol::wire::Str;

use super::{Lowering, Op, ahead, paths};
use crate::spec::{Hook, Pointer};

const BASE: Descriptor = Descriptor::Slot(Slot::Base);

/// Filesystems of which nothing is looked up in the host's tree of files.
const WITHOUT_FILES: [&[u8]; 7] = [b"proc", b"sysfs", b"tmpfs", b"devpts", b"mqueue", b"cgroup", b"cgroup2"];

impl Lowering<'_> {
    /// Lets init make the mount namespace, or notes why it must begin as a copy of the host's.
    pub(super) fn mount_namespace(&mut self) {
        if self.namespaces.new & namespace::NEWNS == 0 {
            return;
        }
        self.host_mounts = self.needs_host_mounts();
        let propagation = self.ops.iter().position(|(op, _)| matches!(op, op::Op::MountsPropagation { .. }));
        let (None, Some(begin)) = (self.host_mounts, propagation) else { return };
        let mut sources = open_first(&mut self.ops[begin..]);
        if sources.len() > MOST_SOURCES {
            for (op, _) in &mut self.ops[begin..] {
                *opened(op).unwrap_or(&mut 0) = 0;
            }
            self.host_mounts = Some("there are more bind mounts than init opens in advance");
            return;
        }
        self.namespaces.mounts_by_init = true;
        sources.push((op::Op::MountNamespace { base: BASE }, Pointer::new("/linux/namespaces")));
        self.ops.splice(begin..=begin, sources);
    }

    /// Why the container must begin with the host's mounts.
    fn needs_host_mounts(&mut self) -> Option<&'static str> {
        if self.namespaces.has(namespace::NEWUSER) || !self.host.root || !self.host.first_user_namespace {
            return Some("what the host's mounts may not do is locked in a user namespace");
        }
        if self.request.no_pivot {
            return Some("--no-pivot leaves the host's root below the container's");
        }
        if self.propagation() != (propagation::SLAVE, true) {
            return Some("/linux/rootfsPropagation concerns the host's mounts");
        }
        if self.hooks_before_pivot().any(|hook| !is_blind(hook)) {
            return Some("a hook may look for the host's files in the container's mount namespace");
        }
        let rootfs = self.rootfs.to_str()?;
        self.ops.iter().find_map(|(op, _)| needs_host_files(op, rootfs))
    }

    /// The hooks that run when the container's mount namespace exists, and its root is the host's.
    fn hooks_before_pivot(&self) -> impl Iterator<Item = &Hook<'_>> {
        let hooks = self.spec.hooks.iter();
        hooks.flat_map(|h| [&h.prestart, &h.create_runtime, &h.create_container]).flatten().flatten()
    }
}

/// Whether the hook is known not to look into the container's mount namespace. Docker gives every
/// container on a network a hook that sends the path of its network namespace to dockerd
/// (libnetwork/sandbox_externalkey_unix.go in moby): all that it takes from the state is the pid.
fn is_blind(hook: &Hook<'_>) -> bool {
    hook.args.as_ref().and_then(|args| args.first()).is_some_and(|name| &**name == "libnetwork-setkey")
}

/// Why the op needs the host's files when the container's mounts are made.
fn needs_host_files(op: &Op, rootfs: &str) -> Option<&'static str> {
    match op {
        op::Op::Mount(mount)
            if mount.flags & flag::LEGACY != 0 || !WITHOUT_FILES.contains(&mount.fstype.0.to_bytes()) =>
        {
            Some("the source or an option of a mount may name files of the host")
        }
        op::Op::Bind(bind) if bind.flags & flag::COPY_SYMLINK != 0 => Some("a symlink of the host is to be copied"),
        op::Op::Bind(bind) if bind.flags & (flag::RECURSIVE | flag::SOURCE_IN_ROOT) == flag::RECURSIVE => {
            let source = bind.source.0.to_str().unwrap_or("/");
            let within = source == "/" || paths::below(source.as_ref(), rootfs).is_some();
            within.then_some("a bind mount contains the rootfs, and with it what is mounted there before")
        }
        _ => None,
    }
}

/// The number of the source that an op uses.
fn opened(op: &mut Op) -> Option<&mut u32> {
    match op {
        op::Op::Root { opened, .. } | op::Op::Bind(op::Bind { opened, .. }) => Some(opened),
        _ => None,
    }
}

/// The ops that open what `ops` take from the host's mounts; `ops` get their numbers.
fn open_first(ops: &mut [(Op, Pointer)]) -> Vec<(Op, Pointer)> {
    let mut sources = Vec::new();
    for (op, at) in &mut *ops {
        let source = match op {
            op::Op::Root { path, .. } => op::Op::Source { path: path.clone(), flags: flag::RECURSIVE, base: BASE },
            op::Op::Bind(bind) if bind.flags & flag::SOURCE_IN_ROOT == 0 => {
                let flags = bind.flags & (flag::RECURSIVE | flag::SOURCE_NOFOLLOW) | flag::MAY_BE_FILE;
                op::Op::Source { path: bind.source.clone(), flags, base: BASE }
            }
            _ => continue,
        };
        sources.push((source, *at));
        if let Some(number) = opened(op) {
            *number = sources.len() as u32;
        }
    }
    // It has no number: all masks share it.
    if let Some((_, at)) = ops.iter().find(|(op, _)| ahead::needs_null_device(op)) {
        let path = Str(c"/dev/null".to_owned());
        let flags = flag::SOURCE_NOFOLLOW | flag::NULL_DEVICE;
        sources.push((op::Op::Source { path, flags, base: BASE }, *at));
    }
    sources
}
