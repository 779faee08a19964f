//! Descriptors of one step. Exec closes them all at once, which saves a system call for each of
//! them.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// When a number reaches this value, the descriptors that are no longer in use are closed: a limit
/// of a few dozen open files must be enough for any plan.
const MOST: i32 = 44;

/// The numbers, all below [`MOST`], of descriptors that are no longer in use.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// A descriptor that is used for one step and then left for [`close_finished`] or exec.
pub struct Temporary(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Temporary {
    fn from(fd: OwnedFd) -> Temporary {
        Temporary(ManuallyDrop::new(fd))
    }
}

impl Temporary {
    /// Keeps the descriptor open for later ops.
    pub fn keep(mut self) -> OwnedFd {
        // SAFETY: taken once, and `self` is forgotten.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        core::mem::forget(self);
        fd
    }
}

impl AsFd for Temporary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match self.0.as_raw_fd() {
            number @ 0..MOST => {
                LEFT.fetch_or(1 << number, Ordering::Relaxed);
            }
            _ => {
                // SAFETY: dropped once, here.
                unsafe { ManuallyDrop::drop(&mut self.0) };
                close_finished();
            }
        }
    }
}

/// Closes the descriptors that are no longer in use, with one call for each row of consecutive
/// numbers.
pub fn close_finished() {
    let mut left = LEFT.swap(0, Ordering::Relaxed);
    while left != 0 {
        let first = left.trailing_zeros();
        let last = first + (left >> first).trailing_ones() - 1;
        // The owners gave these numbers up and they are still open. The call cannot fail.
        let _ = rt_sys::process::close_range(first, last, false);
        left &= u64::MAX << (last + 1);
    }
}
