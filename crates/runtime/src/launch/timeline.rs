//! What init spends its time on, for `--trace`: it notes when each op begins (`Op::Timeline`), in a
//! file that is read here.

use std::io::Write;
use std::os::unix::fs::FileExt;

use rt_sys::process::monotonic_nanos;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

/// The target of the tracing events for ops; their fields are `pid`, `what`, `field`, `begin` and
/// `end`, in nanoseconds of CLOCK_MONOTONIC.
pub const TARGET: &str = "timeline";

/// More ops than any plan has; times of further ops are not recorded.
const OPS: usize = 4096;

/// Whether the times are wanted: for a trace, or for a log of every step.
pub fn is_wanted() -> bool {
    tracing::span_enabled!(tracing::Level::TRACE) || tracing::enabled!(tracing::Level::DEBUG)
}

/// Room for all ops in `file`, written with zeros: a full disk would otherwise end init by SIGBUS.
pub fn prepare(file: std::fs::File) -> Result<OwnedFd, Errno> {
    let mut file = file;
    file.write_all(&[0; OPS * 8]).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(file.into())
}

/// The file of times of a process about which only its maker asks.
pub fn in_memory() -> Result<OwnedFd, Errno> {
    prepare(memfd_create(c"rt-timeline", MemfdFlags::CLOEXEC)?.into())
}

/// An op to be reported: its index, what it does, the field it comes from.
pub type Label = (usize, String, String);

/// Reports what took how long. The last op that began lasts until now; with `waits` it is still
/// running and is not reported.
pub fn tell(file: &OwnedFd, pid: i32, labels: impl Iterator<Item = Label>, waits: bool) {
    let now = monotonic_nanos();
    let mut bytes = vec![0; OPS * 8];
    let read = file.try_clone().and_then(|file| std::fs::File::from(file).read_exact_at(&mut bytes, 0));
    if read.is_err() {
        return;
    }
    let begins: Vec<u64> = bytes.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(u64::from_le_bytes).collect();
    let begin_of = |index: usize| begins.get(index).copied().filter(|begin| *begin != 0);
    for (index, what, field) in labels {
        let Some(begin) = begin_of(index) else { continue };
        let next = begins.iter().skip(index + 1).copied().find(|begin| *begin != 0);
        let Some(end) = next.or((!waits).then_some(now)) else { continue };
        tracing::trace!(target: TARGET, pid, what, field, begin, end);
        tracing::debug!("init {pid}: {what} ({field}) in {} us", end.saturating_sub(begin) / 1000);
    }
}
