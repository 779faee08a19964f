//! `rt restore`.

use rt_runtime::checkpoint::CriuOptions;
use rt_runtime::verbs;

use super::{ID, checkpoint, create};
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, path, text};

/// Arguments of `restore`.
pub const GRAMMAR: Grammar = Grammar {
    name: "restore",
    about: "Start a container again from a directory that checkpoint wrote",
    options: &[
        &[
            path("bundle", "DIR", "The bundle: a directory with config.json [default: .]").short('b'),
            path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'),
        ],
        checkpoint::SHARED,
        &[
            flag("detach", "Do not wait for the container's end").short('d'),
            path("console-socket", "SOCKET", "Send the terminal's master to this socket"),
            path("pidfd-socket", "SOCKET", "Send a pidfd of init to this socket"),
            path("pid-file", "FILE", "Write init's pid to FILE"),
            text("lsm-profile", "TYPE:NAME", "Another AppArmor or SELinux profile than the saved one"),
            text("lsm-mount-context", "CONTEXT", "Another SELinux mount context than the saved one"),
            flag("keep", "Keep the container's state when it has ended"),
            flag("no-subreaper", "Do not take over orphans of the container"),
            flag("no-pivot", "Has no effect: criu places the rootfs"),
        ],
    ],
    words: &[ID],
    rest: None,
};

/// `rt restore`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let mut options = create::options(arguments)?;
    options.detach = arguments.flag("detach");
    options.keep = arguments.flag("keep");
    options.no_subreaper = arguments.flag("no-subreaper");
    let text = |name: &str| arguments.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let criu = CriuOptions {
        lsm_profile: text("lsm-profile"),
        lsm_mount_context: text("lsm-mount-context"),
        ..checkpoint::options(context, arguments)
    };
    let prefixed = |e: rt_runtime::Error| Failure::from(e).prefixed("rt restore failed: ");
    let ending = verbs::restore(&context.store()?, arguments.id(), &options, &criu).map_err(prefixed)?;
    Ok(ending.code())
}
