//! `rt exec`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rt_runtime::container::{self, ExecOptions};

use super::{flag, number, path, text};
use crate::cli::Failure;
use crate::context::{Context, path_option};

/// Arguments of `exec`.
pub fn arguments(command: Command) -> Command {
    let many = |arg: Arg| arg.action(ArgAction::Append);
    command
        .arg(path("console-socket", "SOCKET", "Send the terminal's master to this socket"))
        .arg(path("pidfd-socket", "SOCKET", "Send a pidfd of the process to this socket"))
        .arg(text("cwd", "DIR", "Working directory in the container"))
        .arg(many(text("env", "NAME=VALUE", "Environment, in addition to the container's").short('e')))
        .arg(flag("tty", "Give the process a terminal").short('t'))
        .arg(text("user", "UID[:GID]", "User, by number").short('u'))
        .arg(many(text("additional-gids", "GID", "Supplementary groups, by number").short('g')))
        .arg(path("process", "FILE", "Read the whole process from FILE, as in /process of config.json").short('p'))
        .arg(flag("detach", "Do not wait for the process's end").short('d'))
        .arg(path("pid-file", "FILE", "Write the process's pid to FILE"))
        .arg(text("process-label", "LABEL", "SELinux label"))
        .arg(text("apparmor", "PROFILE", "AppArmor profile"))
        .arg(flag("no-new-privs", "Deny the process to gain privileges by exec"))
        .arg(many(text("cap", "CAP", "Capabilities, in addition to the container's").short('c')))
        .arg(number("preserve-fds", "Pass N descriptors from 3 on to the process"))
        .arg(text("cgroup", "[CONTROLLER:]PATH", "Run in a cgroup below the container's"))
        .arg(flag("ignore-paused", "Execute even in a frozen container; the process waits for resume"))
        .arg(flag("no-subreaper", "Do not take over orphans of the process").hide(true))
        // The program's own options are not ours, so the id and what follows are one list.
        .arg(
            Arg::new("args")
                .value_names(["ID", "PROGRAM", "ARGUMENT"])
                .num_args(1..)
                .required(true)
                .trailing_var_arg(true)
                .allow_hyphen_values(false)
                .value_parser(value_parser!(OsString))
                .help("The container, the program and its arguments"),
        )
}

/// `rt exec`. Its own failures exit with 255, so that they are not taken for the program's.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    exec(context, matches).map_err(|failure| failure.prefixed("exec failed: ").exiting(255))
}

fn exec(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let mut words = matches.get_many::<OsString>("args").unwrap_or_default().map(|a| a.to_string_lossy().into_owned());
    let id = words.next().unwrap_or_default();
    let one = |name: &str| matches.get_one::<String>(name).cloned();
    let many = |name: &str| -> Vec<String> { matches.get_many::<String>(name).unwrap_or_default().cloned().collect() };
    let gids = many("additional-gids").iter().map(|g| id_number("--additional-gids", g)).collect::<Result<_, _>>()?;
    let options = ExecOptions {
        process: path_option(matches, "process"),
        args: words.collect(),
        cwd: one("cwd"),
        env: many("env"),
        terminal: matches.get_flag("tty"),
        user: one("user").map(|u| user(&u)).transpose()?,
        additional_gids: gids,
        caps: many("cap"),
        no_new_privs: matches.get_flag("no-new-privs"),
        apparmor: one("apparmor"),
        process_label: one("process-label"),
        console_socket: path_option(matches, "console-socket"),
        pidfd_socket: path_option(matches, "pidfd-socket"),
        pid_file: path_option(matches, "pid-file"),
        detach: matches.get_flag("detach"),
        preserve_fds: matches.get_one("preserve-fds").copied().unwrap_or(0),
        ignore_paused: matches.get_flag("ignore-paused"),
        cgroup: one("cgroup"),
        no_subreaper: matches.get_flag("no-subreaper"),
    };
    Ok(container::exec(&context.store()?, &id, &options)?.code())
}

/// `UID` or `UID:GID`. Anything that is not all digits is refused: half a number would be another user (CVE-2026-30892).
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
