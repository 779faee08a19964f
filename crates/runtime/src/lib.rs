//! The parent's half: it executes plans, keeps the state of containers, and answers for them
//! (docs/architecture.md).

pub mod caller;
pub mod checkpoint;
mod config;
mod error;
pub mod host;
pub mod launch;
pub mod store;
pub mod verbs;

pub use config::read_document;
pub use error::{Context, Error};
