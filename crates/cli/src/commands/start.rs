//! `rt start`.

use clap::{ArgMatches, Command};
use rt_runtime::container;

use super::{id, id_of};
use crate::cli::Failure;
use crate::context::Context;

/// Arguments of `start`.
pub fn arguments(command: Command) -> Command {
    command.arg(id())
}

/// `rt start`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    container::start(&context.store()?, id_of(matches)).map_err(Failure::from)?;
    Ok(0)
}
