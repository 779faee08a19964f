//! The end of a server that no client will ever ask: containerd was killed between `start` and its
//! first connection, or after its last, and a new one has removed the bundle.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use super::Server;
use crate::error::{Context, Error};
use crate::log;

/// How often a server without clients and containers looks for its bundle.
const LOOK: Duration = Duration::from_secs(2);

impl Server {
    /// Looks for the bundle from now on, for as long as there is neither a client nor a container.
    pub(super) fn watch_bundle(&mut self) {
        if !self.watches_bundle && self.is_alone() {
            self.watches_bundle = true;
            self.after(LOOK, Box::new(Server::look));
        }
    }

    fn is_alone(&self) -> bool {
        self.connections.is_empty() && self.tasks.is_empty()
    }

    fn look(&mut self) {
        self.watches_bundle = false;
        // The working directory is the bundle, under whatever name.
        if Path::new("config.json").exists() {
            return self.watch_bundle();
        }
        if self.is_alone() {
            log::warn("the bundle is gone, and there is neither a client nor a container: the end");
            if let Err(error) = remove_address() {
                log::warn(error);
            }
            self.stop();
        }
    }
}

/// Removes what `start` has written while containerd removed the bundle, which can be empty then.
fn remove_address() -> Result<(), Error> {
    match fs::remove_file("address") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).on("remove", "address"),
        Ok(()) => {
            let bundle = env::current_dir().doing("find the working directory")?;
            fs::remove_dir(&bundle).on("remove", &bundle)
        }
    }
}
