//! The `rt` command: arguments in, text and an exit code out. What happens between is in
//! `rt-runtime`.

mod commands;
mod context;
mod output;
mod parse;
mod run;
pub mod startup;

pub use parse::definition;
pub use run::run;
