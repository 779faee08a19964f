//! `rt events`: statistics as runc prints them, and what happens to a container as it happens.

use std::time::Instant;

use rt_cgroups::{Cgroup, Notice, Reached, Threshold};
use rt_runtime::store::Status;
use rt_runtime::verbs;
use rustix::fd::AsFd;
use serde::Serialize;
use serde_json::json;

use super::ID;
use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::duration;
use crate::parse::grammar::{Grammar, flag, text};

/// Arguments of `events`.
pub const GRAMMAR: Grammar = Grammar {
    name: "events",
    about: "Print statistics, OOM and pressure events of a container",
    options: &[&[
        text("interval", "DURATION", "Time between two statistics, such as 500ms, 5s, 1m").default("5s"),
        flag("stats", "Print the statistics once"),
        text(
            "pressure",
            "RESOURCE:KIND:STALL:WINDOW",
            "Tell when tasks lose more than STALL of a WINDOW waiting, as in memory:some:150ms:1s (cpu, memory or io; some or full)",
        )
        .many(),
    ]],
    words: &[ID],
    rest: None,
};

/// `rt events`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let id = arguments.id();
    let interval = duration::option("interval", arguments.text("interval").unwrap_or("5s"))?;
    let thresholds = arguments.texts("pressure").iter().map(|t| threshold(t)).collect::<Result<Vec<_>, _>>()?;
    let store = context.store()?;
    let (_, state, status) = verbs::load(&store, id)?;
    let Some(init) = state.init()?.filter(|_| status != Status::Stopped) else {
        return Err(Failure::usage(format!("container with id {id} is not running{}", state.reached())));
    };
    let cgroup = Cgroup::open(&state.cgroup).map_err(rt_runtime::Error::from)?;
    if arguments.flag("stats") {
        stats(&cgroup, id)?;
        return Ok(0);
    }
    let mut watch = cgroup.watch(&thresholds).map_err(rt_runtime::Error::from)?;
    let mut next = Instant::now() + interval;
    stats(&cgroup, id)?;
    loop {
        for notice in watch.wait(init.as_fd(), next).map_err(rt_runtime::Error::from)? {
            match notice {
                Notice::Oom(kills) => oom(&cgroup, id, kills)?,
                Notice::Pressure(which) => pressure(&cgroup, id, &thresholds[which])?,
                Notice::Gone => return Ok(0),
            }
        }
        if Instant::now() >= next {
            stats(&cgroup, id)?;
            next = Instant::now() + interval;
        }
    }
}

fn stats(cgroup: &Cgroup, id: &str) -> Result<(), Failure> {
    let stats = cgroup.stats().map_err(rt_runtime::Error::from)?;
    line("stats", id, &stats)
}

/// runc's event has no data; its readers pass over ours.
fn oom(cgroup: &Cgroup, id: &str, kills: u64) -> Result<(), Failure> {
    let Reached(hits) = cgroup.reached();
    let memory = hits.into_iter().find(|hit| hit.resource == "memory");
    let (limit, peak) = memory.map_or((None, None), |hit| (hit.limit, hit.peak));
    line("oom", id, &json!({"kills": kills, "limit": limit, "peak": peak}))
}

fn pressure(cgroup: &Cgroup, id: &str, threshold: &Threshold) -> Result<(), Failure> {
    let stats = cgroup.stats().map_err(rt_runtime::Error::from)?;
    let psi = match threshold.resource.as_str() {
        "cpu" => stats.cpu.psi,
        "memory" => stats.memory.psi,
        _ => stats.blkio.psi,
    };
    let data = json!({
        "resource": threshold.resource,
        "kind": if threshold.full { "full" } else { "some" },
        "stall": threshold.stall.as_micros() as u64,
        "window": threshold.window.as_micros() as u64,
        "psi": psi,
    });
    line("pressure", id, &data)
}

/// One event. Readers that are no JSON parsers look at how the line begins, so the keys are in
/// runc's order.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    data: &'a T,
}

fn line(kind: &str, id: &str, data: &impl Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string(&Line { kind, id, data }).unwrap_or_default()))
}

fn threshold(text: &str) -> Result<Threshold, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--pressure: {text:?} is no threshold; write RESOURCE:KIND:STALL:WINDOW, as in memory:some:150ms:1s"
        ))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let [resource @ ("cpu" | "memory" | "io"), kind @ ("some" | "full"), stall, window] = parts[..] else {
        return Err(wrong());
    };
    let stall = duration::parse(stall).ok_or_else(wrong)?;
    let window = duration::parse(window).ok_or_else(wrong)?;
    Ok(Threshold { resource: resource.to_owned(), full: kind == "full", stall, window })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thresholds_name_resource_kind_and_times() {
        let expected = Threshold {
            resource: "memory".to_owned(),
            full: false,
            stall: Duration::from_millis(150),
            window: Duration::from_secs(1),
        };
        assert_eq!(threshold("memory:some:150ms:1s").unwrap(), expected);
        for bad in ["memory", "disk:some:1s:2s", "cpu:all:1s:2s", "cpu:some:1:2s", "cpu:some:1s:2s:3s"] {
            assert!(threshold(bad).is_err(), "{bad}");
        }
    }
}
