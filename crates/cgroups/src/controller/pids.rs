//! `pids`: the number of processes and threads. The file is the same on v1 and v2.

use rt_resources::convert::pids_max;
use rt_resources::model as resources;

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::stats;

/// Sets the limit.
pub(crate) fn set(knobs: Knobs<'_>, limits: &resources::Pids) -> Result<(), Error> {
    match limits.limit {
        Some(limit) => knobs.set("/pids/limit", "pids.max", pids_max(limit)),
        None => Ok(()),
    }
}

/// Reads usage and limit; 0 stands for "no limit".
pub(crate) fn read(dir: &Dir) -> Result<stats::Pids, Error> {
    let limit = dir.read_number("pids.max")?.filter(|&limit| limit != u64::MAX);
    Ok(stats::Pids { current: dir.read_number("pids.current")?.unwrap_or_default(), limit: limit.unwrap_or_default() })
}
