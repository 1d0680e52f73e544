//! The watchdog: it ends a run that does not end by itself at its deadline, a signal, a panic, or too much memory.
//!
//! An alarm is first told to the probe, which then ends in the usual way, with a verdict that takes the memory into
//! account. If the run has not ended a moment later, whatever it hangs on, the watchdog prints the fallback output for it.
//! It runs from the very beginning: a run can hang before it knows its deadline, on a file of its user say.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use once_cell::sync::OnceCell;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::process::exit::{Output, UNKNOWN, finish};
use crate::process::memory;
use crate::values::status::Reason;

/// Time after its deadline or an alarm in which a run may end by itself.
const GRACE: Duration = Duration::from_millis(80);

const SIGNALS: [(i32, &str); 3] = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP")];

/// Why a run has to end now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The time of the run is up.
    Deadline,
    /// The name of the signal.
    Signal(&'static str),
    /// The heap has reached its limit.
    Memory,
    /// A thread panicked, with this message.
    Panic(String),
}

impl Alarm {
    /// Why the run has no answer. Too much memory and panics come from what the server sends.
    pub fn reason(&self) -> Reason {
        match self {
            Alarm::Deadline | Alarm::Signal(_) => Reason::Interrupted,
            Alarm::Memory | Alarm::Panic(_) => Reason::ProtocolError,
        }
    }
}

/// Size in bytes from which one allocation is a large message, rather than the last of many small ones.
const LARGE_MESSAGE: usize = 64 * 1024;

/// Output for a run that cannot end by itself, given the cause.
pub type FallbackOutput = Box<dyn Fn(&Alarm) -> Output + Send>;

/// The one watchdog of the process.
struct Watchdog {
    /// Wakes the watchdog's thread. Writing to it is all that a signal handler and the allocator may do.
    waker: UnixStream,
    /// The deadline, and who is told of alarms; nothing before [`watch`].
    watched: Mutex<Option<(Instant, Sender<Alarm>)>>,
    /// The latest one; 0: none.
    signal: AtomicI32,
    memory: AtomicBool,
    panicked: Mutex<Option<String>>,
    last_words: Mutex<FallbackOutput>,
}

static WATCHDOG: OnceCell<Watchdog> = OnceCell::new();

impl Watchdog {
    fn wake(&self) {
        // A full pipe wakes the watchdog as one more byte would.
        let _ = (&self.waker).write(b"!");
    }

    fn watched(&self) -> Option<(Instant, Sender<Alarm>)> {
        self.watched.lock().ok()?.clone()
    }

    fn alarm(&self) -> Option<Alarm> {
        if let Some((_, name)) = SIGNALS.iter().find(|(n, _)| *n == self.signal.load(SeqCst)) {
            return Some(Alarm::Signal(name));
        }
        if self.memory.load(SeqCst) {
            return Some(Alarm::Memory);
        }
        self.panicked.lock().ok()?.clone().map(Alarm::Panic)
    }

    /// Prints the fallback output and exits. Does not wait for the lock: its holder may be what hangs.
    fn give_up(&self, cause: &Alarm) -> ! {
        // Locks of the run must not keep the watchdog from printing.
        memory::lift_limit();
        let output = match self.last_words.try_lock() {
            Ok(last_words) => last_words(cause),
            Err(_) => Output {
                stdout: "NATS_SERVICE UNKNOWN - interrupted\n".into(),
                exit_code: UNKNOWN,
                ..Output::default()
            },
        };
        finish(output)
    }
}

/// Takes over the signals, the panics and the memory limit of this process, and starts the watchdog.
///
/// # Errors
///
/// Those of the system, where signals cannot be taken over.
pub fn install(last_words: FallbackOutput) -> std::io::Result<()> {
    let (woken, waker) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    let watchdog = Watchdog {
        waker,
        watched: Mutex::new(None),
        signal: AtomicI32::new(0),
        memory: AtomicBool::new(false),
        panicked: Mutex::new(None),
        last_words: Mutex::new(last_words),
    };
    if WATCHDOG.set(watchdog).is_ok()
        && let Some(watchdog) = WATCHDOG.get()
    {
        panic::set_hook(Box::new(on_panic));
        memory::on_exceeded(out_of_memory);
        for (number, _) in SIGNALS {
            if number == SIGHUP && is_ignored(number) {
                continue;
            }
            let tell = move || {
                // This order matters: when the watchdog wakes, it finds the signal.
                watchdog.signal.store(number, SeqCst);
                watchdog.wake();
            };
            // SAFETY: a handler may store into an atomic, and write to a socket that does not block.
            unsafe { signal_hook::low_level::register(number, tell) }?;
        }
        let thread = thread::Builder::new().name(THREAD.into()).stack_size(128 * 1024);
        // Without a watchdog the probe's own time limits still hold.
        HAS_THREAD.store(thread.spawn(move || wait_for_alarms(watchdog, woken)).is_ok(), SeqCst);
    }
    Ok(())
}

/// Returns `true` if this process has inherited that the signal is ignored: `nohup` wants SIGHUP to stay ignored.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros are a valid value of this C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action, this only writes the present one into the struct that it is given.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// From now on, the run ends at this deadline (and a little) at the latest. The alarms come through the channel returned.
pub fn watch(deadline: Instant) -> Receiver<Alarm> {
    let (sender, alarms) = bounded(8);
    if let Some(watchdog) = WATCHDOG.get() {
        let before = match watchdog.watched.lock() {
            Ok(mut watched) => watched.replace((deadline, sender)),
            Err(_) => None,
        };
        // It waits for this deadline already.
        if before.is_none_or(|(before, _)| before != deadline) {
            watchdog.wake();
        }
    }
    alarms
}

/// The name of the watchdog's thread.
const THREAD: &str = "watchdog";

/// Set if there is such a thread, even if it has not run yet.
static HAS_THREAD: AtomicBool = AtomicBool::new(false);

/// The thread id of the watchdog; zero: it has not run yet.
static THREAD_ID: AtomicI32 = AtomicI32::new(0);

fn thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

fn main_thread_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn wait_for_alarms(watchdog: &Watchdog, mut woken: UnixStream) -> ! {
    THREAD_ID.store(thread_id(), SeqCst);
    let mut alarmed: Option<(Instant, Alarm)> = None;
    loop {
        let deadline = watchdog
            .watched()
            .map(|(deadline, _)| (deadline + GRACE, Alarm::Deadline));
        let end = alarmed.iter().chain(&deadline).min_by_key(|(end, _)| *end);
        let left = end.map(|(end, _)| end.saturating_duration_since(Instant::now()));
        if let (Some((_, cause)), Some(Duration::ZERO)) = (end, left) {
            watchdog.give_up(cause);
        }
        // An error is a timeout, or is handled in the next turn.
        let _ = woken.set_read_timeout(left);
        if woken.read(&mut [0; 16]).is_ok()
            && let Some(alarm) = watchdog.alarm()
        {
            if let Some((_, alarms)) = watchdog.watched() {
                let _ = alarms.try_send(alarm.clone());
            }
            alarmed.get_or_insert((Instant::now() + GRACE, alarm));
        }
    }
}

/// Sets what is said if the run cannot end by itself. Call it whenever more is known.
pub fn set_last_words(last_words: FallbackOutput) {
    if let Some(watchdog) = WATCHDOG.get()
        && let Ok(mut words) = watchdog.last_words.lock()
    {
        *words = last_words;
    }
}

/// Called by the allocator: raises the alarm, and holds the thread for ever. Allocates nothing.
fn out_of_memory() -> ! {
    // Without a watchdog, or where it has no memory itself, nobody else could print the fallback output.
    let by_the_watchdog = thread_id() == THREAD_ID.load(SeqCst);
    if let Some(watchdog) = WATCHDOG.get()
        && HAS_THREAD.load(SeqCst)
        && !by_the_watchdog
    {
        watchdog.memory.store(true, SeqCst);
        watchdog.wake();
        loop {
            thread::sleep(Duration::MAX);
        }
    }
    memory::exit_without_memory()
}

/// A panic must not end the process with a status of its own, nor leave a thread waiting for one that is gone.
fn on_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info
        .location()
        .map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
    let cause = format!("internal error{}", crate::values::text::clean(&place, 120));
    let Some(watchdog) = WATCHDOG.get() else { return };
    let watchdogs = THREAD_ID.load(SeqCst);
    match thread_id() {
        id if id == watchdogs || id == main_thread_id() => watchdog.give_up(&Alarm::Panic(cause)),
        _ => {
            if let Ok(mut panicked) = watchdog.panicked.lock() {
                *panicked = Some(cause);
            }
            watchdog.wake();
            loop {
                thread::park();
            }
        }
    }
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Alarm::Deadline => f.write_str("the time is up (--timeout)"),
            Alarm::Signal(name) => write!(f, "interrupted by {name}"),
            Alarm::Memory => {
                f.write_str("the server sent more than the memory limit allows")?;
                match memory::refused_size() {
                    size if size < LARGE_MESSAGE => Ok(()),
                    size => write!(f, ": {size} bytes at once"),
                }
            }
            Alarm::Panic(cause) => f.write_str(cause),
        }
    }
}
