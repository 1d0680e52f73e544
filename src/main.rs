//! Parse, run, one exit. Nothing else.

#![no_main]

use std::ffi::{c_char, c_int};
use std::time::Instant;

use check_nats_service::guard::{exit, memory, start};
use check_nats_service::modes;

#[global_allocator]
static ALLOCATOR: memory::LimitedAllocator = memory::LimitedAllocator;

/// In C's manner, without the start-up of the standard library: see [`start`].
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let began = Instant::now();
    start::prepare();
    memory::share_heap();
    // SAFETY: that is how main is called.
    let args = unsafe { start::arguments(argc, argv) };
    exit::finish(modes::run(&args, &|name| std::env::var_os(name), began));
}
