//! `rt delete`.

use rt_runtime::container;

use super::ID;
use crate::arguments::Arguments;
use crate::cli::Failure;
use crate::context::Context;
use crate::grammar::{Grammar, flag};

/// Arguments of `delete`.
pub const GRAMMAR: Grammar = Grammar {
    name: "delete",
    about: "Delete a container and all it had",
    options: &[&[flag("force", "Kill a running container first; one that does not exist is no error").short('f')]],
    words: &[ID],
    rest: None,
};

/// `rt delete`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    container::delete(&context.store()?, arguments.id(), arguments.flag("force"))?;
    Ok(0)
}
