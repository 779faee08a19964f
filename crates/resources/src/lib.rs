//! `linux.resources` of config.json, and where cgroups are, as data. `rt-cgroups` finds and writes
//! them.
//!
//! Pure: no system call.
#![forbid(unsafe_code)]

pub mod check;
pub mod convert;
mod layout;
mod location;
pub mod model;
mod unit;
mod update;

pub use check::{Problem, Severity};
pub use layout::{Hierarchy, Layout};
pub use location::{Driver, InvalidPath, Location, clean, place};
pub use model::{DeviceKind, DeviceRule, Resources};
pub use unit::Unit;
