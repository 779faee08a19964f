//! The command line as one definition: the global options and the commands.

use clap::{Arg, ArgAction, Command};

use super::grammar::{Grammar, flag, path, text};
use crate::commands;

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
        path("criu", "FILE", "The criu program, for checkpoint and restore [default: criu in PATH]"),
    ]],
    words: &[],
    rest: None,
};

/// The whole command line for clap: for what is unusual, wrong, or asks for help.
pub fn definition() -> Command {
    GLOBAL
        .command()
        .version(commands::version::TEXT)
        .subcommand_required(false)
        .args_override_self(true)
        .disable_version_flag(true)
        .max_term_width(80)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version"))
        .subcommands(commands::ALL.iter().map(|(grammar, _)| grammar.command()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// clap's own checks of the definition: no option twice, no conflict.
    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    /// Help fits an ordinary terminal, as far as no single word is longer.
    #[test]
    fn help_has_eighty_columns() {
        let mut definition = definition();
        definition.build();
        let names: Vec<_> = definition.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        for name in names {
            let help = definition.find_subcommand_mut(&name).unwrap().render_help().to_string();
            let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{name}: {wide:#?}");
        }
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
