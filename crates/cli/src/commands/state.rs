//! `rt state`.

use rt_runtime::verbs;

use super::ID;
use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::Grammar;

/// Arguments of `state`.
pub const GRAMMAR: Grammar =
    Grammar { name: "state", about: "Print the state of a container as JSON", options: &[], words: &[ID], rest: None };

/// `rt state`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let document = verbs::state(&context.store()?, arguments.id())?;
    print(&serde_json::to_string_pretty(&document).unwrap_or_default())?;
    Ok(0)
}
