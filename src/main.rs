//! Parse, run, one exit. Nothing else.

use std::ffi::OsString;
use std::time::Instant;

use check_nats_service::commands;
use check_nats_service::process::{exit, memory, names};

#[global_allocator]
static ALLOCATOR: memory::LimitedAllocator = memory::LimitedAllocator;

fn main() {
    let start = Instant::now();
    names::use_files_and_dns();
    let args: Vec<OsString> = std::env::args_os().collect();
    exit::finish(commands::run(&args, &|name| std::env::var_os(name), start));
}
