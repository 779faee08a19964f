//! Facts of this host, probed once and handed to the lowering as data; and what the host lacks for
//! a config.

pub(crate) mod base_mounts;
mod check;
pub mod command;
pub mod doctor;
mod empty_namespace;
pub(crate) mod host_mount;
pub(crate) mod mount_namespace;
pub(crate) mod netlink;
pub(crate) mod program;
pub(crate) mod resctrl;
pub(crate) mod thread;

use std::sync::OnceLock;

use rustix::fs::{Access, access, readlink};
use rustix::process::geteuid;

use rt_plan::Host;

pub use check::{Finding, check};

/// Looks at the host. Only reads.
pub fn probe() -> Result<Host, rt_cgroups::Error> {
    Ok(Host {
        layout: rt_cgroups::detect()?,
        root: geteuid().is_root(),
        first_user_namespace: in_first_user_namespace(),
        kcore: access(c"/proc/kcore", Access::EXISTS).is_ok(),
        arch: rt_seccomp::Arch::native(),
    })
}

/// Whether no right to manage cgroups is to be assumed: for another user than root, and in a user
/// namespace (runc's rule).
pub fn is_rootless() -> bool {
    is_rootless_as(geteuid().is_root())
}

/// The same for a caller that already knows whether it is root.
pub fn is_rootless_as(root: bool) -> bool {
    !root || (!in_first_user_namespace() && rt_cgroups::in_user_namespace())
}

/// The inode number of the initial user namespace on every kernel (USER_NS_INIT_INO of nsfs.h).
const INITIAL: &[u8] = b"user:[4026531837]";

/// Whether this process is in the host's user namespace. Asked once: the first look into /proc/self
/// makes the kernel create what is there.
pub fn in_first_user_namespace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| readlink(c"/proc/self/ns/user", Vec::new()).is_ok_and(|name| name.to_bytes() == INITIAL))
}
