//! `rt pause` and `rt resume`.

use rt_runtime::verbs;

use super::ID;
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::Grammar;

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
    verbs::pause(&context.store()?, arguments.id())?;
    Ok(0)
}

/// `rt resume`.
pub fn resume(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    verbs::resume(&context.store()?, arguments.id())?;
    Ok(0)
}
