//! `rt plan`: the ops that create would execute.

use clap::{Arg, ArgMatches, Command, value_parser};
use rt_runtime::container::{self, CreateOptions};

use super::{flag, path};
use crate::cli::{Failure, print};
use crate::context::{Context, absolute, path_option};
use crate::table;

/// Arguments of `plan` and `check`.
pub fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("bundle")
                .value_name("BUNDLE")
                .value_parser(value_parser!(std::ffi::OsString))
                .help("The bundle [default: .]"),
        )
        .arg(path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'))
        .arg(flag("json", "Print JSON"))
}

/// The bundle as create would take it.
pub fn options(matches: &ArgMatches) -> CreateOptions {
    let bundle = path_option(matches, "bundle").unwrap_or_else(|| absolute(".".as_ref()));
    CreateOptions {
        bundle: bundle.components().collect(),
        config: path_option(matches, "config"),
        ..CreateOptions::default()
    }
}

/// `rt plan`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let ops = container::plan(&context.store, &options(matches))?;
    if matches.get_flag("json") {
        print(&format!("{}\n", serde_json::to_string_pretty(&ops).unwrap_or_default()))?;
        return Ok(0);
    }
    let mut rows = vec![["#", "OP", "FIELD", "WHAT"].map(str::to_owned).to_vec()];
    rows.extend(ops.into_iter().enumerate().map(|(i, op)| vec![i.to_string(), op.op.to_owned(), op.field, op.what]));
    print(&table::narrow(&rows))?;
    Ok(0)
}
