//! `rt run`.

use clap::{ArgMatches, Command};
use rt_runtime::container;

use super::{create, flag, id_of};
use crate::cli::Failure;
use crate::context::Context;

/// Arguments of `run`.
pub fn arguments(command: Command) -> Command {
    create::shared(command)
        .arg(flag("detach", "Do not wait for the container's end").short('d'))
        .arg(flag("keep", "Keep the container's state when it has ended"))
        .arg(flag("no-subreaper", "Do not take over orphans of the container"))
}

/// `rt run`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let mut options = create::options(matches)?;
    options.detach = matches.get_flag("detach");
    options.keep = matches.get_flag("keep");
    options.no_subreaper = matches.get_flag("no-subreaper");
    let prefixed = |e: container::Error| Failure::from(e).prefixed("rt run failed: ");
    let ending = container::run(&context.store()?, id_of(matches), &options).map_err(prefixed)?;
    Ok(ending.code())
}
