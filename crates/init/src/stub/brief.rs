//! Descriptors of one step. Exec closes them all at once, which saves a system call for each of them.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// At this number what was left is closed: a few dozen open files must be enough for any plan.
const MOST: i32 = 44;

/// The numbers, all below [`MOST`], of descriptors that nobody uses any more.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// A descriptor that is used for one step and then left for [`close_left`] or exec.
pub struct Brief(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Brief {
    fn from(fd: OwnedFd) -> Brief {
        Brief(ManuallyDrop::new(fd))
    }
}

impl Brief {
    /// For one that is needed for longer.
    pub fn keep(mut self) -> OwnedFd {
        // SAFETY: taken once, and `self` is forgotten.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        core::mem::forget(self);
        fd
    }
}

impl AsFd for Brief {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        match self.0.as_raw_fd() {
            number @ 0..MOST => {
                LEFT.fetch_or(1 << number, Ordering::Relaxed);
            }
            _ => {
                // SAFETY: dropped once, here.
                unsafe { ManuallyDrop::drop(&mut self.0) };
                close_left();
            }
        }
    }
}

/// Closes what was left: a call for each row of numbers.
pub fn close_left() {
    let mut left = LEFT.swap(0, Ordering::Relaxed);
    while left != 0 {
        let first = left.trailing_zeros();
        let last = first + (left >> first).trailing_ones() - 1;
        // These numbers were given up by their owners, and are open until now. The call cannot fail.
        let _ = rt_sys::process::close_range(first, last, false);
        left &= u64::MAX << (last + 1);
    }
}
