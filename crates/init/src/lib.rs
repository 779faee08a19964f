//! What `rt` and its init stub say to each other: the plan ([`op`], [`wire`]) and the reports ([`report`]).
//!
//! `no_std` and without allocation: every byte of this runs inside the container, too.
#![no_std]

pub mod op;
pub mod report;
pub mod wire;
