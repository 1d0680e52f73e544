//! Parse, run, one exit. Nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use check_nats_service::limit::{self, Limited};
use check_nats_service::verdict::Reason;
use check_nats_service::watchdog::Alarm;
use check_nats_service::{Output, run, watch, watchdog};

#[global_allocator]
static ALLOCATOR: Limited = Limited;

fn main() {
    let start = Instant::now();
    limit::share_heap();
    let args: Vec<OsString> = std::env::args_os().collect();
    let env = |name: &str| std::env::var_os(name);
    if watch::is_asked_for(&args) {
        finish(watch::run(&args, &env, finish));
    }
    let last_words = |cause: &Alarm| Output::unknown(cause.reason(), cause.to_string());
    if let Err(error) = watchdog::install(Box::new(last_words), finish) {
        finish(Output::unknown(
            Reason::Interrupted,
            format!("cannot take over the signals: {error}"),
        ));
    }
    finish(run(args, &env, start));
}

/// Nobody has spoken yet; somebody speaks, to exit with this code and more; somebody has spoken, and exits so.
const SILENT: u8 = 0;
const SPEAKING: u8 = 10;
const SPOKEN: u8 = 20;

static STAGE: AtomicU8 = AtomicU8::new(SILENT);

/// Prints and exits: the main thread, or the watchdog. Only the first to come is heard, so that there is one line.
///
/// A verdict that nobody can read is no OK: with stdout closed, full or stuck, OK becomes UNKNOWN.
fn finish(output: Output) -> ! {
    let speaking = SPEAKING + output.exit_code;
    if let Err(stage) = STAGE.compare_exchange(SILENT, speaking, SeqCst, SeqCst) {
        // The other one is about to exit. If its write hangs, in a pipe that nobody reads, this ends it.
        if stage < SPOKEN {
            thread::sleep(Duration::from_millis(20));
        }
        exit(match STAGE.load(SeqCst) {
            SPEAKING => 3,
            stage => stage % SPEAKING,
        });
    }
    // Where nobody reads it, it is lost; there is no other place.
    let _ = std::io::stderr().write_all(output.complaint.as_bytes());
    let mut stdout = std::io::stdout().lock();
    let said = stdout.write_all(output.text.as_bytes()).and_then(|()| stdout.flush());
    let code = match (said, output.exit_code) {
        (Err(_), 0) if output.must_be_read => 3,
        (_, code) => code,
    };
    STAGE.store(SPOKEN + code, SeqCst);
    exit(code)
}

/// At once: other threads may hold whatever a handler at the exit would wait for.
fn exit(code: u8) -> ! {
    // SAFETY: _exit does not return, and has no other effect on memory.
    unsafe { libc::_exit(code.into()) }
}
