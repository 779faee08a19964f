//! Facts of this host, probed once and handed to the lowering as data; and what the host lacks for a config.

mod check;

use rt_cgroups::Layout;

use crate::plan::Host;

pub use check::{Finding, check};

/// Looks at the host. Only reads.
pub fn probe() -> Result<Host, rt_cgroups::Error> {
    Ok(Host { layout: Layout::detect()?, root: rustix::process::geteuid().is_root() })
}
