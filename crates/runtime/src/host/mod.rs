//! Facts of this host, probed once and handed to the lowering as data; and what the host lacks for a config.

mod check;

use rt_cgroups::Layout;
use rustix::fs::readlink;

use crate::plan::Host;

pub use check::{Finding, check};

/// Looks at the host. Only reads.
pub fn probe() -> Result<Host, rt_cgroups::Error> {
    Ok(Host {
        layout: Layout::detect()?,
        root: rustix::process::geteuid().is_root(),
        first_user_namespace: in_first_user_namespace(),
    })
}

/// Whether this process is in the host's user namespace. Its inode number is the same on every kernel (USER_NS_INIT_INO of
/// nsfs.h).
pub fn in_first_user_namespace() -> bool {
    readlink(c"/proc/self/ns/user", Vec::new()).is_ok_and(|name| name.to_bytes() == b"user:[4026531837]")
}
