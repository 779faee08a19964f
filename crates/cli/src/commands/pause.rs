//! `rt pause` and `rt resume`.

use rt_runtime::container;

use super::ID;
use crate::arguments::Arguments;
use crate::cli::Failure;
use crate::context::Context;
use crate::grammar::Grammar;

/// Arguments of `pause`.
pub const PAUSE: Grammar =
    Grammar { name: "pause", about: "Freeze all processes of a container", options: &[], words: &[ID], rest: None };

/// Arguments of `resume`.
pub const RESUME: Grammar = Grammar {
    name: "resume",
    about: "Thaw the processes of a frozen container",
    options: &[],
    words: &[ID],
    rest: None,
};

/// `rt pause`.
pub fn pause(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    container::pause(&context.store()?, arguments.id())?;
    Ok(0)
}

/// `rt resume`.
pub fn resume(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    container::resume(&context.store()?, arguments.id())?;
    Ok(0)
}
