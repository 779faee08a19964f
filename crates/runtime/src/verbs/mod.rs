//! The verbs of the lifecycle, one file each.

mod checkpoint;
mod create;
mod delete;
mod exec;
pub(crate) mod foreground;
mod gc;
mod kill;
mod making;
mod migrate;
pub(crate) mod options;
mod pause;
mod preview;
mod query;
mod receive;
mod restore;
mod run;
mod start;
mod undo;
mod update;

/// Leaves what a command still has in the end to the end of the process, which closes descriptors,
/// gives up locks and takes back memory at once.
fn until_exit<T>(owned: T) {
    std::mem::forget(owned);
}

pub use crate::host::base_mounts::DIRECTORY as BASE_MOUNTS;
pub use checkpoint::{check_checkpoint, checkpoint};
pub use create::create;
pub use delete::delete;
pub use exec::{ExecOptions, exec};
pub use foreground::Ending;
pub use gc::{Orphan, gc, remove_base_mounts};
pub use kill::{kill, parse_signal};
pub use migrate::{MigrateOptions, Migrated, migrate};
pub use options::{CreateOptions, Driver, RestoreOptions, StoreOptions};
pub use pause::{pause, resume};
pub use preview::{Report, check, plan};
pub use query::{list, load, processes, state};
pub use receive::{ReceiveOptions, receive};
pub use restore::restore;
pub use run::run;
pub use start::start;
pub use update::update;
