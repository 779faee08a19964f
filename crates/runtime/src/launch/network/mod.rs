//! The network of a container: its namespace, and the devices that move into it.

mod devices;
mod lock;
mod namespace;
mod route;

pub use devices::{is_our_own, loopback_up, move_devices, refuse_own_parameters};
pub use lock::NetworkLock;
pub use namespace::*;
