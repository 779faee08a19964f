//! `cpu` (and `cpuacct` of v1): weight, bandwidth, real-time bandwidth; time used.

use rt_resources::convert::{cpu_max, weight_of_shares};
use rt_resources::model::Cpu;

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::psi;
use crate::stats::{self, CpuUsage, Throttling};

/// Nanoseconds per tick of `cpuacct.stat`: the kernel's USER_HZ is 100 on every architecture we
/// build for.
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;

/// True when there is something to set besides processors and memory nodes.
pub(crate) fn wanted(limits: &Cpu) -> bool {
    *limits != Cpu { cpus: limits.cpus.clone(), mems: limits.mems.clone(), ..Cpu::default() }
}

/// True when a field has an effect on v2.
pub(crate) fn wanted_v2(limits: &Cpu) -> bool {
    wanted(&Cpu { realtime_runtime: None, realtime_period: None, ..limits.clone() })
}

/// Sets the limits of v1.
pub(crate) fn set_v1(knobs: Knobs<'_>, limits: &Cpu) -> Result<(), Error> {
    set_weight(limits, |shares| set_shares_v1(knobs, shares), |idle| knobs.set("/cpu/idle", "cpu.idle", idle))?;

    // Period, burst and quota are checked against each other: a period may be too short for the old
    // quota, a burst too long. What is refused as invalid goes after the quota.
    let mut late = Vec::new();
    if let Some(period) = limits.period {
        late.extend(try_early(knobs, "/cpu/period", "cpu.cfs_period_us", period, limits.quota)?);
    }
    if let Some(burst) = limits.burst
        && (burst != 0 || knobs.has("cpu.cfs_burst_us"))
    {
        late.extend(try_early(knobs, "/cpu/burst", "cpu.cfs_burst_us", burst, limits.quota)?);
    }
    if let Some(quota) = limits.quota {
        knobs.set("/cpu/quota", "cpu.cfs_quota_us", quota)?;
    }
    late.into_iter().try_for_each(|(field, file, value)| knobs.set(field, file, value))?;

    set_realtime(knobs, limits)
}

/// Real-time bandwidth. On v1 a real-time task cannot enter a cgroup that has none.
fn set_realtime(knobs: Knobs<'_>, limits: &Cpu) -> Result<(), Error> {
    let mut late = None;
    if let Some(period) = limits.realtime_period {
        let (field, file) = ("/cpu/realtimePeriod", "cpu.rt_period_us");
        late = try_early(knobs, field, file, period, limits.realtime_runtime)?;
    }
    if let Some(runtime) = limits.realtime_runtime {
        knobs.set("/cpu/realtimeRuntime", "cpu.rt_runtime_us", runtime)?;
    }
    late.map_or(Ok(()), |(field, file, value)| knobs.set(field, file, value))
}

/// Sets a value; if it is invalid as things are and `other` will be changed, returns it to be set
/// again after that.
fn try_early<'a>(
    knobs: Knobs<'_>,
    field: &'a str,
    file: &'a str,
    value: u64,
    other: Option<i64>,
) -> Result<Option<(&'a str, &'a str, u64)>, Error> {
    if other.is_none() {
        return knobs.set(field, file, value).map(|()| None);
    }
    Ok((!knobs.set_unless_invalid(field, file, value)?).then_some((field, file, value)))
}

/// The kernel silently clamps shares; a limit that differs from the one asked for is an error.
fn set_shares_v1(knobs: Knobs<'_>, asked: u64) -> Result<(), Error> {
    knobs.set("/cpu/shares", "cpu.shares", asked)?;
    match knobs.dir.read_number("cpu.shares")? {
        Some(got) if got != asked => Err(Error::SharesOutOfRange { asked, got }),
        _ => Ok(()),
    }
}

/// Sets the limits of v2.
pub(crate) fn set_v2(knobs: Knobs<'_>, limits: &Cpu) -> Result<(), Error> {
    set_weight(
        limits,
        |shares| knobs.set("/cpu/shares", "cpu.weight", weight_of_shares(shares)),
        |idle| knobs.set("/cpu/idle", "cpu.idle", idle),
    )?;

    let mut late = None;
    if let Some(burst) = limits.burst
        && (burst != 0 || knobs.has("cpu.max.burst"))
    {
        late = try_early(knobs, "/cpu/burst", "cpu.max.burst", burst, limits.quota)?;
    }
    if limits.quota.is_some() || limits.period.is_some() {
        let field = if limits.quota.is_some() { "/cpu/quota" } else { "/cpu/period" };
        knobs.set(field, "cpu.max", cpu_max(limits.quota, limits.period))?;
    }
    late.map_or(Ok(()), |(field, file, value)| knobs.set(field, file, value))
}

/// Sets shares and idle in the order that the kernel takes: an idle cgroup has no weight, and
/// refuses one.
fn set_weight(
    limits: &Cpu,
    weight: impl Fn(u64) -> Result<(), Error>,
    idle: impl Fn(i64) -> Result<(), Error>,
) -> Result<(), Error> {
    if limits.idle == Some(0) {
        idle(0)?;
    }
    match limits.shares.map_or(Ok(()), weight) {
        // Idle already, and to stay so.
        Err(error) if limits.idle == Some(1) && error.errno() == Some(rustix::io::Errno::INVAL) => {}
        result => result?,
    }
    limits.idle.filter(|&value| value != 0).map_or(Ok(()), idle)
}

/// Reads throttling from `cpu`, usage from `cpuacct`, of v1.
pub(crate) fn read_v1(cpu: Option<&Dir>, cpuacct: Option<&Dir>) -> Result<stats::Cpu, Error> {
    let mut stats = stats::Cpu::default();
    if let Some(dir) = cpu {
        for (key, value) in dir.read_table("cpu.stat")? {
            match key.as_str() {
                "nr_periods" => stats.throttling.periods = value,
                "nr_throttled" => stats.throttling.throttled_periods = value,
                "throttled_time" => stats.throttling.throttled_time = value,
                _ => {}
            }
        }
    }
    if let Some(dir) = cpuacct {
        stats.usage = usage_v1(dir)?;
    }
    Ok(stats)
}

fn usage_v1(dir: &Dir) -> Result<CpuUsage, Error> {
    let mut usage = CpuUsage { total: dir.read_number("cpuacct.usage")?.unwrap_or_default(), ..CpuUsage::default() };
    for (key, ticks) in dir.read_table("cpuacct.stat")? {
        match key.as_str() {
            "user" => usage.user = ticks * NANOSECONDS_PER_TICK,
            "system" => usage.kernel = ticks * NANOSECONDS_PER_TICK,
            _ => {}
        }
    }
    let numbers = |text: &str| text.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u64>>();
    usage.percpu = dir.read_if_any("cpuacct.usage_percpu")?.map(|text| numbers(&text)).unwrap_or_default();
    // A heading, then a line `cpu user system` per processor.
    for line in dir.read_if_any("cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        if let [_, user, system] = numbers(line)[..] {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(system);
        }
    }
    Ok(usage)
}

/// Reads `cpu.stat` and pressure of v2, in nanoseconds as on v1. `cpu.stat` is there without the
/// controller, too.
pub(crate) fn read_v2(dir: &Dir) -> Result<stats::Cpu, Error> {
    let mut usage = CpuUsage::default();
    let mut throttling = Throttling::default();
    for (key, value) in dir.read_table("cpu.stat")? {
        match key.as_str() {
            "usage_usec" => usage.total = value * 1000,
            "user_usec" => usage.user = value * 1000,
            "system_usec" => usage.kernel = value * 1000,
            "nr_periods" => throttling.periods = value,
            "nr_throttled" => throttling.throttled_periods = value,
            "throttled_usec" => throttling.throttled_time = value * 1000,
            _ => {}
        }
    }
    Ok(stats::Cpu { usage, throttling, psi: psi::read(dir, "cpu.pressure")? })
}
