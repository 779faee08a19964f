//! `rt plan`: the ops that create would execute.

use rt_runtime::verbs::{self, CreateOptions};

use crate::context::{Context, absolute};
use crate::output::table;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Opt, Word, flag, path, word};

/// The options that plan and check share.
pub const OPTIONS: &[Opt] = &[
    path("bundle", "DIR", "The bundle, as create takes it [default: .]").short('b'),
    path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'),
    flag("json", "Print JSON"),
];
/// The bundle, as a word.
pub const BUNDLE: Word = word("directory", "BUNDLE", "The bundle [default: .]").optional();

/// Arguments of `plan`.
pub const GRAMMAR: Grammar = Grammar {
    name: "plan",
    about: "Print what create would do, op by op, without doing it",
    options: &[OPTIONS],
    words: &[BUNDLE],
    rest: None,
};

/// The bundle as create would take it.
pub fn options(arguments: &Arguments) -> CreateOptions {
    let bundle =
        arguments.path("bundle").or_else(|| arguments.path("directory")).unwrap_or_else(|| absolute(".".as_ref()));
    CreateOptions {
        bundle: bundle.components().collect(),
        config: arguments.path("config"),
        ..CreateOptions::default()
    }
}

/// `rt plan`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let ops = verbs::plan(&context.store, &options(arguments))?;
    if arguments.flag("json") {
        print(&format!("{}\n", serde_json::to_string_pretty(&ops).unwrap_or_default()))?;
        return Ok(0);
    }
    let mut rows = vec![["#", "OP", "FIELD", "WHAT"].map(str::to_owned).to_vec()];
    rows.extend(ops.into_iter().enumerate().map(|(i, op)| vec![i.to_string(), op.op.to_owned(), op.field, op.what]));
    print(&table::with_sentences(&rows, table::LongWord::Shortened))?;
    Ok(0)
}
