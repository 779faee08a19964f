//! What `rt` and its init stub send to each other: the plan ([`op`], [`wire`]), init's reports
//! ([`report`]) and the parent's answers ([`greeting`]).
//!
//! `no_std` and without allocation: every byte of this runs inside the container, too. Pure: no
//! system call.
#![no_std]
#![forbid(unsafe_code)]

pub mod descriptor;
pub mod flags;
pub mod greeting;
pub mod op;
pub mod report;
pub mod wire;
