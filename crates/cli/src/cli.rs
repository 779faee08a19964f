//! The command line: one definition (clap), runc's habits before it, the log contract after it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, Command};
use rustix::io::Errno;
use tracing::Level;

use crate::arguments::{self, Arguments, Line};
use crate::commands;
use crate::context::Context;
use crate::grammar::{Grammar, flag, path, text};
use crate::habits::as_runc_reads;
use crate::log::{Format, Log};
use crate::misuse::misused;
use crate::trace::Trace;

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

    /// Puts the id behind a message about a container that is there or not, whose words engines match and do not name it.
    fn naming(mut self, inside: &Arguments) -> Failure {
        if matches!(self.code, Some("container-exists" | "no-such-container")) {
            let word = inside.all("id").chain(inside.all("args")).next();
            self.message.extend(word.map(|id| format!(": {}", id.to_string_lossy())));
        }
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
        path("trace", "FILE", "Append to FILE what takes how long, in rt and in init; Perfetto opens it"),
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
    let log = match log_of(&global) {
        Ok(log) => log,
        Err(failure) => {
            Log { file: None, format: format_of(&global), level: Level::ERROR }.failed(&failure);
            return failure.exit;
        }
    };
    let trace = global.path("trace").map(|file| Arc::new(Trace::new(file)));
    log.install(trace.clone());
    if global.flag("criu") {
        tracing::warn!("--criu is ignored: criu is looked up in PATH");
    }
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

/// Writes to standard output, in one call if it takes all; the standard library's would write what follows the last newline by
/// itself. A reader that has gone away, or that never was, is no failure worth words.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::BADF) => break,
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
    Ok(())
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

/// The whole command line for clap: for what is unusual, wrong, or asks for help.
pub fn definition() -> Command {
    GLOBAL
        .command()
        .version(commands::version::TEXT)
        .subcommand_required(false)
        .args_override_self(true)
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version"))
        .subcommands(commands::ALL.iter().map(|(grammar, _)| grammar.command()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap's own checks of the definition: no option twice, no conflict.
    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
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
