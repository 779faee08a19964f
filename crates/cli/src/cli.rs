//! The command line: one definition (clap), runc's habits before it, the log contract after it.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use tracing::Level;

use crate::arguments::{self, Arguments, Line};
use crate::commands;
use crate::context::Context;
use crate::grammar::{Grammar, flag, path, text};
use crate::log::{Format, Log};

/// Why a command failed, ready to be told.
#[derive(Debug)]
pub struct Failure {
    /// The sentence, ending in the errno text.
    pub message: String,
    /// The exit code.
    pub exit: i32,
    /// A stable name.
    pub code: Option<&'static str>,
    /// The field of the config.
    pub field: Option<String>,
    /// The errno.
    pub errno: Option<i32>,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl Failure {
    /// A failure of the command line itself.
    pub fn usage(message: String) -> Failure {
        Failure { message, exit: 1, code: Some("invalid-argument"), field: None, errno: None, hint: None }
    }

    /// Puts `prefix` before the message.
    pub fn prefixed(mut self, prefix: &str) -> Failure {
        self.message.insert_str(0, prefix);
        self
    }

    /// The exit code, instead of 1.
    pub fn exiting(mut self, exit: i32) -> Failure {
        self.exit = exit;
        self
    }
}

impl From<rt_runtime::container::Error> for Failure {
    fn from(e: rt_runtime::container::Error) -> Failure {
        Failure {
            message: e.to_string(),
            exit: 1,
            code: Some(e.code()),
            field: e.field(),
            errno: e.errno().map(|e| e.raw_os_error()),
            hint: e.hint(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        let errno = rustix::io::Errno::from_io_error(&e);
        Failure {
            message: errno.map_or_else(|| e.to_string(), |e| rt_sys::errno::text(e).to_owned()),
            exit: 1,
            code: Some("system"),
            field: None,
            errno: errno.map(|e| e.raw_os_error()),
            hint: None,
        }
    }
}

/// Options before the command.
pub const GLOBAL: Grammar = Grammar {
    name: "rt",
    about: "An OCI container runtime",
    options: &[&[
        path("root", "DIR", "Where container state is kept [default: /run/rt, or $XDG_RUNTIME_DIR/rt without root]"),
        path("log", "FILE", "Append errors and warnings to FILE instead of standard error"),
        text("log-format", "FORMAT", "Format of the log").one_of(&["text", "json"]),
        text("log-level", "LEVEL", "What is logged").one_of(&["error", "warning", "warn", "info", "debug", "trace"]),
        flag("debug", "Log debug messages"),
        flag("systemd-cgroup", "Let systemd manage the cgroups; /linux/cgroupsPath is then slice:prefix:name"),
        text("cgroup-manager", "MANAGER", "Who manages the cgroups").one_of(&["cgroupfs", "systemd", "disabled"]),
        text("rootless", "BOOL", "Assume no right to manage cgroups").one_of(&["true", "false", "auto"]),
        path("criu", "", "").hidden(),
    ]],
    words: &[],
    rest: None,
};

/// Runs the command line and returns the exit code.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let grammars = commands::ALL.iter().map(|(grammar, _)| *grammar).collect::<Vec<_>>();
    let words = arguments.get(1..).unwrap_or_default();
    let read = arguments::read(&GLOBAL, &grammars, words);
    let Line { global, command } = match read.map_or_else(|| by_clap(arguments), Ok) {
        Ok(line) => line,
        Err(exit) => return exit,
    };
    // The log must be known even if the rest of the command line is wrong.
    let log = log_of(&global);
    log.install();
    if global.flag("criu") {
        tracing::warn!("--criu is ignored: criu is looked up in PATH");
    }
    let context = Context::new(&global);
    let run = command.and_then(|(grammar, inside)| {
        commands::ALL.iter().find(|(g, _)| g.name == grammar.name).map(|(_, run)| run(&context, &inside))
    });
    match run.unwrap_or_else(|| print(&definition().render_help().to_string()).map(|()| 0)) {
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

/// Reads what the quick reader has left; the error is an exit code, when all is said.
fn by_clap(arguments: Vec<OsString>) -> Result<Line, i32> {
    let arguments = as_runc_reads(arguments);
    let matches = definition().try_get_matches_from(&arguments).map_err(|e| misused(&e, &arguments))?;
    let command = matches.subcommand().and_then(|(name, inside)| {
        let (grammar, _) = commands::ALL.iter().find(|(grammar, _)| grammar.name == name)?;
        Some((*grammar, Arguments::of(grammar, inside)))
    });
    Ok(Line { global: Arguments::of(&GLOBAL, &matches), command })
}

/// Writes to standard output; a reader that has gone away is no failure worth words.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// What clap found wrong, in runc's form and with runc's exit codes.
fn misused(error: &clap::Error, arguments: &[OsString]) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = print(&error.to_string());
            return 0;
        }
        _ => {}
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let unknown_command = error.kind() == ErrorKind::InvalidSubcommand;
    let suggestion = error.get(ContextKind::SuggestedSubcommand).or_else(|| error.get(ContextKind::SuggestedArg));
    let message = suggestion.map_or(message.clone(), |s| format!("{message} (did you mean {s}?)"));
    let mut failure = Failure::usage(message);
    if unknown_command {
        failure.exit = 3;
    }
    // Options before the mistake may have said where the log is.
    let log = log_in(arguments);
    if let Some(failure) = not_there_yet(error) {
        log.failed(&failure);
        return failure.exit;
    }
    let _ = print("Incorrect Usage.\n\n");
    log.failed(&failure);
    failure.exit
}

/// Commands of runc's that rt does not have. Not even their help succeeds: Podman takes that for the ability.
fn not_there_yet(error: &clap::Error) -> Option<Failure> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    matches!(&**name, "checkpoint" | "restore").then(|| Failure {
        code: Some("not-supported"),
        ..Failure::usage(format!("rt {name} failed: this version of rt has no checkpoint and restore"))
    })
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

fn log_of(arguments: &Arguments) -> Log {
    let asked = arguments.text("log-level").map_or(Level::WARN, level);
    Log {
        file: arguments.value("log").map(Into::into),
        format: if arguments.text("log-format") == Some("json") { Format::Json } else { Format::Text },
        level: if arguments.flag("debug") { Level::DEBUG } else { asked },
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
    Log {
        file: value("log").map(Into::into),
        format: if json { Format::Json } else { Format::Text },
        level: Level::WARN,
    }
}

/// Go's flag package takes `-long` for `--long`, and containerd's restore relies on it.
fn as_runc_reads(arguments: Vec<OsString>) -> Vec<OsString> {
    let single_dash = |a: &OsStr| a.to_str().is_some_and(|a| a.len() > 2 && a.starts_with('-') && !a.starts_with("--"));
    if !arguments.iter().any(|a| single_dash(a)) {
        return arguments;
    }
    let called = |name: &str| arguments.iter().skip(1).any(|a| a == name);
    let command = commands::ALL.iter().map(|(grammar, _)| *grammar).find(|grammar| called(grammar.name));
    let longs: Vec<&str> = GLOBAL.options().chain(command.iter().flat_map(|c| c.options())).map(|o| o.long).collect();
    // What follows the program of exec, or the id of ps, is not ours.
    let foreign = command.is_some_and(|c| c.rest.is_some_and(|rest| rest.foreign));
    let mut own = true;
    let mut positionals = 0;
    arguments
        .into_iter()
        .enumerate()
        .map(|(i, a)| {
            if a == "--" {
                own = false;
            }
            let Some(text) = a.to_str().filter(|_| own && i > 0) else { return a };
            if !text.starts_with('-') {
                positionals += 1;
                // The command, the id, and then the program's own words.
                if foreign && positionals > 2 {
                    own = false;
                }
            }
            let name = text.trim_start_matches('-').split('=').next().unwrap_or_default();
            if single_dash(&a) && longs.contains(&name) {
                return OsString::from(format!("-{text}"));
            }
            a
        })
        .collect()
}

/// The whole command line for clap: for what is unusual, wrong, or asks for help.
pub fn definition() -> Command {
    GLOBAL
        .command()
        .version(commands::version::TEXT)
        .subcommand_required(false)
        .args_override_self(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version"))
        .subcommands(commands::ALL.iter().map(|(grammar, _)| grammar.command()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        let words = line.split(' ').map(OsString::from).collect();
        as_runc_reads(words).into_iter().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    /// clap's own checks of the definition: no option twice, no conflict.
    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    /// Callers written against Go's flag package.
    #[test]
    fn single_dashes_are_read_as_go_reads_them() {
        assert_eq!(read("rt -root /x create -bundle /b c"), ["rt", "--root", "/x", "create", "--bundle", "/b", "c"]);
        assert_eq!(read("rt exec -it c sh -c -user"), ["rt", "exec", "-it", "c", "sh", "-c", "-user"]);
        assert_eq!(read("rt kill c -all"), ["rt", "kill", "c", "--all"]);
    }

    /// Flags after the id are accepted, as runc does by reordering.
    #[test]
    fn flags_may_follow_the_id() {
        let matches = definition().try_get_matches_from(["rt", "delete", "c", "--force"]).unwrap();
        assert!(matches.subcommand_matches("delete").unwrap().get_flag("force"));
        let matches = definition().try_get_matches_from(["rt", "exec", "c", "ls", "--force", "-l"]).unwrap();
        let args: Vec<_> = matches.subcommand_matches("exec").unwrap().get_many::<OsString>("args").unwrap().collect();
        assert_eq!(args, ["c", "ls", "--force", "-l"]);
    }
}
