//! `--regex` of commands that take one container: the same for each whose id an expression matches.

use regex_lite::Regex;
use rt_runtime::Error;
use rt_runtime::store::Store;

use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Opt, flag};

/// The option.
pub const REGEX: Opt =
    flag("regex", "ID is a regular expression: take all containers whose ids have a match").short('r');

/// Calls `act` for the container that the arguments name, or for each that they match. All are
/// tried; the failures are reported together.
pub fn each(store: &Store, arguments: &Arguments, act: impl Fn(&str) -> Result<(), Error>) -> Result<i32, Failure> {
    if !arguments.flag(REGEX.long) {
        act(arguments.id())?;
        return Ok(0);
    }
    let expression = expression(arguments.id())?;
    let matching = store.ids()?.into_iter().filter(|id| expression.is_match(id));
    let failures: Vec<(String, Error)> = matching.filter_map(|id| act(&id).err().map(|e| (id, e))).collect();
    let message = failures.iter().map(|(id, e)| format!("{id}: {e}")).collect::<Vec<_>>().join("; ");
    match failures.into_iter().next() {
        None => Ok(0),
        Some((_, first)) => Err(Failure { message, ..Failure::from(first) }),
    }
}

fn expression(text: &str) -> Result<Regex, Failure> {
    // It would match every id, and comes from a variable that is not set.
    if text.is_empty() {
        return Err(Failure::usage("--regex: the expression is empty; .* matches all containers".to_owned()));
    }
    Regex::new(text).map_err(|e| Failure::usage(format!("--regex: {text:?} is no regular expression: {e}")))
}
