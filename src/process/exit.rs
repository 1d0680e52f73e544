//! The one exit of the process: prints what there is to say, once, and ends.

use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use signal_hook::low_level;

/// Output of a run, and its exit status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For stdout, with its line ends.
    pub stdout: String,
    /// For stderr, with its line ends. Empty for a check: monitoring systems mix it into the output.
    pub stderr: String,
    pub exit_code: u8,
    /// Set if the output must be read to be worth anything: a verdict that is lost is not OK.
    pub must_be_read: bool,
}

impl Output {
    /// Something went well, and there is something to print.
    pub fn success(stdout: String) -> Output {
        Output {
            stdout,
            must_be_read: true,
            ..Output::default()
        }
    }

    /// A command that is no check could not do what it was to do.
    pub fn failure(problem: &str) -> Output {
        let problem = problem.replace(|c: char| c.is_control(), "?");
        Output {
            stderr: format!("check_nats_service: {problem}\n"),
            exit_code: UNKNOWN,
            ..Output::default()
        }
    }
}

/// The exit code of UNKNOWN (Monitoring Plugins guidelines), and of a command that failed.
pub const UNKNOWN: u8 = 3;

/// Time for which a second thread that wants to end the process waits until the first one has finished its output.
const OTHER_OUTPUT: Duration = Duration::from_millis(20);

/// No thread has begun to print.
const NOT_BEGUN: u8 = u8::MAX;

/// Exit status if the output that was begun cannot be finished.
static UNFINISHED: AtomicU8 = AtomicU8::new(NOT_BEGUN);

/// Prints and exits: the main thread, or the watchdog. Only the first to come prints, so that there is one line.
///
/// A verdict that nobody can read is no OK: with stdout closed, full or stuck, OK becomes UNKNOWN.
pub fn finish(output: Output) -> ! {
    let unread = match output.exit_code {
        0 => UNKNOWN,
        code => code,
    };
    if let Err(code) = UNFINISHED.compare_exchange(NOT_BEGUN, unread, SeqCst, SeqCst) {
        // The first thread is about to exit. If its write hangs in a pipe without a reader, this call ends the process.
        thread::sleep(OTHER_OUTPUT);
        exit(code);
    }
    // Without a reader the text is lost; there is no other place for it.
    let _ = std::io::stderr().write_all(output.stderr.as_bytes());
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(output.stdout.as_bytes()).and_then(|()| stdout.flush());
    exit(match printed {
        Err(_) if output.must_be_read => unread,
        _ => output.exit_code,
    })
}

/// At once: other threads may hold whatever a handler at the exit would wait for.
fn exit(code: u8) -> ! {
    low_level::exit(code.into())
}
