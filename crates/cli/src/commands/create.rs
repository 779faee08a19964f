//! `rt create`.

use rt_runtime::verbs::{self, CreateOptions};

use super::ID;
use crate::context::{Context, absolute};
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Opt, flag, number, path};

/// The options that create and run share.
pub const SHARED: &[Opt] = &[
    path("bundle", "DIR", "The bundle: a directory with config.json [default: .]").short('b'),
    path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'),
    path("console-socket", "SOCKET", "Send the terminal's master to this socket"),
    path("pidfd-socket", "SOCKET", "Send a pidfd of init to this socket"),
    path("pid-file", "FILE", "Write init's pid to FILE"),
    flag("no-pivot", "Move the rootfs over / instead of pivot_root(2); for an initramfs"),
    flag("no-new-keyring", "Stay in the caller's session keyring"),
    number("preserve-fds", "Pass N descriptors from 3 on to the container"),
];

/// Arguments of `create`.
pub const GRAMMAR: Grammar = Grammar {
    name: "create",
    about: "Create a container; its program waits for start",
    options: &[SHARED],
    words: &[ID],
    rest: None,
};

/// The options as given.
pub fn options(arguments: &Arguments) -> Result<CreateOptions, Failure> {
    let bundle = arguments.path("bundle").unwrap_or_else(|| absolute(".".as_ref()));
    // The working directory's own name has no dot at its end.
    let bundle = bundle.components().collect::<std::path::PathBuf>();
    Ok(CreateOptions {
        bundle,
        config: arguments.path("config"),
        console_socket: arguments.path("console-socket"),
        pidfd_socket: arguments.path("pidfd-socket"),
        pid_file: arguments.path("pid-file"),
        no_pivot: arguments.flag("no-pivot"),
        no_new_keyring: arguments.flag("no-new-keyring"),
        preserve_fds: arguments.number("preserve-fds"),
        ..CreateOptions::default()
    })
}

/// `rt create`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let prefixed = |e: rt_runtime::Error| Failure::from(e).prefixed("rt create failed: ");
    verbs::create(&context.store()?, arguments.id(), &options(arguments)?).map_err(prefixed)?;
    Ok(0)
}
