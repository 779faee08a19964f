//! Arguments to commands and their options: a quick reader for everyday command lines, clap for the
//! rest, both from one table.

mod arguments;
mod definition;
pub mod duration;
pub mod grammar;
mod single_dash;
mod wrong_line;

use std::ffi::OsString;

pub use arguments::{Arguments, Line};
pub use definition::{GLOBAL, definition};
pub use wrong_line::print_usage;

use crate::commands;

/// Reads a command line. The error is an exit code: everything has been printed.
pub fn read(arguments: Vec<OsString>) -> Result<Line, i32> {
    let grammars = commands::ALL.iter().map(|(grammar, _)| *grammar).collect::<Vec<_>>();
    let words = arguments.get(1..).unwrap_or_default();
    arguments::read(&GLOBAL, &grammars, words).map_or_else(|| by_clap(arguments), Ok)
}

/// Reads what the quick reader leaves to clap: unusual spellings, mistakes and requests for help.
fn by_clap(arguments: Vec<OsString>) -> Result<Line, i32> {
    let arguments = single_dash::with_two_dashes(arguments);
    let matches = definition().try_get_matches_from(&arguments).map_err(|e| wrong_line::explain(&e, &arguments))?;
    let command = matches.subcommand().and_then(|(name, inside)| {
        let (grammar, _) = commands::ALL.iter().find(|(grammar, _)| grammar.name == name)?;
        Some((*grammar, Arguments::of(grammar, inside)))
    });
    Ok(Line { global: Arguments::of(&GLOBAL, &matches), command })
}
