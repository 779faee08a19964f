//! Checkpoint and restore: what rt asks of CRIU, and what it answers to CRIU's questions.
//!
//! CRIU saves and restores processes; rt says which mounts, namespaces and cgroups of a container
//! come from outside, and makes what CRIU restored a container of rt again.

mod clone;
mod criu;
mod dump;
mod error;
mod image;
mod inherited;
mod log;
mod mounts;
mod namespaces;
mod options;
mod pages;
mod places;
mod preflight;
mod reach;
mod restore;
mod rpc;
mod wire;

pub use clone::CloneOptions;
pub use dump::{dump, tracks_memory};
pub use error::CheckpointError;
pub use image::make_inside;
pub use options::{CriuOptions, ManageCgroups};
pub use preflight::{Obstacle, judge, look};
pub use restore::{Events, Restore, remove_root};
pub use wire::{Hello, Message, VERSION, Wire, is_image_file};
