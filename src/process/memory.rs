//! A bound on the heap, whatever the network sends: the client would allocate 4 GiB if a server announced such a message.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use once_cell::sync::OnceCell;
use signal_hook::low_level;

use crate::process::exit::UNKNOWN;

/// Maximum memory that the process allocates, in bytes. With its code and stacks it then stays below 64 MiB.
const MAX_HEAP_BYTES: usize = 40 * 1024 * 1024;

/// Memory beyond the limit, in bytes, for reporting that the limit was hit.
const RESERVE: usize = 8 * 1024 * 1024;

static USED: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(MAX_HEAP_BYTES);

/// Size in bytes of the allocation that would have gone beyond the limit; 0: none.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Function that a thread calls when it would go beyond the limit.
static ON_EXCEEDED: OnceCell<fn() -> !> = OnceCell::new();

/// Sets what a thread does that would go beyond the limit. It must not allocate.
pub fn on_exceeded(act: fn() -> !) {
    // There is one watchdog.
    let _ = ON_EXCEEDED.set(act);
}

/// Size in bytes of the allocation that was refused: that of the message, where it was the message itself. 0: none.
pub fn refused_size() -> usize {
    REFUSED.load(Relaxed)
}

/// Ends the limit: the process is about to exit, and has something to say before.
pub fn lift_limit() {
    LIMIT.store(usize::MAX, Relaxed);
}

/// The system's allocator, with a limit. A thread that would go beyond it raises the alarm and never runs again; the run
/// ends with a verdict that says so.
pub struct LimitedAllocator;

/// Returns the memory that an allocation of this size takes: the system's allocator keeps a word beside each, and rounds up.
const fn cost(size: usize) -> usize {
    let chunk = size.saturating_add(8 + 15) & !15;
    if chunk < 32 { 32 } else { chunk }
}

/// Adds this size to what is used, if that stays within the limit. Never adds first: until it were subtracted again, the small
/// allocations of all other threads would exceed the limit, too.
fn reserve(used: &AtomicUsize, size: usize, limit: &AtomicUsize) -> bool {
    let sum = |used: usize| used.checked_add(size).filter(|sum| *sum <= limit.load(Relaxed));
    used.fetch_update(Relaxed, Relaxed, sum).is_ok()
}

fn exceeded(size: usize) -> ! {
    REFUSED.store(size, Relaxed);
    match ON_EXCEEDED.get() {
        Some(act) => act(),
        None => exit_without_memory(),
    }
}

/// Says what can be said without any memory, and exits.
pub fn exit_without_memory() -> ! {
    // A failure of this write cannot be reported anywhere.
    let _ = rustix::io::write(rustix::stdio::stdout(), b"NATS_SERVICE UNKNOWN - out of memory\n");
    low_level::exit(UNKNOWN.into())
}

impl LimitedAllocator {
    fn take(requested: usize) {
        if !reserve(&USED, cost(requested), &LIMIT) {
            LIMIT.fetch_max(MAX_HEAP_BYTES + RESERVE, Relaxed);
            exceeded(requested);
        }
    }

    /// The system may have a limit of its own, below ours.
    fn not_null(pointer: *mut u8, size: usize) -> *mut u8 {
        if pointer.is_null() {
            exceeded(size);
        }
        pointer
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, or does not return.
unsafe impl GlobalAlloc for LimitedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LimitedAllocator::take(layout.size());
        // SAFETY: the caller keeps to the same rules for the system's allocator, which gets the call unchanged.
        LimitedAllocator::not_null(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LimitedAllocator::take(layout.size());
        // SAFETY: the caller keeps to the same rules for the system's allocator, which gets the call unchanged.
        LimitedAllocator::not_null(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(cost(layout.size()), Relaxed);
        // SAFETY: the caller keeps to the same rules for the system's allocator, which gets the call unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LimitedAllocator::take(size);
        USED.fetch_sub(cost(layout.size()), Relaxed);
        // SAFETY: the caller keeps to the same rules for the system's allocator, which gets the call unchanged.
        LimitedAllocator::not_null(unsafe { System.realloc(pointer, layout, size) }, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_size_takes_nothing_from_others() {
        let (used, limit) = (AtomicUsize::new(0), AtomicUsize::new(100));
        std::thread::scope(|scope| {
            scope.spawn(|| (0..100_000).for_each(|_| assert!(!reserve(&used, 4 << 30, &limit))));
            for _ in 0..100_000 {
                assert!(reserve(&used, 100, &limit));
                used.fetch_sub(100, Relaxed);
            }
        });
        assert!(reserve(&used, 100, &limit));
        assert!(!reserve(&used, 1, &limit) && !reserve(&used, usize::MAX, &limit));
    }
}
