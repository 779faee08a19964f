//! `rt update`.

use std::io::Read;

use rt_cgroups::Resources;
use rt_runtime::verbs;
use serde_json::{Map, Value, json};

use super::ID;
use crate::context::Context;
use crate::output::Failure;
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Opt, path, text};

const NUMBERS: &[Opt] = &[
    text("blkio-weight", "VALUE", "Block I/O weight, 10 to 1000"),
    text("cpu-period", "VALUE", "CPU period in µs"),
    text("cpu-quota", "VALUE", "CPU time per period in µs; -1 is unlimited"),
    text("cpu-burst", "VALUE", "CPU time in µs that may be saved up"),
    text("cpu-share", "VALUE", "CPU shares, 2 to 262144"),
    text("cpu-rt-period", "VALUE", "Period of real-time scheduling in µs"),
    text("cpu-rt-runtime", "VALUE", "Real-time scheduling per period in µs"),
    text("cpu-idle", "VALUE", "1: run only when nothing else does"),
    text("pids-limit", "VALUE", "Most processes; -1 is unlimited"),
];
const SIZES: &[Opt] = &[
    text("memory", "VALUE", "Memory limit in bytes, or with k, m, g; -1 is unlimited"),
    text("memory-reservation", "VALUE", "Memory that is reclaimed last, in bytes"),
    text("memory-swap", "VALUE", "Memory and swap together, in bytes; -1 is unlimited"),
];
const TEXTS: &[Opt] =
    &[text("cpuset-cpus", "VALUE", "CPUs, such as 0-3,7"), text("cpuset-mems", "VALUE", "Memory nodes, such as 0,1")];

const SCHEMATA: &[Opt] = &[
    text("l3-cache-schema", "VALUE", "Cache allocation in resctrl, such as L3:0=ff"),
    text("mem-bw-schema", "VALUE", "Memory bandwidth in resctrl, such as MB:0=50"),
];

/// The place in /linux/resources that an option sets.
fn place(option: &str) -> &'static str {
    match option {
        "blkio-weight" => "/blockIO/weight",
        "cpu-period" => "/cpu/period",
        "cpu-quota" => "/cpu/quota",
        "cpu-burst" => "/cpu/burst",
        "cpu-share" => "/cpu/shares",
        "cpu-rt-period" => "/cpu/realtimePeriod",
        "cpu-rt-runtime" => "/cpu/realtimeRuntime",
        "cpu-idle" => "/cpu/idle",
        "pids-limit" => "/pids/limit",
        "memory" => "/memory/limit",
        "memory-reservation" => "/memory/reservation",
        "memory-swap" => "/memory/swap",
        "cpuset-cpus" => "/cpu/cpus",
        _ => "/cpu/mems",
    }
}

/// Arguments of `update`.
pub const GRAMMAR: Grammar = Grammar {
    name: "update",
    about: "Change the resource limits of a container",
    options: &[
        &[path("resources", "FILE", "Read /linux/resources from FILE, or - for standard input").short('r')],
        NUMBERS,
        SIZES,
        TEXTS,
        SCHEMATA,
        // Accepted by runc without effect, so old callers pass them.
        &[text("kernel-memory", "VALUE", "").hidden(), text("kernel-memory-tcp", "VALUE", "").hidden()],
    ],
    words: &[ID],
    rest: None,
};

/// `rt update`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let change = match arguments.value("resources") {
        Some(file) => from_file(file)?,
        None => from_options(arguments)?,
    };
    let given = SCHEMATA.iter().filter_map(|option| arguments.text(option.long));
    let schemata: Vec<String> = given.filter(|s| !s.is_empty()).map(str::to_owned).collect();
    verbs::update(&context.store()?, arguments.id(), &change, &schemata)?;
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

fn from_options(arguments: &Arguments) -> Result<Resources, Failure> {
    let mut root = Value::Object(Map::new());
    let given = |name: &str| arguments.text(name).filter(|v| !v.is_empty());
    for name in NUMBERS.iter().map(|o| o.long) {
        if let Some(value) = given(name) {
            let number =
                value.parse::<i64>().map_err(|_| Failure::usage(format!("--{name}: {value:?} is no number")))?;
            set(&mut root, place(name), json!(number));
        }
    }
    for name in SIZES.iter().map(|o| o.long) {
        if let Some(value) = given(name) {
            let why = || {
                Failure::usage(format!("--{name}: {value:?} is no size; write bytes, or a number with k, m, g or t"))
            };
            set(&mut root, place(name), json!(size(value).ok_or_else(why)?));
        }
    }
    for name in TEXTS.iter().map(|o| o.long) {
        if let Some(value) = given(name) {
            set(&mut root, place(name), json!(value));
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
