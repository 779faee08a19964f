//! `rt state`.

use rt_runtime::container;

use super::ID;
use crate::arguments::Arguments;
use crate::cli::{Failure, print};
use crate::context::Context;
use crate::grammar::Grammar;

/// Arguments of `state`.
pub const GRAMMAR: Grammar =
    Grammar { name: "state", about: "Print the state of a container as JSON", options: &[], words: &[ID], rest: None };

/// `rt state`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let document = container::state(&context.store()?, arguments.id())?;
    print(&serde_json::to_string_pretty(&document).unwrap_or_default())?;
    Ok(0)
}
