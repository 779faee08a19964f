//! `rt stats`: what containers use, for people: a table that renews itself, or a line of JSON per
//! container and interval.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use rt_cgroups::{Psi, Stats};
use rt_runtime::store::{Status, Store};
use rt_runtime::verbs;
use serde::Serialize;

use crate::context::Context;
use crate::output::table;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::duration;
use crate::parse::grammar::{Grammar, Rest, flag, text};

/// Arguments of `stats`.
pub const GRAMMAR: Grammar = Grammar {
    name: "stats",
    about: "Print what running containers use: processor, memory, pressure, I/O, processes",
    options: &[&[
        text("format", "FORMAT", "Output format").short('f').one_of(&["table", "json"]).default("table"),
        text("interval", "DURATION", "Time between two looks, such as 500ms, 5s, 1m").default("1s"),
        flag("no-stream", "Print once, after one interval"),
    ]],
    words: &[],
    rest: Some(Rest {
        name: "ids",
        values: &["ID"],
        least: 0,
        foreign: false,
        dashes: false,
        help: "The containers [default: all that run]",
    }),
};

/// One container at one moment. Shares of time are percent of one processor; pressure is the
/// kernel's ten-second average.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    id: String,
    cpu_percent: f64,
    memory_usage: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak: Option<u64>,
    cpu_pressure: Option<f64>,
    memory_pressure: Option<f64>,
    io_pressure: Option<f64>,
    io_read_bytes: u64,
    io_write_bytes: u64,
    pids: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<u64>,
}

/// Processor time in nanoseconds, and when it was read.
type Looks = HashMap<String, (u64, Instant)>;

/// `rt stats`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let interval = duration::option("interval", arguments.text("interval").unwrap_or("1s"))?;
    let wanted = arguments.texts("ids");
    let store = context.store()?;
    // A container that was named and does not exist is a mistake; a container that disappears later
    // is not.
    for id in &wanted {
        verbs::load(&store, id)?;
    }
    let json = arguments.text("format") == Some("json");
    let overwrites = std::io::stdout().is_terminal() && !arguments.flag("no-stream");
    let mut has_header = false;
    let mut looks = Looks::new();
    look(&store, &wanted, &mut looks)?;
    loop {
        std::thread::sleep(interval.max(Duration::from_millis(10)));
        let all = look(&store, &wanted, &mut looks)?;
        if json {
            let lines: String =
                all.iter().map(|usage| serde_json::to_string(usage).unwrap_or_default() + "\n").collect();
            print(&lines)?;
        } else {
            let text = layout(&all);
            let rows = if has_header { text.split_once('\n').map_or("", |(_, rows)| rows) } else { &text };
            print(&format!("{}{rows}", if overwrites { "\x1b[H\x1b[2J" } else { "" }))?;
            // One header for a file; a terminal shows the last table only.
            has_header = !overwrites;
        }
        if arguments.flag("no-stream") {
            return Ok(0);
        }
    }
}

/// The usage of every container that runs, since the look before.
fn look(store: &Store, wanted: &[String], looks: &mut Looks) -> Result<Vec<Usage>, Failure> {
    let ids = if wanted.is_empty() { store.ids()? } else { wanted.to_vec() };
    let mut all = Vec::new();
    for id in ids {
        let Ok((_, state, status)) = verbs::load(store, &id) else { continue };
        if status == Status::Stopped {
            continue;
        }
        let cgroup = match state.own_cgroup() {
            // Of all containers, those that can be measured.
            Err(rt_runtime::Error::NoCgroup(_)) if wanted.is_empty() => continue,
            other => other?,
        };
        let stats = cgroup.stats().map_err(rt_runtime::Error::from)?;
        let now = Instant::now();
        let before = looks.insert(id.clone(), (stats.cpu.usage.total, now));
        let cpu = before.map_or(0.0, |(time, at)| share(stats.cpu.usage.total.saturating_sub(time), now - at));
        all.push(usage(id, cpu, &stats));
    }
    Ok(all)
}

/// Percent of one processor.
fn share(nanoseconds: u64, passed: Duration) -> f64 {
    let share = nanoseconds as f64 / passed.as_nanos().max(1) as f64 * 100.0;
    (share * 100.0).round() / 100.0
}

fn usage(id: String, cpu_percent: f64, stats: &Stats) -> Usage {
    // What is not counted is 0.
    let limit = |limit: u64| rt_cgroups::stats::finite(limit).filter(|l| *l > 0);
    let pressure = |psi: &Option<Psi>| psi.as_ref().map(|psi| psi.some.avg10);
    let moved = |op: &str| {
        let entries = stats.blkio.io_service_bytes_recursive.iter();
        entries.filter(|entry| entry.op.eq_ignore_ascii_case(op)).map(|entry| entry.value).sum()
    };
    Usage {
        id,
        cpu_percent,
        memory_usage: stats.memory.usage.usage,
        memory_limit: limit(stats.memory.usage.limit),
        memory_peak: Some(stats.memory.usage.max).filter(|peak| *peak > 0),
        cpu_pressure: pressure(&stats.cpu.psi),
        memory_pressure: pressure(&stats.memory.psi),
        io_pressure: pressure(&stats.blkio.psi),
        io_read_bytes: moved("read"),
        io_write_bytes: moved("write"),
        pids: stats.pids.current,
        pids_limit: limit(stats.pids.limit),
    }
}

fn layout(all: &[Usage]) -> String {
    let header = ["ID", "CPU %", "MEMORY / LIMIT", "MEM %", "PSI CPU", "PSI MEM", "PSI IO", "READ / WRITTEN", "PIDS"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for usage in all {
        let limit = usage.memory_limit.map_or_else(|| "none".to_owned(), size);
        let percent = usage
            .memory_limit
            .map_or_else(|| "-".to_owned(), |limit| format!("{:.1}", usage.memory_usage as f64 / limit as f64 * 100.0));
        let pressure = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.1}"));
        let pids = usage.pids_limit.map_or_else(|| usage.pids.to_string(), |limit| format!("{}/{limit}", usage.pids));
        rows.push(vec![
            usage.id.clone(),
            format!("{:.1}", usage.cpu_percent),
            format!("{} / {limit}", size(usage.memory_usage)),
            percent,
            pressure(usage.cpu_pressure),
            pressure(usage.memory_pressure),
            pressure(usage.io_pressure),
            format!("{} / {}", size(usage.io_read_bytes), size(usage.io_write_bytes)),
            pids,
        ]);
    }
    table::narrow(&rows)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!([0, 1023, 1024, 64 << 20, 3 << 40].map(size), ["0 B", "1023 B", "1.0 KiB", "64.0 MiB", "3.0 TiB"]);
    }

    /// Half a processor used for a second is 50 %, however long the interval is.
    #[test]
    fn shares_are_of_one_processor() {
        assert_eq!(share(500_000_000, Duration::from_secs(1)), 50.0);
        assert_eq!(share(4_000_000_000, Duration::from_secs(2)), 200.0);
        assert_eq!(share(0, Duration::ZERO), 0.0);
    }

    /// A limit that is none is not shown as eight exbibytes.
    #[test]
    fn no_limit_is_told_as_none() {
        let mut stats = Stats::default();
        stats.memory.usage.limit = 9_223_372_036_854_771_712;
        stats.memory.usage.usage = 2048;
        let row = layout(&[usage("c".to_owned(), 1.25, &stats)]);
        assert!(row.lines().nth(1).unwrap().contains("2.0 KiB / none"), "{row}");
    }
}
