//! `rt restore`.

use rt_runtime::checkpoint::{CloneOptions, CriuOptions};
use rt_runtime::verbs::{self, RestoreOptions};

use super::{checkpoint, create};
use crate::context::{Context, absolute};
use crate::output::Failure;
use crate::parse::grammar::{Grammar, Opt, flag, path, text, word};
use crate::parse::{Arguments, print_usage};

/// What a clone may have of its own.
pub const CLONE: &[Opt] = &[
    path("rootfs", "DIR", "Clone: another rootfs than the config's"),
    text("bind", "DEST=SOURCE", "Clone: another source for the mount at DEST; may be repeated").many(),
    text("hostname", "NAME", "Clone: another host name than the config's"),
    path("network", "FILE", "Clone: a network namespace to join; the saved one must have been joined, too"),
];

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
            text("as", "NEWID", "Clone: another container of this id, beside the one that was saved"),
        ],
        CLONE,
    ],
    words: &[word("id", "ID", "The container; not needed with --as").optional()],
    rest: None,
};

/// The options of a clone; None if there are none of them.
pub fn clone(arguments: &Arguments) -> Result<Option<CloneOptions>, Failure> {
    if !CLONE.iter().any(|option| arguments.flag(option.long)) {
        return Ok(None);
    }
    let bind = |text: String| {
        let parts = text.split_once('=').filter(|(destination, source)| !destination.is_empty() && !source.is_empty());
        let wrong = || Failure::usage(format!("rt: --bind {text:?}: use DEST=SOURCE"));
        parts.map(|(destination, source)| (destination.to_owned(), absolute(source.as_ref()))).ok_or_else(wrong)
    };
    Ok(Some(CloneOptions {
        rootfs: arguments.path("rootfs"),
        binds: arguments.texts("bind").into_iter().map(bind).collect::<Result<_, _>>()?,
        hostname: arguments.text("hostname").map(str::to_owned),
        network: arguments.path("network"),
    }))
}

/// `rt restore`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let mut run = create::options(arguments)?;
    run.detach = arguments.flag("detach");
    run.keep = arguments.flag("keep");
    run.no_subreaper = arguments.flag("no-subreaper");
    let text = |name: &str| arguments.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let criu = CriuOptions {
        lsm_profile: text("lsm-profile"),
        lsm_mount_context: text("lsm-mount-context"),
        ..checkpoint::options(context, arguments)
    };
    let (id, clone) = match (text("as"), arguments.value("id"), clone(arguments)?) {
        (Some(id), None, clone) => (id, Some(clone.unwrap_or_default())),
        (None, Some(_), None) => (arguments.id().to_owned(), None),
        (None, Some(_), Some(_)) => {
            return Err(Failure::usage("rt: --rootfs, --bind, --hostname and --network need --as NEWID".to_owned()));
        }
        (Some(_), Some(_), _) => return Err(Failure::usage("rt: give either --as NEWID or ID".to_owned())),
        (None, None, _) => {
            print_usage(Some(&GRAMMAR));
            return Err(Failure::usage("rt: \"restore\" requires exactly 1 argument(s)".to_owned()));
        }
    };
    let options = RestoreOptions { run, criu, clone };
    Ok(verbs::restore(&context.store()?, &id, &options)?.code())
}
