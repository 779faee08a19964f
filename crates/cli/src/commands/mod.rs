//! One file per command: its arguments, and what it prints.

mod check;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod plan;
mod ps;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod update;
pub mod version;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::cli::Failure;
use crate::context::Context;

/// All commands.
pub const NAMES: &[&str] = &[
    "create", "start", "run", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "update", "events",
    "spec", "features", "plan", "check", "seccomp",
];

/// The definition of one command; its arguments are built only when it is the one called.
pub fn definition(name: &'static str) -> Command {
    let (about, arguments) = parts(name);
    Command::new(name).about(about).defer(arguments)
}

/// The definition with its arguments.
pub fn built(name: &'static str) -> Command {
    let (about, arguments) = parts(name);
    arguments(Command::new(name).about(about))
}

fn parts(name: &str) -> (&'static str, fn(Command) -> Command) {
    match name {
        "create" => ("Create a container; its program waits for start", create::arguments),
        "start" => ("Start the program of a created container", start::arguments),
        "run" => ("Create a container and start its program", run::arguments),
        "exec" => ("Execute another program in a container", exec::arguments),
        "state" => ("Print the state of a container as JSON", state::arguments),
        "kill" => ("Send a signal to a container", kill::arguments),
        "delete" => ("Delete a container and all it had", delete::arguments),
        "list" => ("List the containers", list::arguments),
        "ps" => ("List the processes of a container", ps::arguments),
        "pause" => ("Freeze all processes of a container", pause::arguments),
        "resume" => ("Thaw the processes of a frozen container", pause::arguments),
        "update" => ("Change the resource limits of a container", update::arguments),
        "events" => ("Print statistics and OOM events of a container", events::arguments),
        "spec" => ("Write a config.json to start from", spec::arguments),
        "plan" => ("Print what create would do, op by op, without doing it", plan::arguments),
        "seccomp" => ("Explain seccomp profiles", seccomp::arguments),
        "check" => ("Print all that is wrong with a config, or with this host for it", plan::arguments),
        _ => ("Print what this runtime can do, as JSON", features::arguments),
    }
}

/// Runs a command and returns the exit code.
pub fn dispatch(name: &str, context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    match name {
        "create" => create::run(context, matches),
        "start" => start::run(context, matches),
        "run" => run::run(context, matches),
        "exec" => exec::run(context, matches),
        "state" => state::run(context, matches),
        "kill" => kill::run(context, matches),
        "delete" => delete::run(context, matches),
        "list" => list::run(context, matches),
        "ps" => ps::run(context, matches),
        "pause" => pause::pause(context, matches),
        "resume" => pause::resume(context, matches),
        "update" => update::run(context, matches),
        "events" => events::run(context, matches),
        "spec" => spec::run(matches),
        "plan" => plan::run(context, matches),
        "check" => check::run(context, matches),
        "seccomp" => seccomp::run(matches),
        _ => features::run(),
    }
}

/// The container's id.
fn id() -> Arg {
    Arg::new("id").value_name("ID").required(true).help("The container")
}

/// The id given.
fn id_of(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("id").map_or("", String::as_str)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).num_args(1).allow_hyphen_values(true).help(help)
}

fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).num_args(1).value_parser(value_parser!(OsString)).help(help)
}

fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").num_args(1).value_parser(value_parser!(u32)).help(help)
}
