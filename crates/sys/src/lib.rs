//! The system calls that rustix and nix lack, each as a safe typed function.
//!
//! `no_std`, no allocation, no policy: the same code serves `rt` and the stub that runs inside the
//! container.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod bpf;
pub mod clone;
pub mod errno;
pub mod exec;
#[cfg(feature = "alloc")]
pub mod file;
#[cfg(feature = "freestanding")]
mod freestanding;
pub mod mount;
pub mod net;
pub mod process;
pub mod raw;
pub mod seccomp;
pub mod signal;
pub mod socket;
