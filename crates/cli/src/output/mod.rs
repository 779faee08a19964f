//! What a person or an engine gets to read: the log, failures, tables and traces.

mod failure;
mod log;
mod print;
pub mod table;
mod trace;

pub use failure::Failure;
pub use log::{Format, Log};
pub use print::print;
pub use trace::Trace;
