//! config.json, lowered to a plan: what the parent and init will do, in words of the kernel.
//!
//! Pure: no system call. What the host can do comes in as [`Host`], what the caller asked for as
//! [`Request`].
#![forbid(unsafe_code)]

mod describe;
mod hook_state;
mod lower;
pub mod spec;

pub use describe::{EXEC, PlannedOp, steps, what};
pub use hook_state::{OCI_VERSION, hook_state_for, hook_state_of};
pub use lower::*;
