//! A `main` in C's manner, and what the standard library does before its own, as far as it is of use here.
//!
//! It would also read the map of the process and give each thread a stack for its overflow handler: a tenth of what a run
//! costs, for a better word than SIGSEGV where a stack is too small. The guard pages are there all the same.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, open};

/// Defines the `main` of a program, which calls a function with the arguments and the time when it began.
#[macro_export]
macro_rules! main_calls {
    ($run:path) => {
        // SAFETY: there is no other function of this name.
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: std::ffi::c_int, argv: *const *const std::ffi::c_char) -> std::ffi::c_int {
            let start = std::time::Instant::now();
            $crate::guard::start::prepare();
            // SAFETY: that is how main is called.
            $run(&unsafe { $crate::guard::start::arguments(argc, argv) }, start)
        }
    };
}

/// Makes the process what all else takes for granted. To be called before there is a second thread.
pub fn prepare() {
    // Where one of these is closed, the first file or connection to be opened would take its place, and be printed to.
    while let Ok(lowest) = open("/dev/null", OFlags::RDWR, Mode::empty()) {
        if lowest.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        mem::forget(lowest);
    }
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // Writing to a closed pipe, or beyond the limit of a file, is then an error, and not the end of the process.
        // SAFETY: no handler is set that could do anything.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The arguments as C's `main` gets them, the name of the program first.
///
/// # Safety
///
/// `values` has `count` pointers to strings that end with a zero and are never changed.
pub unsafe fn arguments(count: c_int, values: *const *const c_char) -> Vec<OsString> {
    let nth = |n| {
        // SAFETY: as the caller promises.
        let value = unsafe { CStr::from_ptr(*values.add(n)) };
        OsStr::from_bytes(value.to_bytes()).to_owned()
    };
    (0..usize::try_from(count).unwrap_or_default()).map(nth).collect()
}
