//! When each op begins, for `rt --trace`: a file that both sides have mapped, so that nothing has
//! to be sent.

use core::sync::atomic::{AtomicU64, Ordering};

use rt_sys::process::monotonic_nanos;
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// One number for each op; none without `--trace`.
#[derive(Default)]
pub struct Timeline(&'static [AtomicU64]);

impl Timeline {
    /// Maps the file.
    pub fn map(file: &OwnedFd) -> Result<Timeline, Errno> {
        let len = usize::try_from(fstat(file)?.st_size).map_err(|_| Errno::INVAL)?;
        // SAFETY: a new mapping that is never unmapped, aligned to a page, and read and written as
        // atomic numbers by both sides.
        unsafe {
            let base = mmap(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?;
            Ok(Timeline(core::slice::from_raw_parts(base.cast::<AtomicU64>(), len / size_of::<AtomicU64>())))
        }
    }

    /// Notes that op `index` begins now.
    pub fn begins(&self, index: u64) {
        if let Some(place) = self.0.get(index as usize) {
            place.store(monotonic_nanos(), Ordering::Relaxed);
        }
    }
}
