//! `blkio` of v1, `io` of v2: weights and rates of block devices.

use rt_resources::convert::io_weight_of_blkio;
use rt_resources::model::{BlockIo, ThrottleDevice, nonzero};

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::psi;
use crate::stats::{Blkio, BlkioEntry};

/// The four lists of rates: field, file of v1, key in `io.max` of v2.
const RATES: [(&str, &str, &str); 4] = [
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
];

/// True when there is something to set on v2.
pub(crate) fn wanted_v2(limits: &BlockIo) -> bool {
    limits.weight.is_some() || !limits.weight_device.is_empty() || rates(limits).iter().any(|list| !list.is_empty())
}

/// Sets the limits of v1. The weights are those of BFQ, or on old kernels of CFQ.
pub(crate) fn set_v1(knobs: Knobs<'_>, limits: &BlockIo) -> Result<(), Error> {
    let weighs = limits.weight.is_some() || !limits.weight_device.is_empty();
    let (weight, weight_device) = if weighs && !knobs.has("blkio.weight") {
        ("blkio.bfq.weight", "blkio.bfq.weight_device")
    } else {
        ("blkio.weight", "blkio.weight_device")
    };
    if let Some(value) = limits.weight {
        knobs.set("/blockIO/weight", weight, value)?;
    }
    if let Some(value) = limits.leaf_weight {
        knobs.set("/blockIO/leafWeight", "blkio.leaf_weight", value)?;
    }
    for (index, device) in limits.weight_device.iter().enumerate() {
        let line = |value| format!("{}:{} {value}", device.major, device.minor);
        if let Some(value) = nonzero(device.weight) {
            knobs.set(&format!("/blockIO/weightDevice/{index}/weight"), weight_device, line(value))?;
        }
        if let Some(value) = nonzero(device.leaf_weight) {
            let field = format!("/blockIO/weightDevice/{index}/leafWeight");
            knobs.set(&field, "blkio.leaf_weight_device", line(value))?;
        }
    }
    set_rates(knobs, limits, |_, file, _, device| {
        (file.to_owned(), format!("{}:{} {}", device.major, device.minor, device.rate))
    })
}

/// Sets the limits of v2. BFQ has a weight of its own, in the unit of v1; every other scheduler
/// uses `io.weight`.
pub(crate) fn set_v2(knobs: Knobs<'_>, limits: &BlockIo) -> Result<(), Error> {
    if limits.weight.is_some() || !limits.weight_device.is_empty() {
        set_weights_v2(knobs, limits)?;
    }
    set_rates(knobs, limits, |_, _, key, device| {
        // A rate of 0 lifts the limit on v1; `io.max` has a word for it.
        let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
        ("io.max".to_owned(), format!("{}:{} {key}={rate}", device.major, device.minor))
    })
}

fn set_weights_v2(knobs: Knobs<'_>, limits: &BlockIo) -> Result<(), Error> {
    let bfq = knobs.dir.read_if_any("io.bfq.weight")?;
    if let Some(weight) = limits.weight {
        match bfq {
            Some(_) => knobs.set("/blockIO/weight", "io.bfq.weight", weight)?,
            None => knobs.set("/blockIO/weight", "io.weight", io_weight_of_blkio(weight))?,
        }
    }
    // A kernel that shows a bare number there (before 5.4) knows one weight for all devices.
    let per_device = bfq.as_ref().is_none_or(|text| text.trim().parse::<u64>().is_err());
    for (index, device) in limits.weight_device.iter().enumerate().filter(|_| per_device) {
        let Some(weight) = nonzero(device.weight) else {
            continue;
        };
        let field = format!("/blockIO/weightDevice/{index}/weight");
        let (file, weight) = match bfq {
            Some(_) => ("io.bfq.weight", u64::from(weight)),
            None => ("io.weight", io_weight_of_blkio(weight)),
        };
        knobs.set(&field, file, format!("{}:{} {weight}", device.major, device.minor))?;
    }
    Ok(())
}

/// Writes every rate as `line` words it for the hierarchy.
fn set_rates(
    knobs: Knobs<'_>,
    limits: &BlockIo,
    line: impl Fn(&str, &str, &str, &ThrottleDevice) -> (String, String),
) -> Result<(), Error> {
    for ((field, file, key), list) in RATES.into_iter().zip(rates(limits)) {
        for (index, device) in list.iter().enumerate() {
            let (file, value) = line(field, file, key, device);
            knobs.set(&format!("/blockIO/{field}/{index}"), &file, value)?;
        }
    }
    Ok(())
}

/// The lists in the order of [`RATES`].
fn rates(limits: &BlockIo) -> [&[ThrottleDevice]; 4] {
    [
        &limits.throttle_read_bps_device,
        &limits.throttle_write_bps_device,
        &limits.throttle_read_iops_device,
        &limits.throttle_write_iops_device,
    ]
}

/// Reads usage of v1, from the first scheduler that counted anything.
pub(crate) fn read_v1(dir: &Dir) -> Result<Blkio, Error> {
    for (prefix, suffix) in [
        ("blkio.bfq.", "_recursive"),
        ("blkio.", "_recursive"),
        ("blkio.throttle.", "_recursive"),
        ("blkio.throttle.", ""),
    ] {
        let table = |name: &str| entries_v1(dir, &format!("{prefix}{name}{suffix}"));
        let serviced = table("io_serviced")?;
        if serviced.is_empty() {
            continue;
        }
        return Ok(Blkio {
            io_service_bytes_recursive: table("io_service_bytes")?,
            io_serviced_recursive: serviced,
            io_queued_recursive: table("io_queued")?,
            io_service_time_recursive: table("io_service_time")?,
            io_wait_time_recursive: table("io_wait_time")?,
            io_merged_recursive: table("io_merged")?,
            io_time_recursive: table("time")?,
            sectors_recursive: table("sectors")?,
            psi: None,
        });
    }
    Ok(Blkio::default())
}

/// Lines of `8:0 Read 123` or `8:0 123`; the sum at the end (`Total 123`) belongs to no device.
fn entries_v1(dir: &Dir, file: &str) -> Result<Vec<BlkioEntry>, Error> {
    let text = dir.read_if_any(file)?.unwrap_or_default();
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (op, value) = match fields[..] {
            [_, op, value] => (op, value),
            [_, value] => ("", value),
            _ => return None,
        };
        let (major, minor) = device(fields[0])?;
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// Reads `io.stat` and pressure of v2, in the tables of v1.
pub(crate) fn read_v2(dir: &Dir) -> Result<Blkio, Error> {
    let mut stats = Blkio { psi: psi::read(dir, "io.pressure")?, ..Blkio::default() };
    for line in dir.read_if_any("io.stat")?.unwrap_or_default().lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(device) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (table, op) = match key {
                "rbytes" => (&mut stats.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut stats.io_service_bytes_recursive, "Write"),
                "rios" => (&mut stats.io_serviced_recursive, "Read"),
                "wios" => (&mut stats.io_serviced_recursive, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                table.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    Ok(stats)
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
