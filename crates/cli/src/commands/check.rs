//! `rt check`: everything that is wrong with a config, or with this host for it.

use rt_runtime::verbs;
use serde_json::json;

use super::plan::{BUNDLE, OPTIONS, options};
use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::Grammar;

/// Arguments of `check`.
pub const GRAMMAR: Grammar = Grammar {
    name: "check",
    about: "Print all that is wrong with a config, or with this host for it",
    options: &[OPTIONS],
    words: &[BUNDLE],
    rest: None,
};

/// `rt check`. Exit code 0: the container can be made here; 1: it cannot.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let report = verbs::check(&context.store, &options(arguments))?;
    let rows: Vec<(&str, &str, String)> = report
        .problems
        .iter()
        .map(|p| ("config", p.pointer.as_str(), p.fault.to_string()))
        .chain(report.findings.iter().map(|f| ("host", f.pointer.as_str(), f.message.clone())))
        .chain(report.warnings.iter().map(|w| ("warning", w.pointer.as_str(), w.fault.to_string())))
        .collect();
    let fatal = report.problems.len() + report.findings.len();
    if arguments.flag("json") {
        let list: Vec<_> = rows
            .iter()
            .map(|(kind, field, message)| json!({"kind": kind, "field": field, "message": message}))
            .collect();
        print(&format!("{:#}\n", json!({ "ok": fatal == 0, "findings": list })))?;
    } else {
        let text: String = rows.iter().map(|(kind, field, message)| format!("{kind}: {field}: {message}\n")).collect();
        let verdict = match fatal {
            0 => "nothing stands in the way of this container\n".to_owned(),
            1 => "1 thing to mend\n".to_owned(),
            n => format!("{n} things to mend\n"),
        };
        print(&(text + &verdict))?;
    }
    Ok(i32::from(fatal > 0))
}
