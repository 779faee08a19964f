//! `rt start`.

use rt_runtime::container;

use super::ID;
use crate::arguments::Arguments;
use crate::cli::Failure;
use crate::context::Context;
use crate::grammar::Grammar;

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
    container::start(&context.store()?, arguments.id()).map_err(Failure::from)?;
    Ok(0)
}
