//! `rt update`.

use std::io::Read;

use clap::{ArgMatches, Command};
use rt_cgroups::Resources;
use rt_runtime::container;
use serde_json::{Map, Value, json};

use super::{id, id_of, path, text};
use crate::cli::Failure;
use crate::context::Context;

/// Options, and the places in /linux/resources that they set.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("blkio-weight", "/blockIO/weight", "Block I/O weight, 10 to 1000"),
    ("cpu-period", "/cpu/period", "CPU period in µs"),
    ("cpu-quota", "/cpu/quota", "CPU time per period in µs; -1 is unlimited"),
    ("cpu-burst", "/cpu/burst", "CPU time in µs that may be saved up"),
    ("cpu-share", "/cpu/shares", "CPU shares, 2 to 262144"),
    ("cpu-rt-period", "/cpu/realtimePeriod", "Period of real-time scheduling in µs"),
    ("cpu-rt-runtime", "/cpu/realtimeRuntime", "Real-time scheduling per period in µs"),
    ("cpu-idle", "/cpu/idle", "1: run only when nothing else does"),
    ("pids-limit", "/pids/limit", "Most processes; -1 is unlimited"),
];
const SIZES: &[(&str, &str, &str)] = &[
    ("memory", "/memory/limit", "Memory limit in bytes, or with k, m, g; -1 is unlimited"),
    ("memory-reservation", "/memory/reservation", "Memory that is reclaimed last, in bytes"),
    ("memory-swap", "/memory/swap", "Memory and swap together, in bytes; -1 is unlimited"),
];
const TEXTS: &[(&str, &str, &str)] =
    &[("cpuset-cpus", "/cpu/cpus", "CPUs, such as 0-3,7"), ("cpuset-mems", "/cpu/mems", "Memory nodes, such as 0,1")];

const SCHEMATA: &[(&str, &str, &str)] = &[
    ("l3-cache-schema", "", "Cache allocation in resctrl, such as L3:0=ff"),
    ("mem-bw-schema", "", "Memory bandwidth in resctrl, such as MB:0=50"),
];

/// Arguments of `update`.
pub fn arguments(command: Command) -> Command {
    let command = command
        .arg(id())
        .arg(path("resources", "FILE", "Read /linux/resources from FILE, or - for standard input").short('r'));
    let options = [NUMBERS, SIZES, TEXTS, SCHEMATA].concat();
    let command = options.into_iter().fold(command, |command, (name, _, help)| command.arg(text(name, "VALUE", help)));
    // Accepted by runc without effect, so old callers pass them.
    ["kernel-memory", "kernel-memory-tcp"]
        .into_iter()
        .fold(command, |command, name| command.arg(text(name, "VALUE", "").hide(true)))
}

/// `rt update`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let change = match matches.get_one::<std::ffi::OsString>("resources") {
        Some(file) => from_file(file)?,
        None => from_options(matches)?,
    };
    let schemata: Vec<String> = SCHEMATA
        .iter()
        .filter_map(|(name, ..)| matches.get_one::<String>(name).filter(|s| !s.is_empty()).cloned())
        .collect();
    container::update(&context.store()?, id_of(matches), &change, &schemata)?;
    Ok(0)
}

fn from_file(file: &std::ffi::OsStr) -> Result<Resources, Failure> {
    let mut text = String::new();
    let name = file.to_string_lossy();
    if file == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file).map_err(|e| Failure::from(e).prefixed(&format!("open {name}: ")))?;
    }
    serde_json::from_str(&text).map_err(|e| Failure::usage(format!("{name}: {e}")))
}

fn from_options(matches: &ArgMatches) -> Result<Resources, Failure> {
    let mut root = Value::Object(Map::new());
    let given = |name: &str| matches.get_one::<String>(name).filter(|v| !v.is_empty());
    for (name, place, _) in NUMBERS {
        if let Some(value) = given(name) {
            let number =
                value.parse::<i64>().map_err(|_| Failure::usage(format!("--{name}: {value:?} is no number")))?;
            set(&mut root, place, json!(number));
        }
    }
    for (name, place, _) in SIZES {
        if let Some(value) = given(name) {
            let why = || {
                Failure::usage(format!("--{name}: {value:?} is no size; write bytes, or a number with k, m, g or t"))
            };
            set(&mut root, place, json!(size(value).ok_or_else(why)?));
        }
    }
    for (name, place, _) in TEXTS {
        if let Some(value) = given(name) {
            set(&mut root, place, json!(value));
        }
    }
    serde_json::from_value(root).map_err(|e| Failure::usage(e.to_string()))
}

fn set(root: &mut Value, place: &str, value: Value) {
    let mut at = root;
    for part in place.trim_start_matches('/').split('/') {
        at = &mut at[part];
    }
    *at = value;
}

/// Bytes; a suffix is a power of 1024, with or without `b` (`512M`, `1gb`).
fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = lower.get(digits.len()..)?;
    let shift = match unit.strip_suffix('b').unwrap_or(unit).trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [("-1", -1), ("100", 100), ("512M", 512 << 20), ("1gb", 1 << 30), ("2KiB", 2048)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "M", "1x", "1.5G", "9999999999999T"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
