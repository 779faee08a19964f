//! Containers over time: the state store and one file per verb of the lifecycle.

mod create;
mod delete;
mod describe;
mod document;
mod error;
mod exec;
mod foreground;
mod kill;
mod notify;
mod options;
mod pause;
mod preview;
mod process;
mod query;
mod resctrl;
mod sockets;
mod start;
mod state;
mod store;
mod time;

pub use create::{Created, create, run};
pub use delete::delete;
pub use document::{StateDocument, hook_state_around_pid, seccomp_message_around_pid};
pub use error::{Context, Error};
pub use exec::{ExecOptions, exec};
pub use foreground::Ending;
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
