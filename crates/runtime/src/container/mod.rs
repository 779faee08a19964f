//! Containers over time: the state store and one file per verb of the lifecycle.

mod create;
mod delete;
mod describe;
mod document;
mod error;
mod exec;
mod exit;
mod foreground;
mod gc;
mod host_mount;
mod inherited;
mod kept;
mod kill;
mod later;
mod notify;
mod options;
mod pause;
mod pid_file;
mod preview;
mod process;
mod query;
mod resctrl;
mod sockets;
mod start;
mod state;
mod store;
mod terminal;
mod time;

/// Leaves what a command still has in the end to the end of the process, which closes descriptors, gives up locks and takes back
/// memory at once.
fn until_exit<T>(owned: T) {
    std::mem::forget(owned);
}

pub use create::{create, run};
pub use delete::delete;
pub use document::{StateDocument, hook_state_around_pid, seccomp_message_around_pid};
pub use error::{Context, Error};
pub use exec::{ExecOptions, exec};
pub use exit::Exit;
pub use foreground::Ending;
pub use gc::{Orphan, gc};
pub use kill::{kill, parse_signal};
pub use options::{CreateOptions, Driver, StoreOptions};
pub use pause::{pause, resume, update};
pub use preview::{PlannedOp, Report, check, plan};
pub use query::{list, load, processes, state};
pub use resctrl::mounted as resctrl_root;
pub use start::start;
pub use state::{State, Status};
pub use store::{Container, Store, check_id};
pub use time::now;
