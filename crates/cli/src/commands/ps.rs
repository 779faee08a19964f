//! `rt ps`: the host's ps(1), narrowed to the container.

use std::ffi::OsString;

use procfs::process::Process as Proc;
use rt_runtime::host::command::{HostCommand, failure};
use rt_runtime::verbs;
use rustix::io::Errno;

use super::ID;
use crate::context::Context;
use crate::output::table;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Rest, text};

/// Arguments of `ps`.
pub const GRAMMAR: Grammar = Grammar {
    name: "ps",
    about: "List the processes of a container",
    options: &[&[text("format", "FORMAT", "Output format").short('f').one_of(&["table", "json"]).default("table")]],
    words: &[ID],
    rest: Some(Rest {
        name: "options",
        values: &["PS OPTIONS"],
        least: 0,
        foreign: true,
        dashes: true,
        help: "Options of ps(1) [default: -ef]",
    }),
};

/// `rt ps`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let pids: Vec<i32> =
        verbs::processes(&context.store()?, arguments.id())?.iter().map(|p| p.as_raw_nonzero().get()).collect();
    if arguments.text("format") == Some("json") {
        print(&format!("{}\n", serde_json::to_string(&pids).unwrap_or_default()))?;
        return Ok(0);
    }
    let options: Vec<OsString> = arguments.all("options").map(OsString::from).collect();
    let options = if options.is_empty() { vec!["-ef".into()] } else { options };
    match HostCommand::find("ps").and_then(|ps| ps.args(&options)?.output()) {
        Ok(output) if failure(&output.status).is_none() => {
            print(&narrowed(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::usage(format!("ps {options:?}: {said}")));
        }
        // A host without procps: the columns of -f, from /proc.
        Err(Errno::NOENT) => print(&table::layout(&own_rows(&pids)))?,
        Err(errno) => return Err(Failure::from(std::io::Error::from(errno)).prefixed("run ps: ")),
    }
    Ok(0)
}

/// The header and the lines whose PID column names a process of the container.
fn narrowed(output: &str, pids: &[i32]) -> Result<String, Failure> {
    let mut lines = output.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|word| word == "PID") else {
        return Err(Failure::usage("couldn't find PID field in ps output".to_owned()));
    };
    let of_container = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|p| p.parse::<i32>().ok());
        pid.is_some_and(|p| pids.contains(&p))
    };
    Ok(std::iter::once(header).chain(lines.filter(of_container)).map(|line| format!("{line}\n")).collect())
}

fn own_rows(pids: &[i32]) -> Vec<Vec<String>> {
    let mut rows = vec![["UID", "PID", "PPID", "STATE", "CMD"].map(str::to_owned).to_vec()];
    for pid in pids {
        let Ok(process) = Proc::new(*pid) else { continue };
        let Ok(stat) = process.stat() else { continue };
        let command = process
            .cmdline()
            .ok()
            .filter(|c| !c.is_empty())
            .map_or_else(|| format!("[{}]", stat.comm), |c| c.join(" "));
        let uid = process.uid().map_or_else(|_| "?".to_owned(), |u| u.to_string());
        rows.push(vec![uid, pid.to_string(), stat.ppid.to_string(), stat.state.to_string(), command]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docker top parses these lines by the header's columns.
    #[test]
    fn only_lines_of_the_container_stay() {
        let output = "UID   PID  PPID CMD\nroot   10     1 a\nroot  100    10 b 10\n";
        assert_eq!(narrowed(output, &[10]).unwrap(), "UID   PID  PPID CMD\nroot   10     1 a\n");
        assert!(narrowed("A B\n", &[1]).is_err());
    }

    #[test]
    fn without_ps_the_table_comes_from_proc() {
        let rows = own_rows(&[std::process::id() as i32]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1][1], std::process::id().to_string());
    }
}
