//! `rt run`.

use rt_runtime::verbs;

use super::{ID, create};
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag};

/// Arguments of `run`.
pub const GRAMMAR: Grammar = Grammar {
    name: "run",
    about: "Create a container and start its program",
    options: &[
        create::SHARED,
        &[
            flag("detach", "Do not wait for the container's end").short('d'),
            flag("keep", "Keep the container's state when it has ended"),
            flag("no-subreaper", "Do not take over orphans of the container"),
        ],
    ],
    words: &[ID],
    rest: None,
};

/// `rt run`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let mut options = create::options(arguments)?;
    options.detach = arguments.flag("detach");
    options.keep = arguments.flag("keep");
    options.no_subreaper = arguments.flag("no-subreaper");
    let prefixed = |e: rt_runtime::Error| {
        // As of a shell, for a command that a signal has ended.
        let exit = e.signal().map_or(1, |signal| 128 + signal);
        Failure::from(e).prefixed("rt run failed: ").exiting(exit)
    };
    let ending = verbs::run(&context.store()?, arguments.id(), &options).map_err(prefixed)?;
    Ok(ending.code())
}
