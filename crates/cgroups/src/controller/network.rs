//! `net_cls` and `net_prio` of v1. On v2 both are the business of packet filters.

use rt_resources::model::Network;

use crate::error::Error;
use crate::knobs::Knobs;

/// Sets the class of `net_cls`.
pub(crate) fn set_class(knobs: Knobs<'_>, class: u32) -> Result<(), Error> {
    knobs.set("/network/classID", "net_cls.classid", class)
}

/// Sets the priorities of `net_prio`.
pub(crate) fn set_priorities(knobs: Knobs<'_>, network: &Network) -> Result<(), Error> {
    for (index, entry) in network.priorities.iter().enumerate() {
        let line = format!("{} {}", entry.name, entry.priority);
        knobs.set(&format!("/network/priorities/{index}"), "net_prio.ifpriomap", line)?;
    }
    Ok(())
}
