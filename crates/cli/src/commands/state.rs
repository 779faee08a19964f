//! `rt state`.

use clap::{ArgMatches, Command};
use rt_runtime::container;

use super::{id, id_of};
use crate::cli::{Failure, print};
use crate::context::Context;

/// Arguments of `state`.
pub fn arguments(command: Command) -> Command {
    command.arg(id())
}

/// `rt state`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let document = container::state(&context.store()?, id_of(matches))?;
    print(&serde_json::to_string_pretty(&document).unwrap_or_default())?;
    Ok(0)
}
