//! `rt delete`.

use clap::{ArgMatches, Command};
use rt_runtime::container;

use super::{flag, id, id_of};
use crate::cli::Failure;
use crate::context::Context;

/// Arguments of `delete`.
pub fn arguments(command: Command) -> Command {
    command
        .arg(id())
        .arg(flag("force", "Kill a running container first; one that does not exist is no error").short('f'))
}

/// `rt delete`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    container::delete(&context.store()?, id_of(matches), matches.get_flag("force"))?;
    Ok(0)
}
