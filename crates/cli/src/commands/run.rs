//! `rt run`.

use rt_runtime::checkpoint::{CloneOptions, CriuOptions};
use rt_runtime::verbs::{self, RestoreOptions};

use super::{ID, create};
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, path};

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
            path("from", "DIR", "Start warm: as a clone of the container that was saved in DIR"),
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
    let (store, id) = (context.store()?, arguments.id());
    let ending = match arguments.path("from") {
        None => verbs::run(&store, id, &options),
        Some(image) => {
            let criu = CriuOptions { program: context.criu.clone(), image, ..CriuOptions::default() };
            verbs::restore(&store, id, &RestoreOptions { run: options, criu, clone: Some(CloneOptions::default()) })
        }
    };
    let ending = ending.map_err(prefixed)?;
    Ok(ending.code())
}
