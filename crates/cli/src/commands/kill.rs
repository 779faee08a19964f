//! `rt kill`.

use rt_runtime::verbs;

use super::{ID, matching};
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, word};

/// Arguments of `kill`.
pub const GRAMMAR: Grammar = Grammar {
    name: "kill",
    about: "Send a signal to a container",
    options: &[&[flag("all", "Signal every process of the container").short('a'), matching::REGEX]],
    words: &[ID, word("signal", "SIGNAL", "A number, or a name with or without SIG").default("SIGTERM")],
    rest: None,
};

/// `rt kill`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    // An empty word is none, as with runc.
    let signal = arguments.text("signal").filter(|signal| !signal.is_empty());
    let signal = verbs::parse_signal(signal.unwrap_or("SIGTERM"))?;
    let store = context.store()?;
    matching::each(&store, arguments, |id| verbs::kill(&store, id, signal, arguments.flag("all")))
}
