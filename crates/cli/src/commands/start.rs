//! `rt start`.

use rt_runtime::verbs;

use super::ID;
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::Grammar;

/// Arguments of `start`.
pub const GRAMMAR: Grammar = Grammar {
    name: "start",
    about: "Start the program of a created container",
    options: &[],
    words: &[ID],
    rest: None,
};

/// `rt start`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    verbs::start(&context.store()?, arguments.id()).map_err(Failure::from)?;
    Ok(0)
}
