//! Control groups: create, limit, freeze, kill, count, filter devices, on cgroup v2, v1 and hybrid hosts.
//!
//! Nothing here knows what a container is. The order of use is: [`Layout::detect`] (what the host has),
//! [`Location::resolve`] (where the cgroup goes; kept in the container's state), [`Cgroup::create`], then
//! [`Cgroup::apply`] and [`Cgroup::apply_devices`], [`Cgroup::entry`] for the first process; later [`Cgroup::open`].

mod apply;
mod cgroup;
mod check;
mod controller;
pub mod convert;
mod create;
mod delegate;
mod devices;
mod dir;
mod enable;
mod error;
mod events;
mod freezer;
mod journal;
mod kill;
mod knobs;
mod layout;
mod location;
pub mod object;
mod own;
mod procs;
mod psi;
mod reached;
mod remove;
pub mod resources;
pub mod stats;
pub mod systemd;
mod unit;
mod update;
mod watch;

pub use cgroup::{Cgroup, Entry};
pub use check::{Problem, Severity};
pub use devices::Filter;
pub use error::Error;
pub use freezer::FreezerState;
pub use layout::{Hierarchy, Layout};
pub use location::{Driver, Location};
pub use psi::{Psi, PsiData};
pub use reached::{Hit, Reached};
pub use resources::{DeviceKind, DeviceRule, Resources};
pub use stats::Stats;
pub use unit::Unit;
pub use watch::{Notice, Threshold, Watch};
