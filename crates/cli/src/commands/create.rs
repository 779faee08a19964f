//! `rt create`.

use clap::{ArgMatches, Command};
use rt_runtime::container::{self, CreateOptions};

use super::{flag, id, id_of, number, path};
use crate::cli::Failure;
use crate::context::{Context, absolute, path_option};

/// The options that create and run share.
pub fn shared(command: Command) -> Command {
    command
        .arg(id())
        .arg(path("bundle", "DIR", "The bundle: a directory with config.json [default: .]").short('b'))
        .arg(path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'))
        .arg(path("console-socket", "SOCKET", "Send the terminal's master to this socket"))
        .arg(path("pidfd-socket", "SOCKET", "Send a pidfd of init to this socket"))
        .arg(path("pid-file", "FILE", "Write init's pid to FILE"))
        .arg(flag("no-pivot", "Move the rootfs over / instead of pivot_root(2); for an initramfs"))
        .arg(flag("no-new-keyring", "Stay in the caller's session keyring"))
        .arg(number("preserve-fds", "Pass N descriptors from 3 on to the container"))
}

/// Arguments of `create`.
pub fn arguments(command: Command) -> Command {
    shared(command)
}

/// The options as given.
pub fn options(matches: &ArgMatches) -> Result<CreateOptions, Failure> {
    let bundle = path_option(matches, "bundle").unwrap_or_else(|| absolute(".".as_ref()));
    // The working directory's own name has no dot at its end.
    let bundle = bundle.components().collect::<std::path::PathBuf>();
    Ok(CreateOptions {
        bundle,
        config: path_option(matches, "config"),
        console_socket: path_option(matches, "console-socket"),
        pidfd_socket: path_option(matches, "pidfd-socket"),
        pid_file: path_option(matches, "pid-file"),
        no_pivot: matches.get_flag("no-pivot"),
        no_new_keyring: matches.get_flag("no-new-keyring"),
        preserve_fds: matches.get_one("preserve-fds").copied().unwrap_or(0),
        ..CreateOptions::default()
    })
}

/// `rt create`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let prefixed = |e: container::Error| Failure::from(e).prefixed("rt create failed: ");
    let created = container::create(&context.store()?, id_of(matches), &options(matches)?).map_err(prefixed)?;
    for warning in created.warnings {
        tracing::warn!("{warning}");
    }
    Ok(0)
}
