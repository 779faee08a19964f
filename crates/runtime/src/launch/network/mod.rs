//! The network of a container: its namespace, and the devices that move into it.

mod devices;
mod namespace;
mod route;

pub use devices::{loopback_up, move_devices, refuse_own_parameters};
pub use namespace::*;
