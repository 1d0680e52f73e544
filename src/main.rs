//! Parse, run, one exit. Nothing else.

// See `guard::start`.
#![no_main]

use std::ffi::OsString;
use std::time::Instant;

use check_nats_service::guard::{exit, memory};
use check_nats_service::modes;

#[global_allocator]
static ALLOCATOR: memory::LimitedAllocator = memory::LimitedAllocator;

check_nats_service::main_calls!(run);

fn run(args: &[OsString], start: Instant) -> ! {
    memory::share_heap();
    exit::finish(modes::run(args, &|name| std::env::var_os(name), start));
}
