//! `rt delete`.

use rt_runtime::verbs;

use super::{ID, matching};
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag};

/// Arguments of `delete`.
pub const GRAMMAR: Grammar = Grammar {
    name: "delete",
    about: "Delete a container and all it had",
    options: &[&[
        flag("force", "Kill a running container first; one that does not exist is no error").short('f'),
        matching::REGEX,
    ]],
    words: &[ID],
    rest: None,
};

/// `rt delete`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let store = context.store()?;
    matching::each(&store, arguments, |id| verbs::delete(&store, id, arguments.flag("force")))
}
