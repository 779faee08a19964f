//! `rt doctor`: whether this host is ready, and what to do where it is not.

use rt_runtime::host::doctor::{Advice, Level, examine};
use serde_json::json;

use crate::context::Context;
use crate::output::{Failure, print, table};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag};

/// Arguments of `doctor`.
pub const GRAMMAR: Grammar = Grammar {
    name: "doctor",
    about: "Print whether this host is ready for containers, and what to do where it is not",
    options: &[&[flag("json", "Print JSON")]],
    words: &[],
    rest: None,
};

fn word(level: Level) -> &'static str {
    match level {
        Level::Fine => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Wrong => "wrong",
    }
}

/// `rt doctor`. Exit code 0: containers work here; 1: they do not.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let found = examine(&context.store.root, context.criu.as_deref());
    let is_ready = found.iter().all(|advice| advice.level < Level::Wrong);
    if arguments.flag("json") {
        let entry =
            |a: &Advice| json!({"level": word(a.level), "about": a.about, "message": a.message, "remedy": a.remedy});
        let list: Vec<_> = found.iter().map(entry).collect();
        print(&format!("{:#}\n", json!({ "ok": is_ready, "findings": list })))?;
    } else {
        let mut rows = Vec::new();
        for advice in &found {
            rows.push(vec![word(advice.level).to_owned(), advice.about.to_owned(), advice.message.clone()]);
            rows.extend(advice.remedy.iter().map(|remedy| vec![String::new(), String::new(), format!("→ {remedy}")]));
        }
        print(&table::with_sentences(&rows, table::LongWord::Whole))?;
        print(&format!("{}\n", verdict(&found)))?;
    }
    Ok(i32::from(!is_ready))
}

fn verdict(found: &[Advice]) -> String {
    let count = |level| found.iter().filter(|advice| advice.level == level).count();
    let warnings = match count(Level::Warning) {
        0 => String::new(),
        1 => ", with 1 warning".to_owned(),
        n => format!(", with {n} warnings"),
    };
    match count(Level::Wrong) {
        0 => format!("this host is ready for containers{warnings}"),
        1 => format!("this host is not ready: 1 thing is wrong{warnings}"),
        n => format!("this host is not ready: {n} things are wrong{warnings}"),
    }
}
