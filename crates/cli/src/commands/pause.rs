//! `rt pause` and `rt resume`.

use clap::{ArgMatches, Command};
use rt_runtime::container;

use super::{id, id_of};
use crate::cli::Failure;
use crate::context::Context;

/// Arguments of both.
pub fn arguments(command: Command) -> Command {
    command.arg(id())
}

/// `rt pause`.
pub fn pause(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    container::pause(&context.store()?, id_of(matches))?;
    Ok(0)
}

/// `rt resume`.
pub fn resume(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    container::resume(&context.store()?, id_of(matches))?;
    Ok(0)
}
