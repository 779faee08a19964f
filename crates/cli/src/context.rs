//! What every command gets: the global options, in effect.

use std::path::{Path, PathBuf};

use rt_runtime::host::is_rootless;
use rt_runtime::store::Store;
use rt_runtime::verbs::{Driver, StoreOptions};

use crate::output::Failure;
use crate::parse::Arguments;

/// The global options.
pub struct Context {
    /// The state store's options.
    pub store: StoreOptions,
    /// `--root`, as given.
    pub given_root: Option<PathBuf>,
    /// `--criu`.
    pub criu: Option<PathBuf>,
}

impl Context {
    /// Reads them from the parsed command line.
    pub fn new(arguments: &Arguments) -> Context {
        let driver = match arguments.text("cgroup-manager") {
            Some("systemd") => Driver::Systemd,
            Some("disabled") => Driver::Disabled,
            _ if arguments.flag("systemd-cgroup") => Driver::Systemd,
            _ => Driver::Cgroupfs,
        };
        let rootless = match arguments.text("rootless") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let given_root = arguments.path("root");
        let root = given_root.clone().unwrap_or_else(|| default_root(rootless));
        // A name without a slash is looked up in PATH.
        let criu = arguments.value("criu").filter(|criu| !criu.is_empty()).map(PathBuf::from);
        Context { store: StoreOptions { root, driver, rootless }, given_root, criu }
    }

    /// The state store.
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(Store::new(self.store.clone())?)
    }
}

/// /run/rt, or the directory of a user without root, if there is one.
fn default_root(rootless: Option<bool>) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) if rootless.unwrap_or_else(may_not_write_to_run) => Path::new(&dir).join("rt"),
        _ => PathBuf::from("/run/rt"),
    }
}

/// For another user than root, and in a user namespace unless USER says root (runc's rule).
fn may_not_write_to_run() -> bool {
    !rustix::process::geteuid().is_root()
        || (std::env::var_os("USER").is_none_or(|user| user != "root") && is_rootless())
}

/// `path` as seen from the working directory.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
