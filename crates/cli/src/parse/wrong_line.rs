//! Wrong command lines: runc's sentences and exit codes, after how the command is used on
//! standard output.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use tracing::Level;

use crate::commands;
use crate::output::{Failure, print};
use crate::output::{Format, Log};
use crate::parse::definition;
use crate::parse::grammar::Grammar;

/// Tells what clap found wrong, or prints the help that was asked for. Returns the exit code.
pub fn explain(error: &clap::Error, arguments: &[OsString]) -> i32 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = print(&error.to_string());
        return 0;
    }
    // Options before the mistake may have said where the log is.
    let log = log_in(arguments);
    let command = command_of(arguments);
    let mut failure = Failure::usage(sentence(error, arguments, command));
    if error.kind() == ErrorKind::InvalidSubcommand {
        failure.exit = 3;
    }
    print_usage(command);
    log.failed(&failure);
    failure.exit
}

/// Prints how the command is used, in short: the sentence about the mistake comes after it and has to
/// stay in sight.
pub fn print_usage(command: Option<&Grammar>) {
    let mut definition = definition();
    // Gives the commands their full names.
    definition.build();
    let (usage, help) = match command {
        Some(grammar) => (
            definition.find_subcommand_mut(grammar.name).map(|c| c.render_usage().to_string()),
            format!("rt {} --help", grammar.name),
        ),
        None => (Some(definition.render_usage().to_string()), "rt --help".to_owned()),
    };
    let _ = print(&format!("Incorrect Usage.\n\n{}\n\nFor more: {help}\n", usage.unwrap_or_default()));
}

/// The command that is meant: the first word that names one.
fn command_of(arguments: &[OsString]) -> Option<&'static Grammar> {
    let named =
        |word: &OsString| commands::ALL.iter().map(|(grammar, _)| *grammar).find(|grammar| word == grammar.name);
    arguments.iter().skip(1).find_map(named)
}

fn sentence(error: &clap::Error, arguments: &[OsString], command: Option<&'static Grammar>) -> String {
    let wrong = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    match (error.kind(), command) {
        (ErrorKind::MissingRequiredArgument, Some(command)) => return wrong_number(command),
        (ErrorKind::UnknownArgument, Some(command)) if !wrong.starts_with('-') => return wrong_number(command),
        // In the words of Go's flag package: Podman looks for them to know whether there is such a flag.
        (ErrorKind::InvalidValue, _) if error.get(ContextKind::InvalidValue).is_none_or(is_empty) => {
            return format!("flag needs an argument: {}", wrong.split(' ').next().unwrap_or_default());
        }
        _ => {}
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    // Of -nosuch clap only names the first letter.
    let whole = arguments.iter().filter_map(|a| a.to_str()).find(|a| a.starts_with(&wrong));
    let message = match whole {
        Some(whole) if error.kind() == ErrorKind::UnknownArgument => message.replace(&wrong, whole),
        _ => message.to_owned(),
    };
    let suggestion = error.get(ContextKind::SuggestedSubcommand).or_else(|| error.get(ContextKind::SuggestedArg));
    suggestion.map_or(message.clone(), |s| format!("{message} (did you mean {s}?)"))
}

fn is_empty(value: &ContextValue) -> bool {
    matches!(value, ContextValue::String(text) if text.is_empty())
}

/// How many words a command takes, in the words of runc, which callers show to people.
fn wrong_number(command: &Grammar) -> String {
    let least = command.words.iter().filter(|word| word.required).count() + command.rest.map_or(0, |rest| rest.least);
    let most = command.words.len();
    let name = command.name;
    match command.rest {
        None if least == most => format!("rt: {name:?} requires exactly {least} argument(s)"),
        None => format!("rt: {name:?} requires {least} to {most} argument(s)"),
        Some(_) => format!("rt: {name:?} requires a minimum of {least} argument(s)"),
    }
}

/// The log options of a command line that could not be parsed.
fn log_in(arguments: &[OsString]) -> Log {
    let value = |name: &str| {
        arguments.iter().enumerate().find_map(|(i, a)| {
            let a = a.to_str()?.strip_prefix("--")?.strip_prefix(name)?;
            match a.strip_prefix('=') {
                Some(value) => Some(OsString::from(value)),
                None if a.is_empty() => arguments.get(i + 1).cloned(),
                None => None,
            }
        })
    };
    let json = value("log-format").is_some_and(|f| f == "json");
    let format = if json { Format::Json } else { Format::Text };
    // One mistake at a time: the command line is the error, wherever it can be written.
    let file = value("log").filter(|path| !path.is_empty());
    let opened = Log::open(file.as_deref().map(Path::new), format, Level::WARN);
    opened.unwrap_or(Log { file: None, format, level: Level::WARN })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = definition().try_get_matches_from(&arguments).unwrap_err();
        sentence(&error, &arguments, command_of(&arguments))
    }

    /// One line that names the word that is wrong.
    #[test]
    fn sentences() {
        for (line, sentence) in [
            ("rt state", "rt: \"state\" requires exactly 1 argument(s)"),
            ("rt state a b", "rt: \"state\" requires exactly 1 argument(s)"),
            ("rt kill", "rt: \"kill\" requires 1 to 2 argument(s)"),
            ("rt exec", "rt: \"exec\" requires a minimum of 1 argument(s)"),
            ("rt state --nosuch a", "unexpected argument '--nosuch' found"),
            ("rt state -nosuch a", "unexpected argument '-nosuch' found"),
            ("rt lisst", "unrecognized subcommand 'lisst' (did you mean list?)"),
            ("rt restore --lsm-mount-context", "flag needs an argument: --lsm-mount-context"),
            ("rt list -f", "flag needs an argument: --format"),
            ("rt list -f xml", "invalid value 'xml' for '--format <FORMAT>'"),
        ] {
            assert_eq!(said(line), sentence, "{line}");
        }
    }
}
