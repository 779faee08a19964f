//! OCI seccomp profiles to BPF: bytes in, bytes out, no system call and no C library.
//!
//! A [`Profile`] (`linux.seccomp` of config.json) is [`compile`]d to a [`Program`], the argument of
//! seccomp(2):
//!
//! ```text
//! Profile ─▶ resolve ─▶ policy ────────────▶ ranges ────────────▶ emit ─▶ Program
//!            actions,    per architecture:    numbers run-length   balanced
//!            conditions  number → rules       coded, ENOSYS tail   JGE tree
//! ```
//!
//! What a profile means is what runc with libseccomp makes of it; where libseccomp's answer depends
//! on its data structures rather than on the profile, `order.rs` says what we do, and the
//! differential test counts the cases.

mod action;
mod asm;
mod check;
mod compile;
mod disassemble;
mod emit;
mod error;
mod explain;
mod host;
mod interpret;
mod model;
mod order;
mod policy;
mod program;
mod ranges;
mod resolve;
mod syscalls;
mod table;
mod vocabulary;

pub use action::{Action, describe_return};
pub use check::check;
pub use compile::{Options, compile, compile_with};
pub use disassemble::disassemble;
pub use error::{Error, Warning};
pub use explain::{Explanation, Query, Reason, explain, refusal_to_execute};
pub use host::HostSeccomp;
pub use interpret::{Call, Outcome, run};
pub use model::{Arg, Profile, Rule};
pub use program::{MAX_INSTRUCTIONS, ParseError, Program};
pub use table::Syscall;
pub use vocabulary::{Arch, Flag, Named, Op, Vocabulary};
