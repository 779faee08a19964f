//! The runtime: config → plan → init (docs/architecture.md).

pub mod caller;
pub mod container;
pub mod host;
pub mod launch;
mod network;
pub mod plan;
mod program;
pub mod seccomp;
pub mod spec;
