//! `rt kill`.

use clap::{Arg, ArgMatches, Command};
use rt_runtime::container;

use super::{flag, id, id_of};
use crate::cli::Failure;
use crate::context::Context;

/// Arguments of `kill`.
pub fn arguments(command: Command) -> Command {
    command
        .arg(id())
        .arg(
            Arg::new("signal")
                .value_name("SIGNAL")
                .default_value("SIGTERM")
                .help("A number, or a name with or without SIG"),
        )
        .arg(flag("all", "Signal every process of the container").short('a'))
}

/// `rt kill`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let signal = container::parse_signal(matches.get_one::<String>("signal").map_or("SIGTERM", String::as_str))?;
    container::kill(&context.store()?, id_of(matches), signal, matches.get_flag("all"))?;
    Ok(0)
}
