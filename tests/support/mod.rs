//! The foundation of the tests: real NATS servers, real services, the command under test, and the hostile parts of a network.
//!
//! Every wait has a limit, and everything that is started is ended with its owner.
#![allow(dead_code, unused_imports)] // A toolbox: not every tool is in use at every time.

pub mod all;
pub mod blackhole;
pub mod browser;
pub mod certs;
pub mod check;
pub mod cost;
pub mod crowd;
pub mod fake;
pub mod fork_server;
pub mod http;
pub mod image;
pub mod jwt;
pub mod manifest;
pub mod markdown;
pub mod metrics;
pub mod monitor;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod raw;
pub mod server;
pub mod service;
pub mod sidecar;
pub mod temp_dir;

pub use all::{AllMonitor, Fifty, Findings};
pub use blackhole::Blackhole;
pub use certs::Certs;
pub use check::{Check, Output, Running};
pub use cost::Program;
pub use crowd::Crowd;
pub use fake::{Conn, Fake};
pub use metrics::Metrics;
pub use monitor::Monitor;
pub use mount::Mount;
pub use namespace::Namespace;
pub use net::Net;
pub use proxy::Proxy;
pub use server::{Server, Version};
pub use service::Service;
pub use sidecar::Sidecar;
pub use temp_dir::TempDir;

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time limit, on a busy machine, of a step that usually takes milliseconds.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Time after the contract's limit (its deadline and 100 ms) at which a run may still end: by the clock of [`Output::own`], which
/// leaves out the first thread's time in the queue for a processor, but not that of the others.
pub const SLACK: Duration = Duration::from_millis(100);

/// Looks again and again until `condition` gives something. Panics with `what` after [`LIMIT`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns `true` if upper limits on time are asserted as they stand: in the timed tests (`timed_...`), which tests/run.sh runs
/// one after the other, after all else, on the release build, up to five times. Elsewhere, other tests have the processors.
pub fn is_timed() -> bool {
    std::env::var_os("TIMED").is_some()
}

/// It took less than `limit`; where that is not a timed test, [`LIMIT`] more at most.
#[track_caller]
pub fn assert_took(took: Duration, limit: Duration, what: &dyn std::fmt::Debug) {
    let limit = if is_timed() { limit } else { limit + LIMIT };
    assert!(took < limit, "{took:?}, and not within {limit:?}: {what:?}");
}

/// Tests all cases at once, for tests that mostly wait.
pub fn each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// Tests a long list of cases, four at a time.
pub fn in_parallel<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases.into_iter().collect::<Vec<_>>().into_iter());
    let next = || cases.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    test(case);
                }
            });
        }
    });
}

/// A path from the environment that tests/run.sh sets up. A test that comes here is marked `#[ignore = "needs TOOL"]`: plain
/// `cargo test` skips it, with that line, and tests/run.sh runs it.
#[track_caller]
pub fn from_env(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run tests/run.sh, which gets the tools, and mark this test #[ignore = \"needs TOOL\"]")
    })
}

/// Returns `true` if this user may mount, give files away and become another user. In CI that is a must; elsewhere a test that
/// needs it says so and stops.
pub fn is_root() -> bool {
    // SAFETY: geteuid always succeeds.
    let root = unsafe { libc::geteuid() == 0 };
    assert!(
        root || std::env::var_os("CI").is_none(),
        "CI needs root: some of the tests mount, and become other users"
    );
    if !root {
        // Not by eprintln!, which the harness keeps to itself.
        let test = std::thread::current();
        let _ = writeln!(
            std::io::stderr(),
            "not tested without root: {}",
            test.name().unwrap_or_default()
        );
    }
    root
}
