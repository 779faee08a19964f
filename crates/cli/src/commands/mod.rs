//! One file per command: its arguments, and what it prints.

mod check;
mod checkpoint;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod features;
mod gc;
mod kill;
mod list;
mod matching;
mod migrate;
mod pause;
mod plan;
mod ps;
mod restore;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod stats;
mod update;
pub mod version;

use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Word, word};

/// How a command is run; the result is the exit code.
pub type Run = fn(&Context, &Arguments) -> Result<i32, Failure>;

/// All commands.
pub const ALL: &[(&Grammar, Run)] = &[
    (&create::GRAMMAR, create::run),
    (&start::GRAMMAR, start::run),
    (&run::GRAMMAR, run::run),
    (&exec::GRAMMAR, exec::run),
    (&state::GRAMMAR, state::run),
    (&kill::GRAMMAR, kill::run),
    (&delete::GRAMMAR, delete::run),
    (&list::GRAMMAR, list::run),
    (&ps::GRAMMAR, ps::run),
    (&pause::PAUSE, pause::pause),
    (&pause::RESUME, pause::resume),
    (&update::GRAMMAR, update::run),
    (&checkpoint::GRAMMAR, checkpoint::run),
    (&restore::GRAMMAR, restore::run),
    (&migrate::MIGRATE, migrate::migrate),
    (&migrate::RECEIVE, migrate::receive),
    (&events::GRAMMAR, events::run),
    (&stats::GRAMMAR, stats::run),
    (&spec::GRAMMAR, spec::run),
    (&features::GRAMMAR, features::run),
    (&gc::GRAMMAR, gc::run),
    (&plan::GRAMMAR, plan::run),
    (&check::GRAMMAR, check::run),
    (&doctor::GRAMMAR, doctor::run),
    (&seccomp::GRAMMAR, seccomp::run),
];

/// The container's id.
const ID: Word = word("id", "ID", "The container");
