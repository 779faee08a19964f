//! `rt migrate` and `rt receive`.

use std::path::PathBuf;
use std::time::Duration;

use rt_runtime::checkpoint::CriuOptions;
use rt_runtime::verbs::{self, CreateOptions, MigrateOptions, Migrated, ReceiveOptions};

use super::{ID, create};
use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, path, text};

/// Arguments of `migrate`.
pub const MIGRATE: Grammar = Grammar {
    name: "migrate",
    about: "Move a running container to another host",
    options: &[&[
        text("to", "COMMAND", "A shell command that runs rt receive there, such as 'ssh HOST rt receive -b DIR'"),
        path("image-path", "DIR", "Where what is sent is kept meanwhile [default: /var/tmp]"),
        text("timeout", "SECONDS", "How long the target may be silent").default("60"),
        flag("tcp-established", "Take established TCP connections along"),
        flag("ext-unix-sk", "Allow unix sockets that are connected to processes outside"),
        flag("shell-job", "Allow a session that belongs to a terminal outside"),
        flag("file-locks", "Take file locks along"),
    ]],
    words: &[ID],
    rest: None,
};

/// Arguments of `receive`.
pub const RECEIVE: Grammar = Grammar {
    name: "receive",
    about: "Take a container from rt migrate over standard input and output, and run it",
    options: &[&[
        path("bundle", "DIR", "The bundle; without a config.json it gets the source's [default: .]").short('b'),
        path("config", "FILE", "Read FILE instead of the bundle's config.json").short('f'),
        text("as", "NEWID", "Another id than on the source"),
        path("image-path", "DIR", "Where what comes is kept meanwhile [default: /var/tmp]"),
        path("console-socket", "SOCKET", "Send the terminal's master to this socket"),
        path("pid-file", "FILE", "Write init's pid to FILE"),
    ]],
    words: &[],
    rest: None,
};

fn criu(context: &Context, arguments: &Arguments) -> CriuOptions {
    CriuOptions {
        program: context.criu.clone(),
        image: arguments.path("image-path").unwrap_or_else(|| PathBuf::from("/var/tmp")),
        tcp_established: arguments.flag("tcp-established"),
        ext_unix_sk: arguments.flag("ext-unix-sk"),
        shell_job: arguments.flag("shell-job"),
        file_locks: arguments.flag("file-locks"),
        ..CriuOptions::default()
    }
}

/// `rt migrate`.
pub fn migrate(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let Some(to) = arguments.text("to").filter(|to| !to.is_empty()) else {
        return Err(Failure::usage("rt: migrate needs --to COMMAND".to_owned()));
    };
    let timeout = arguments.text("timeout").unwrap_or("60");
    let seconds = timeout.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let seconds =
        seconds.ok_or_else(|| Failure::usage(format!("rt: --timeout {timeout:?} is no number of seconds")))?;
    let patience = Duration::from_secs(seconds.into());
    let options = MigrateOptions { criu: criu(context, arguments), to: to.to_owned(), patience };
    let prefixed = |e: rt_runtime::Error| Failure::from(e).prefixed("rt migrate failed: ");
    let migrated = verbs::migrate(&context.store()?, arguments.id(), &options).map_err(prefixed)?;
    print(&summary(&migrated))?;
    Ok(0)
}

/// `rt receive`. Standard output is the connection, so there is nothing to print.
pub fn receive(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let run: CreateOptions = create::options(arguments)?;
    let id = arguments.text("as").map(str::to_owned);
    let options = ReceiveOptions { run, criu: criu(context, arguments), id };
    let prefixed = |e: rt_runtime::Error| Failure::from(e).prefixed("rt receive failed: ");
    verbs::receive(&context.store()?, &options).map_err(prefixed)?;
    Ok(0)
}

fn summary(migrated: &Migrated) -> String {
    let ms = |time: Duration| time.as_millis();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut text = String::new();
    for (i, round) in migrated.rounds.iter().enumerate() {
        let last = if i + 1 == migrated.rounds.len() { ", stopped" } else { "" };
        text += &format!("round {}: {:.1} MiB in {} ms{last}\n", i + 1, mib(round.bytes), ms(round.took));
    }
    let Migrated { downtime, dump, restore, .. } = migrated;
    let transfer = downtime.saturating_sub(*dump).saturating_sub(*restore);
    text += &format!(
        "downtime: {} ms (save {}, send {}, restore {})\n",
        ms(*downtime),
        ms(*dump),
        ms(transfer),
        ms(*restore)
    );
    text
}
