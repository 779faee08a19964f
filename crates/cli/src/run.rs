//! One run of `rt`: the command line is read, the command runs, the log says how it ended.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use rt_runtime::caller;
use tracing::Level;

use crate::commands;
use crate::context::Context;
use crate::output::{Failure, Format, Log, Trace, print};
use crate::parse::{self, Arguments, Line, definition};

/// Runs the command line and returns the exit code.
pub fn run(arguments: Vec<OsString>) -> i32 {
    caller::begin();
    let Line { global, command } = match parse::read(arguments) {
        Ok(line) => line,
        Err(exit) => return exit,
    };
    // The log must be known even if the rest of the command line is wrong.
    let log = match log_of(&global) {
        Ok(log) => log,
        Err(failure) => {
            Log { file: None, format: format_of(&global), level: Level::ERROR }.failed(&failure);
            return failure.exit;
        }
    };
    let trace = global.path("trace").map(|file| Arc::new(Trace::new(file)));
    log.install(trace.clone());
    let context = Context::new(&global);
    let called = command.as_ref().map(|(grammar, _)| grammar.name);
    let run = command.and_then(|(grammar, inside)| {
        let (_, run) = commands::ALL.iter().find(|(g, _)| g.name == grammar.name)?;
        Some(run(&context, &inside).map_err(|failure| failure.naming(&inside)))
    });
    let ended = run.unwrap_or_else(|| print(&definition().render_help().to_string()).map(|()| 0));
    if let Some((trace, command)) = trace.zip(called)
        && let Err(e) = trace.write(command)
    {
        let e = Failure::from(e).prefixed("--trace: open or write the file: ");
        tracing::warn!("{}", e.message);
    }
    match ended {
        Ok(code) => {
            log.succeeded();
            code
        }
        Err(failure) => {
            log.failed(&failure);
            failure.exit
        }
    }
}

fn level(name: &str) -> Level {
    match name {
        "error" => Level::ERROR,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        _ => Level::WARN,
    }
}

fn format_of(arguments: &Arguments) -> Format {
    if arguments.text("log-format") == Some("json") { Format::Json } else { Format::Text }
}

fn log_of(arguments: &Arguments) -> Result<Log, Failure> {
    let asked = arguments.text("log-level").map_or(Level::WARN, level);
    let level = if arguments.flag("debug") { Level::DEBUG } else { asked };
    // An empty name is none, as engines write it that have nothing to say.
    let file = arguments.value("log").filter(|path| !path.is_empty()).map(Path::new);
    Log::open(file, format_of(arguments), level)
}
