//! What every command gets: the global options, in effect.

use std::path::{Path, PathBuf};

use rt_runtime::container::{Driver, Store, StoreOptions};
use rustix::fs::readlink;

use crate::arguments::Arguments;
use crate::cli::Failure;

/// The global options.
pub struct Context {
    /// The state store's options.
    pub store: StoreOptions,
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
        let (rootless, own_directory) = match arguments.text("rootless") {
            Some("true") => (true, true),
            Some("false") => (false, false),
            _ => without_root(),
        };
        let root = arguments.path("root").unwrap_or_else(|| default_root(own_directory));
        Context { store: StoreOptions { root, driver, rootless } }
    }

    /// The state store.
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(Store::new(self.store.clone())?)
    }
}

/// Whether no right to manage cgroups is assumed, and whether state goes to the user's own directory: both for another
/// user than root and in a user namespace, the latter unless USER says root (runc's rules).
fn without_root() -> (bool, bool) {
    if !rustix::process::geteuid().is_root() {
        return (true, true);
    }
    let inside = in_user_namespace();
    (inside, inside && std::env::var_os("USER").is_none_or(|user| user != "root"))
}

/// The inode number of the initial user namespace on every kernel (USER_NS_INIT_INO of nsfs.h).
const INITIAL: &[u8] = b"user:[4026531837]";

/// Whether ids here are not those of the host. A user namespace that maps all ids to themselves counts for none.
fn in_user_namespace() -> bool {
    if readlink(c"/proc/self/ns/user", Vec::new()).is_ok_and(|name| name.to_bytes() == INITIAL) {
        return false;
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    !map.is_empty() && fields != ["0", "0", "4294967295"]
}

fn default_root(own_directory: bool) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| own_directory && !dir.is_empty()) {
        Some(dir) => Path::new(&dir).join("rt"),
        None => PathBuf::from("/run/rt"),
    }
}

/// `path` as seen from the working directory.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
