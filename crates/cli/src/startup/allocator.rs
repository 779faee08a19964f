//! A bump allocator: `rt` lives for milliseconds, so only the newest part is ever given back. That
//! keeps short-lived strings and buffers on pages that are in use anyway. Large requests go to the
//! system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room in .bss; pages of it that are never touched cost nothing.
const SIZE: usize = 512 * 1024;
/// A request of this size or more gets pages of its own, which can be given back.
const LARGE: usize = 64 * 1024;

/// The allocator.
#[repr(C)]
pub struct Bump {
    // This counter stands before the room, on the page of the first parts, so that it needs no page
    // of its own.
    used: AtomicUsize,
    /// Bytes past this offset have never been used, so they are still zero.
    touched: AtomicUsize,
    room: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: `used` hands out disjoint parts of `room`; nothing else touches `room`. A thread that
// gets a part which another thread has given back has acquired what was written there before.
unsafe impl Sync for Bump {}

impl Default for Bump {
    fn default() -> Self {
        Bump::new()
    }
}

impl Bump {
    /// An empty one.
    pub const fn new() -> Bump {
        Bump { used: AtomicUsize::new(0), touched: AtomicUsize::new(0), room: UnsafeCell::new([0; SIZE]) }
    }

    fn holds(&self, at: *mut u8) -> bool {
        let start = self.room.get() as usize;
        (start..start + SIZE).contains(&(at as usize))
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() >= LARGE {
            return None;
        }
        let base = self.room.get() as usize;
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let start = (base + used).next_multiple_of(layout.align()) - base;
            let end = start + layout.size();
            if end > SIZE {
                return None;
            }
            match self.used.compare_exchange_weak(used, end, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(self.room.get().cast::<u8>().wrapping_add(start)),
                Err(now) => used = now,
            }
        }
    }

    /// Moves the end of the part that ends at `end`, if that part is the newest.
    fn move_end(&self, end: usize, to: usize) -> bool {
        if to < end {
            self.touched.fetch_max(end, Ordering::Relaxed);
        }
        to <= SIZE && self.used.compare_exchange(end, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

// SAFETY: every pointer is either a part of `room` that is in no other use, aligned and large
// enough, or comes from the system.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(at) => at,
            // SAFETY: the caller's contract is the system's.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !self.holds(at) {
            // SAFETY: the pointer is not from `room`, so it came from the system with this layout.
            return unsafe { System.dealloc(at, layout) };
        }
        let start = at as usize - self.room.get() as usize;
        self.move_end(start + layout.size(), start);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let at = self.take(layout);
        // Pages that were never used are already zero, so they are not written.
        let fresh = |at: *mut u8| at as usize - self.room.get() as usize >= self.touched.load(Ordering::Relaxed);
        // SAFETY: the caller's contract is the system's; what is written to is the part that was
        // just handed out.
        unsafe {
            match at {
                None => System.alloc_zeroed(layout),
                Some(at) if fresh(at) => at,
                Some(at) => {
                    at.write_bytes(0, layout.size());
                    at
                }
            }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.holds(at) {
            // SAFETY: not ours, so it came from the system with this layout.
            return unsafe { System.realloc(at, layout, size) };
        }
        // The newest part can grow in place, which makes a growing vector cheap; every part can
        // shrink in place.
        let start = at as usize - self.room.get() as usize;
        if self.move_end(start + layout.size(), start + size) || size <= layout.size() {
            return at;
        }
        // SAFETY: a fresh part of at least the smaller size, apart from the old one.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(at, new, layout.size().min(size));
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole program relies on this: alignment, growth in place and by copy, and the way to the
    /// system.
    #[test]
    fn parts_are_aligned_apart_and_keep_their_contents() {
        let bump: &'static Bump = Box::leak(Box::new(Bump::new()));
        let small = Layout::from_size_align(3, 1).unwrap();
        let wide = Layout::from_size_align(64, 64).unwrap();
        let large = Layout::from_size_align(LARGE, 8).unwrap();
        // SAFETY: the layouts have sizes, and every pointer is used within them.
        unsafe {
            let a = bump.alloc(small);
            a.copy_from(b"abc".as_ptr(), 3);
            let grown = bump.realloc(a, small, 100);
            assert_eq!(a, grown);
            let b = bump.alloc(wide);
            assert_eq!(b as usize % 64, 0);
            assert!(b as usize >= grown as usize + 100);
            let moved = bump.realloc(grown, Layout::from_size_align(100, 1).unwrap(), 200);
            assert_ne!(moved, grown);
            assert_eq!(std::slice::from_raw_parts(moved, 3), b"abc");
            // The next part begins where the newest part was given back, and a zeroed part is zero
            // there.
            moved.write_bytes(1, 200);
            bump.dealloc(moved, Layout::from_size_align(200, 1).unwrap());
            let zeroed = bump.alloc_zeroed(Layout::from_size_align(300, 1).unwrap());
            assert_eq!(zeroed, moved);
            assert!(std::slice::from_raw_parts(zeroed, 300).iter().all(|byte| *byte == 0));
            assert_eq!(bump.realloc(zeroed, Layout::from_size_align(300, 1).unwrap(), 10), zeroed);
            assert_eq!(bump.alloc(small) as usize, zeroed as usize + 10);
            let c = bump.alloc(large);
            assert!(!bump.holds(c));
            bump.dealloc(c, large);
        }
    }
}
