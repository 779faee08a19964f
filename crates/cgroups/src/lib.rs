//! Control groups: create, limit, freeze, kill, count, filter devices, on cgroup v2, v1 and hybrid
//! hosts.
//!
//! Nothing here knows what a container is. The order of use is: [`detect`] (what the host has),
//! [`locate`] (where the cgroup goes; kept in the container's state), [`Cgroup::create`], then
//! [`Cgroup::apply`] and [`Cgroup::apply_devices`], [`Cgroup::entry`] for the first process; later
//! [`Cgroup::open`].

mod apply;
mod cgroup;
mod controller;
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
mod own;
mod procs;
mod psi;
mod reached;
mod remove;
pub mod stats;
pub mod systemd;
mod update;
mod watch;

pub use cgroup::{Cgroup, Entry};
pub use controller::hugetlb::page_sizes as huge_page_sizes;
pub use devices::Filter;
pub use error::Error;
pub use freezer::FreezerState;
pub use layout::{detect, detect_at};
pub use location::{locate, locate_process};
pub use own::in_user_namespace;
pub use psi::{Psi, PsiData};
pub use reached::{Hit, Reached};
pub use rt_resources::convert::ranges;
pub use rt_resources::{Driver, Layout, Location, Resources};
pub use stats::Stats;
pub use watch::{MemoryEvents, Notice, Threshold, Watch};
