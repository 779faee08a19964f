//! `rt events`: statistics as runc prints them.

use std::time::Duration;

use clap::{ArgMatches, Command};
use rt_cgroups::Cgroup;
use rt_runtime::container::{self, Status};
use serde_json::json;

use super::{flag, id, id_of, text};
use crate::cli::{Failure, print};
use crate::context::Context;

/// Arguments of `events`.
pub fn arguments(command: Command) -> Command {
    command
        .arg(id())
        .arg(text("interval", "DURATION", "Time between two statistics, such as 500ms, 5s, 1m").default_value("5s"))
        .arg(flag("stats", "Print the statistics once"))
}

/// `rt events`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let id = id_of(matches);
    let interval = matches.get_one::<String>("interval").map_or("5s", String::as_str);
    let why = || Failure::usage(format!("--interval: {interval:?} is no duration above 0; write 500ms, 5s or 1m"));
    let interval = duration(interval).filter(|d| !d.is_zero()).ok_or_else(why)?;
    let store = context.store()?;
    let not_running = || Failure::usage(format!("container with id {id} is not running"));
    let (_, state, status) = container::load(&store, id)?;
    if status == Status::Stopped {
        return Err(not_running());
    }
    let cgroup = Cgroup::open(&state.cgroup).map_err(container::Error::from)?;
    let mut ooms = cgroup.oom_kills().unwrap_or(0);
    loop {
        let stats = cgroup.stats().map_err(container::Error::from)?;
        line(&json!({"type": "stats", "id": id, "data": stats}))?;
        if matches.get_flag("stats") {
            return Ok(0);
        }
        std::thread::sleep(interval);
        if state.init()?.is_none() {
            return Ok(0);
        }
        let now = cgroup.oom_kills().unwrap_or(ooms);
        if now > ooms {
            line(&json!({"type": "oom", "id": id}))?;
            ooms = now;
        }
    }
}

fn line(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

/// Go's form: numbers with units, one after another (`1m30s`).
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match rest.get(..end)? {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = rest.get(end..)?;
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1.5ms"), Some(Duration::from_micros(1500)));
        for bad in ["5", "s", "5x", "-5s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
