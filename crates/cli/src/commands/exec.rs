//! `rt exec`.

use rt_runtime::verbs::{self, ExecOptions};

use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Rest, flag, number, path, text};

/// Arguments of `exec`.
pub const GRAMMAR: Grammar = Grammar {
    name: "exec",
    about: "Execute another program in a container",
    options: &[&[
        path("console-socket", "SOCKET", "Send the terminal's master to this socket"),
        path("pidfd-socket", "SOCKET", "Send a pidfd of the process to this socket"),
        text("cwd", "DIR", "Working directory in the container"),
        text("env", "NAME=VALUE", "Environment, in addition to the container's").short('e').many(),
        flag("tty", "Give the process a terminal").short('t'),
        text("user", "UID[:GID]", "User, by number").short('u'),
        text("additional-gids", "GID", "Supplementary groups, by number").short('g').many(),
        path("process", "FILE", "Read the whole process from FILE, as in /process of config.json").short('p'),
        flag("detach", "Do not wait for the process's end").short('d'),
        path("pid-file", "FILE", "Write the process's pid to FILE"),
        text("process-label", "LABEL", "SELinux label"),
        text("apparmor", "PROFILE", "AppArmor profile"),
        flag("no-new-privs", "Deny the process to gain privileges by exec"),
        text("cap", "CAP", "Capabilities, in addition to the container's").short('c').many(),
        number("preserve-fds", "Pass N descriptors from 3 on to the process"),
        text("cgroup", "[CONTROLLER:]PATH", "Run in a cgroup below the container's"),
        flag("ignore-paused", "Execute even in a frozen container; the process waits for resume"),
        flag("no-subreaper", "Do not take over orphans of the process").hidden(),
    ]],
    words: &[],
    rest: Some(Rest {
        name: "args",
        values: &["ID", "PROGRAM", "ARGUMENT"],
        least: 1,
        foreign: true,
        dashes: false,
        help: "The container, the program and its arguments",
    }),
};

/// `rt exec`. Its own failures exit with 255, so that they are not taken for the program's.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    exec(context, arguments).map_err(|failure| failure.prefixed("exec failed: ").exiting(255))
}

fn exec(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let mut words = arguments.all("args").map(|a| a.to_string_lossy().into_owned());
    let id = words.next().unwrap_or_default();
    let one = |name: &str| arguments.text(name).map(str::to_owned);
    let gids = arguments
        .texts("additional-gids")
        .iter()
        .map(|g| id_number("--additional-gids", g))
        .collect::<Result<_, _>>()?;
    let options = ExecOptions {
        process: arguments.path("process"),
        args: words.collect(),
        cwd: one("cwd"),
        env: arguments.texts("env"),
        terminal: arguments.flag("tty"),
        user: one("user").map(|u| user(&u)).transpose()?,
        additional_gids: gids,
        caps: arguments.texts("cap"),
        no_new_privs: arguments.flag("no-new-privs"),
        apparmor: one("apparmor"),
        process_label: one("process-label"),
        console_socket: arguments.path("console-socket"),
        pidfd_socket: arguments.path("pidfd-socket"),
        pid_file: arguments.path("pid-file"),
        detach: arguments.flag("detach"),
        preserve_fds: arguments.number("preserve-fds"),
        ignore_paused: arguments.flag("ignore-paused"),
        cgroup: one("cgroup"),
        no_subreaper: arguments.flag("no-subreaper"),
    };
    Ok(verbs::exec(&context.store()?, &id, &options)?.code())
}

/// `UID` or `UID:GID`. Anything that is not all digits is refused: half a number would be another
/// user (CVE-2026-30892).
fn user(text: &str) -> Result<(u32, Option<u32>), Failure> {
    match text.split_once(':') {
        None => Ok((id_number("--user", text)?, None)),
        Some((uid, gid)) => Ok((id_number("--user", uid)?, Some(id_number("--user", gid)?))),
    }
}

fn id_number(option: &str, text: &str) -> Result<u32, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|n| digits && *n != u32::MAX);
    number.ok_or_else(|| Failure::usage(format!("{option}: {text:?} is no id; give a number below 4294967295")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong id must never become user 0 (CVE-2026-30892).
    #[test]
    fn half_numbers_are_no_users() {
        assert_eq!(user("1000").unwrap(), (1000, None));
        assert_eq!(user("1000:20").unwrap(), (1000, Some(20)));
        for bad in ["", "1x", "1000:", ":5", "-1", "+1", "4294967295", "4294967296", "1:2:3", " 1"] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }
}
