//! What callers ask for on the command line.

use std::path::PathBuf;

pub use rt_cgroups::Driver;

use crate::checkpoint::{CloneOptions, CriuOptions};

/// Where containers are kept, and how their cgroups are managed: the global options.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `--root`, absolute.
    pub root: PathBuf,
    /// `--systemd-cgroup`, `--cgroup-manager`.
    pub driver: Driver,
    /// `--rootless`: no right to manage cgroups is assumed. Without it the host is asked when it
    /// matters.
    pub rootless: Option<bool>,
}

/// The options of `create` and `run`.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// `--bundle`, absolute.
    pub bundle: PathBuf,
    /// `--config`, instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`, absolute.
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--detach`.
    pub detach: bool,
    /// `--keep`.
    pub keep: bool,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
}

/// The options of `restore`.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Those that it shares with `run`.
    pub run: CreateOptions,
    /// CRIU's.
    pub criu: CriuOptions,
    /// The container is not the one that was saved, but another like it.
    pub clone: Option<CloneOptions>,
}
