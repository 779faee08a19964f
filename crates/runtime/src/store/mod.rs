//! What is kept of containers between commands: the state directory and the files in it.

pub(crate) mod deferred;
pub(crate) mod directory;
pub(crate) mod document;
pub(crate) mod exit;
pub(crate) mod from_config;
pub(crate) mod pid_file;
pub(crate) mod process;
pub(crate) mod state;
pub(crate) mod time;

pub use directory::{Container, Store, check_id};
pub use document::StateDocument;
pub use exit::Exit;
pub use state::{State, Status};
pub use time::now;
