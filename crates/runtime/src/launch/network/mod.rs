//! The network of a container: its namespace, and the devices that move into it.

mod devices;
mod namespace;
mod netlink;

pub use devices::{loopback_up, move_devices, refuse_own_parameters};
pub use namespace::*;
