//! The `rt` command: arguments in, text and an exit code out. What happens between is in `rt-runtime`.

pub mod alloc;
mod arguments;
mod cli;
mod commands;
mod context;
mod duration;
mod grammar;
mod habits;
mod log;
mod misuse;
mod table;
mod trace;

pub use cli::{definition, run};
