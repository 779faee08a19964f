//! `rt checkpoint`, and the options that it shares with `rt restore`.

use rt_runtime::checkpoint::{CriuOptions, ManageCgroups, Obstacle};
use rt_runtime::verbs;
use serde_json::json;

use super::ID;
use crate::context::{Context, absolute};
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Opt, flag, path, text};

/// The options that checkpoint and restore share.
pub const SHARED: &[Opt] = &[
    path("image-path", "DIR", "The directory of the checkpoint [default: checkpoint]"),
    path("work-path", "DIR", "Where criu writes its log and statistics [default: the image]"),
    flag("tcp-established", "Save and restore established TCP connections"),
    flag("ext-unix-sk", "Allow unix sockets that are connected to processes outside"),
    flag("shell-job", "Allow a session that belongs to a terminal outside"),
    flag("file-locks", "Save and restore file locks"),
    flag("lazy-pages", "Memory comes later, when it is used, by way of a page server"),
    flag("auto-dedup", "Punch pages out of earlier images that later images replace"),
    text("manage-cgroups-mode", "MODE", "How criu treats cgroups; soft restores what it makes")
        .one_of(ManageCgroups::WORDS),
    text("empty-ns", "NAMESPACE", "Do not save what is in this namespace; only network, which is never saved").many(),
];

/// Arguments of `checkpoint`.
pub const GRAMMAR: Grammar = Grammar {
    name: "checkpoint",
    about: "Save a running container to a directory, and stop it",
    options: &[
        SHARED,
        &[
            path("parent-path", "DIR", "An earlier image, relative to --image-path: save what has changed since"),
            flag("check", "Save nothing: print what stands in the way of a checkpoint"),
            flag("json", "With --check: print JSON"),
            flag("leave-running", "The container runs on"),
            flag("pre-dump", "Save memory only; the container runs on"),
            flag("tcp-skip-in-flight", "Leave out TCP connections that are being established"),
            flag("link-remap", "Allow open files that were removed but have other names"),
            text("page-server", "ADDRESS:PORT", "Send memory to the page server at this address"),
            text("status-fd", "N", "Write a zero byte to this descriptor when lazy pages can be fetched"),
        ],
    ],
    words: &[ID],
    rest: None,
};

/// The options as given.
pub fn options(context: &Context, arguments: &Arguments) -> CriuOptions {
    let text = |name: &str| arguments.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    CriuOptions {
        program: context.criu.clone(),
        image: arguments.path("image-path").unwrap_or_else(|| absolute("checkpoint".as_ref())),
        work: arguments.path("work-path"),
        tcp_established: arguments.flag("tcp-established"),
        ext_unix_sk: arguments.flag("ext-unix-sk"),
        shell_job: arguments.flag("shell-job"),
        file_locks: arguments.flag("file-locks"),
        lazy_pages: arguments.flag("lazy-pages"),
        auto_dedup: arguments.flag("auto-dedup"),
        manage_cgroups: text("manage-cgroups-mode").map_or_else(ManageCgroups::default, |m| ManageCgroups::named(&m)),
        empty_ns: arguments.all("empty-ns").map(|name| name.to_string_lossy().into_owned()).collect(),
        ..CriuOptions::default()
    }
}

/// runc's default, -1, is no descriptor.
fn status_fd(arguments: &Arguments) -> Result<Option<i32>, Failure> {
    let Some(text) = arguments.text("status-fd").filter(|text| *text != "-1") else { return Ok(None) };
    let number =
        text.parse::<u16>().map_err(|_| Failure::usage(format!("rt: --status-fd {text:?} is no descriptor")))?;
    Ok(Some(number.into()))
}

/// `rt checkpoint`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let options = CriuOptions {
        parent: arguments.value("parent-path").filter(|path| !path.is_empty()).map(Into::into),
        leave_running: arguments.flag("leave-running"),
        pre_dump: arguments.flag("pre-dump"),
        tcp_skip_in_flight: arguments.flag("tcp-skip-in-flight"),
        link_remap: arguments.flag("link-remap"),
        page_server: arguments.text("page-server").map(str::to_owned),
        status_fd: status_fd(arguments)?,
        ..options(context, arguments)
    };
    if arguments.flag("check") {
        let found = verbs::check_checkpoint(&context.store()?, arguments.id(), &options)?;
        return tell(&found, arguments.flag("json"));
    }
    verbs::checkpoint(&context.store()?, arguments.id(), &options)?;
    Ok(0)
}

/// Exit code 0: nothing stands in the way.
fn tell(found: &[Obstacle], as_json: bool) -> Result<i32, Failure> {
    if as_json {
        let list: Vec<_> = found.iter().map(|o| json!({"at": o.at, "message": o.what, "remedy": o.remedy})).collect();
        print(&format!("{:#}\n", json!({ "ok": found.is_empty(), "findings": list })))?;
    } else {
        let verdict = match found.len() {
            0 => "nothing stands in the way of a checkpoint\n".to_owned(),
            1 => "1 thing stands in the way of a checkpoint\n".to_owned(),
            n => format!("{n} things stand in the way of a checkpoint\n"),
        };
        print(&(found.iter().map(|o| format!("{o}\n")).collect::<String>() + &verdict))?;
    }
    Ok(i32::from(!found.is_empty()))
}
