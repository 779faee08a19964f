//! `memory`: limits of memory and swap; usage.

use rt_resources::convert::{number_or_max, swap_max};
use rt_resources::model::Memory;
use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::psi;
use crate::stats::{self, MemoryEntry};

/// The most that cgroup v1 reports for "no limit" is LONG_MAX rounded down to a page.
const UNLIMITED: &str = "-1";

/// True when there is something to set on v1.
pub(crate) fn wanted_v1(limits: &Memory) -> bool {
    wanted_v2(limits)
        || limits.swappiness.is_some()
        || limits.disable_oom_killer.is_some()
        || limits.kernel_tcp.is_some()
}

/// True when there is something to set on v2.
pub(crate) fn wanted_v2(limits: &Memory) -> bool {
    limits.limit.is_some() || limits.swap.is_some() || limits.reservation.is_some()
}

/// Sets the limits of v1.
pub(crate) fn set_v1(knobs: Knobs<'_>, limits: &Memory) -> Result<(), Error> {
    check_usage(knobs.dir, limits, "memory.usage_in_bytes")?;
    set_limits_v1(knobs, limits)?;
    if let Some(reservation) = limits.reservation {
        knobs.set("/memory/reservation", "memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(limit) = limits.kernel_tcp {
        knobs.set("/memory/kernelTCP", "memory.kmem.tcp.limit_in_bytes", limit)?;
    }
    if limits.disable_oom_killer.is_some() {
        knobs.set("/memory/disableOOMKiller", "memory.oom_control", 1)?;
    }
    match limits.swappiness {
        Some(value) if value > 100 => Err(Error::Invalid {
            pointer: "/memory/swappiness".to_owned(),
            value: value.to_string(),
            why: "valid range is 0-100",
        }),
        Some(value) => knobs.set("/memory/swappiness", "memory.swappiness", value),
        None => Ok(()),
    }
}

/// The limit of memory must not exceed the limit of memory and swap at any moment: when both grow,
/// the latter is written first.
fn set_limits_v1(knobs: Knobs<'_>, limits: &Memory) -> Result<(), Error> {
    let set_limit = |limit| set_limit_v1(knobs, limit);
    let set_swap = |swap: i64| match swap {
        // Without swap accounting there is nothing that could be limited.
        ..=-1 => knobs.set_if_any("/memory/swap", "memory.memsw.limit_in_bytes", UNLIMITED),
        _ => knobs.set("/memory/swap", "memory.memsw.limit_in_bytes", swap),
    };
    // If memory is unlimited and swap is not mentioned, both are unlimited.
    let swap = limits.swap.or(limits.limit.filter(|&limit| limit < 0));
    match (limits.limit, swap) {
        (Some(limit), Some(swap)) => {
            let current = knobs.dir.read_number("memory.limit_in_bytes")?.unwrap_or(u64::MAX);
            if swap < 0 || current < swap.unsigned_abs() {
                set_swap(swap)?;
                set_limit(limit)
            } else {
                set_limit(limit)?;
                set_swap(swap)
            }
        }
        (limit, swap) => {
            limit.map_or(Ok(()), set_limit)?;
            swap.map_or(Ok(()), set_swap)
        }
    }
}

/// The kernel answers EBUSY when it cannot reclaim enough memory; the numbers then explain more
/// than the errno.
fn set_limit_v1(knobs: Knobs<'_>, limit: i64) -> Result<(), Error> {
    match knobs.set("/memory/limit", "memory.limit_in_bytes", limit) {
        Err(error) if error.errno() == Some(Errno::BUSY) => Err(Error::LimitBelowUsage {
            limit,
            usage: knobs.dir.read_number("memory.usage_in_bytes")?.unwrap_or_default(),
            peak: knobs.dir.read_number("memory.max_usage_in_bytes")?.unwrap_or_default(),
            errno: Errno::BUSY,
        }),
        result => result,
    }
}

/// Sets the limits of v2. Swap goes first: a container that may swap less than before must not get
/// the time to.
pub(crate) fn set_v2(knobs: Knobs<'_>, limits: &Memory) -> Result<(), Error> {
    check_usage(knobs.dir, limits, "memory.current")?;
    let swap = swap_max(limits.limit, limits.swap).map_err(|error| Error::Invalid {
        pointer: "/memory/swap".to_owned(),
        value: limits.swap.unwrap_or_default().to_string(),
        why: error.why(),
    })?;
    match swap.as_deref() {
        // Without swap accounting, and usually without swap, both of these are so already.
        Some(value @ ("0" | "max")) => set_swap_if_any(knobs, value)?,
        Some(value) => knobs.set("/memory/swap", "memory.swap.max", value)?,
        None => {}
    }
    if let Some(limit) = limits.limit {
        knobs.set("/memory/limit", "memory.max", number_or_max(limit))?;
    }
    if let Some(reservation) = limits.reservation {
        knobs.set("/memory/reservation", "memory.low", number_or_max(reservation))?;
    }
    Ok(())
}

/// A kernel without swap accounting does not have this file. A cgroup without the controller is an
/// error nevertheless.
fn set_swap_if_any(knobs: Knobs<'_>, value: &str) -> Result<(), Error> {
    knobs.set_if_any("/memory/swap", "memory.swap.max", value)
}

/// `checkBeforeUpdate`: refuses a limit that the kernel would meet by killing.
fn check_usage(dir: &Dir, limits: &Memory, usage_file: &str) -> Result<(), Error> {
    if limits.check_before_update != Some(true) {
        return Ok(());
    }
    // A cgroup whose usage cannot be read has none to speak of.
    let Ok(Some(usage)) = dir.read_number(usage_file) else {
        return Ok(());
    };
    let fields = [("/memory/swap", "memory+swap", limits.swap), ("/memory/limit", "memory", limits.limit)];
    for (pointer, what, limit) in fields {
        if let Some(limit) = limit.filter(|&limit| limit > 0 && limit.unsigned_abs() <= usage) {
            return Err(Error::UsageCheck { pointer, what, limit, usage });
        }
    }
    Ok(())
}

/// Reads usage of v1.
pub(crate) fn read_v1(dir: &Dir) -> Result<stats::Memory, Error> {
    let entry = |name: &str| {
        let number = |file: &str| {
            let name = if name.is_empty() { format!("memory.{file}") } else { format!("memory.{name}.{file}") };
            Ok::<_, Error>(dir.read_number(&name)?.unwrap_or_default())
        };
        Ok::<_, Error>(MemoryEntry {
            limit: number("limit_in_bytes")?,
            usage: number("usage_in_bytes")?,
            max: number("max_usage_in_bytes")?,
            failcnt: number("failcnt")?,
        })
    };
    let raw = dir.read_table("memory.stat")?;
    Ok(stats::Memory {
        cache: find(&raw, "cache"),
        usage: entry("")?,
        swap: entry("memsw")?,
        kernel: entry("kmem")?,
        kernel_tcp: entry("kmem.tcp")?,
        raw: raw.into_iter().collect(),
        psi: None,
    })
}

/// Reads usage of v2; swap is counted with memory, as on v1.
pub(crate) fn read_v2(dir: &Dir) -> Result<stats::Memory, Error> {
    let number = |file: &str| Ok::<_, Error>(dir.read_number(file)?.unwrap_or_default());
    let raw = dir.read_table("memory.stat")?;
    let usage = MemoryEntry {
        limit: number("memory.max")?,
        usage: number("memory.current")?,
        max: number("memory.peak")?,
        failcnt: 0,
    };
    let mut swap = MemoryEntry {
        limit: number("memory.swap.max")?,
        usage: number("memory.swap.current")?,
        max: number("memory.swap.peak")?,
        failcnt: 0,
    };
    if dir.read_number("memory.swap.current")?.is_some() {
        swap.usage += usage.usage;
        swap.limit = swap.limit.saturating_add(usage.limit);
    }
    Ok(stats::Memory {
        cache: find(&raw, "file"),
        usage,
        swap,
        raw: raw.into_iter().collect(),
        psi: psi::read(dir, "memory.pressure")?,
        ..stats::Memory::default()
    })
}

/// How often the OOM killer took a process of the cgroup.
pub(crate) fn oom_kills(dir: &Dir, file: &str) -> Result<u64, Error> {
    Ok(find(&dir.read_table(file)?, "oom_kill"))
}

fn find(table: &[(String, u64)], key: &str) -> u64 {
    table.iter().find(|(name, _)| name == key).map_or(0, |(_, value)| *value)
}
