//! From the units of `linux.resources`, which are those of cgroup v1, to those of cgroup v2.

/// `cpu.shares` (2..=262144, default 1024) as `cpu.weight` (1..=10000, default 100).
///
/// `w = ceil(10^((l² + 125·l) / 612 − 7/34))` with `l = log2(shares)`: a curve through (2, 1),
/// (1024, 100) and (262144, 10000), on which runc, crun and systemd agree.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            // The points of the curve that are whole numbers must not be pushed up by the last bit
            // of a rounding error.
            (10f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

/// `blkio.weight` (10..=1000) as `io.weight` (1..=10000): linear.
pub fn io_weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// A number of cgroup v1 as cgroup v2 writes it: negative means no limit.
pub fn number_or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// `pids.limit` as `pids.max`: no container can run with 0 processes, so 0 becomes the least that
/// systemd takes, too.
pub fn pids_max(limit: i64) -> String {
    number_or_max(if limit == 0 { 1 } else { limit })
}

/// The ranges of a list of CPUs or memory nodes like `0-3,7` (cpuset(7), "List format"); None if it is
/// no such list.
pub fn ranges(list: &str) -> Option<Vec<(usize, usize)>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        })
        .collect()
}

/// `cpu.quota` and `cpu.period` as `cpu.max`; the period's default is the kernel's.
pub fn cpu_max(quota: Option<i64>, period: Option<u64>) -> String {
    let quota = match quota {
        Some(quota) if quota > 0 => quota.to_string(),
        _ => "max".to_owned(),
    };
    format!("{quota} {}", period.unwrap_or(100_000))
}

/// Why a pair of `memory.limit` and `memory.swap` has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// Swap is counted on top of memory, so it needs a limit to be counted from.
    WithoutLimit,
    /// Memory and swap together are less than memory alone.
    BelowLimit,
}

impl SwapError {
    /// The sentence for it.
    pub fn why(self) -> &'static str {
        match self {
            SwapError::WithoutLimit => "unable to set swap limit without memory limit",
            SwapError::BelowLimit => "memory+swap limit should be >= memory limit",
        }
    }
}

/// `memory.swap` (memory and swap together, as v1 counts) as `memory.swap.max` (swap alone).
///
/// `None` leaves the file alone. Equal limits mean no swap at all, which is `0` and not "unset".
/// Unlimited memory without a word on swap is taken as v1 takes it: both unlimited.
pub fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, SwapError> {
    match (limit, swap) {
        (Some(-1), None) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (_, Some(swap)) if swap < 0 => Ok(Some("max".to_owned())),
        (None | Some(..=-1), Some(_)) => Err(SwapError::WithoutLimit),
        (Some(limit), Some(swap)) if swap < limit => Err(SwapError::BelowLimit),
        (Some(limit), Some(swap)) => Ok(Some((swap - limit).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published points of the curve (runtime documentation of runc and crun, and the older
    /// pins of the tests).
    #[test]
    fn shares_become_the_weight_the_other_runtimes_write() {
        let table = [
            (0, 1),
            (1, 1),
            (2, 1),
            (10, 4),
            (100, 17),
            (256, 35),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (4096, 303),
            (10240, 639),
            (100_000, 4340),
            (262_144, 10_000),
            (262_145, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(weight_of_shares(shares), weight, "shares {shares}");
        }
    }

    /// More shares never mean less weight.
    #[test]
    fn weight_grows_with_shares() {
        for shares in 1..262_144u64 {
            assert!(weight_of_shares(shares) <= weight_of_shares(shares + 1), "at {shares}");
        }
    }

    /// youki computes this in 16 bits and overflows from 17 on.
    #[test]
    fn blkio_weight_spans_the_whole_io_weight_range() {
        for (blkio, io) in [(10, 1), (16, 61), (17, 71), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight_of_blkio(blkio), io, "weight {blkio}");
        }
    }

    /// `--memory-swap` equal to `--memory` is how Docker says "no swap".
    #[test]
    fn swap_is_counted_without_memory() {
        let max = Some("max".to_owned());
        assert_eq!(swap_max(Some(100), Some(100)), Ok(Some("0".to_owned())));
        assert_eq!(swap_max(Some(100), Some(250)), Ok(Some("150".to_owned())));
        assert_eq!(swap_max(Some(100), Some(-1)), Ok(max.clone()));
        assert_eq!(swap_max(Some(-1), None), Ok(max.clone()));
        assert_eq!(swap_max(Some(-1), Some(-1)), Ok(max.clone()));
        assert_eq!(swap_max(None, Some(-1)), Ok(max));
        assert_eq!(swap_max(Some(100), None), Ok(None));
        assert_eq!(swap_max(None, None), Ok(None));
        assert_eq!(swap_max(Some(100), Some(99)), Err(SwapError::BelowLimit));
        assert_eq!(swap_max(None, Some(99)), Err(SwapError::WithoutLimit));
        assert_eq!(swap_max(Some(-1), Some(99)), Err(SwapError::WithoutLimit));
    }

    #[test]
    fn pids_and_cpu_in_the_words_of_v2() {
        assert_eq!(pids_max(0), "1");
        assert_eq!(pids_max(-1), "max");
        assert_eq!(pids_max(42), "42");
        assert_eq!(cpu_max(Some(50_000), None), "50000 100000");
        assert_eq!(cpu_max(Some(-1), Some(20_000)), "max 20000");
        assert_eq!(cpu_max(Some(0), Some(20_000)), "max 20000");
        assert_eq!(cpu_max(None, Some(20_000)), "max 20000");
    }
}
