//! The process that answers over HTTP for `watch --listen`.
//!
//! It is this program run anew, without arguments and environment of the sidecar: no secret is in its memory. It gets the port,
//! what to serve, and what each check found through a socket.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::handover;
use super::log::log;
use super::outcome::Served;
use super::probe;
use super::site::Site;
use crate::process::exit::Output;
use crate::serve::connections::{Pages, serve};
use crate::serve::request::HttpRequest;
use crate::serve::response::{HttpResponse, HttpStatus};
use crate::values::timestamp::Timestamp;

/// The argument of the process. No user gives it.
pub const ARGUMENT: &str = "serve-http";

/// Time limit for the acknowledgement of a result; beyond it the process counts as hung.
pub const HANG_LIMIT: Duration = Duration::from_secs(10);

/// The process that serves: its parent is at the other end of stdin.
pub fn run() -> Output {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => serve_until_closed(socket.into()),
        Err(e) => Output::failure(&format!("{ARGUMENT}: {e}")),
    }
}

/// Serves until the sidecar, at the other end of the socket, is gone.
pub fn serve_until_closed(socket: UnixStream) -> Output {
    // They are for the parent, and may be sent to the whole group.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
    let _ = socket.set_nonblocking(false);
    let _ = socket.set_read_timeout(Some(HANG_LIMIT));
    let first = loop {
        match handover::receive(&socket) {
            Err(Errno::INTR) => {}
            received => break received.ok().flatten(),
        }
    };
    let _ = socket.set_nonblocking(true);
    let mut descriptors = first.unwrap_or_default().into_iter();
    let (Some(listener), Some(site)) = (descriptors.next(), descriptors.next()) else {
        return Output::failure(&format!("{ARGUMENT}: only watch --listen uses this"));
    };
    let Some(site) = handover::read(&site.into()) else {
        return Output::failure(&format!("{ARGUMENT}: what to serve is damaged"));
    };
    let mut pages = ServicePages {
        site,
        logged: [None; PROBES.len()],
        socket,
    };
    pages.acknowledge();
    if let Err(e) = serve(&listener.into(), &mut pages) {
        log(&format!("the HTTP server cannot go on: {e}"));
    }
    Output::default()
}

/// The probes whose changes are logged: of a failed one the kubelet tells the status alone.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// The pages of one service, and the socket to the sidecar.
struct ServicePages {
    site: Site,
    /// The status of each of [`PROBES`] that was logged last.
    logged: [Option<HttpStatus>; PROBES.len()],
    socket: UnixStream,
}

impl ServicePages {
    fn page(&self, request: &HttpRequest<'_>) -> HttpResponse {
        // A pipe in the place of the file is not waited for.
        let own = || {
            self.site
                .selector
                .as_ref()
                .map(|selector| probe::wanted(selector, Instant::now()))
        };
        self.site.answer(request, own, Timestamp::now())
    }

    fn log_change(&mut self, path: &str, response: &HttpResponse) {
        let Some(n) = PROBES.iter().position(|probe| *probe == path) else {
            return;
        };
        let status = response.status;
        if self.site.selector.is_some() && self.site.served.is_some() && self.logged[n].replace(status) != Some(status)
        {
            let line = response.body.lines().next().unwrap_or_default();
            log(&format!("{path} {}: {line}", status.line()));
        }
    }

    fn acknowledge(&mut self) {
        // If the parent is gone, the next turn tells it.
        let _ = self.socket.write(b"!");
    }
}

impl Pages for ServicePages {
    fn answer(&mut self, request: &HttpRequest<'_>) -> HttpResponse {
        let response = self.page(request);
        self.log_change(request.path, &response);
        response
    }

    fn news(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive_update(&mut self) -> bool {
        match handover::receive(&self.socket) {
            Ok(Some(descriptors)) => {
                // Those that are not whole are left alone.
                let file = descriptors.into_iter().next().map(File::from);
                if let Some(served) = file.and_then(Served::read) {
                    self.site.served = Some(served);
                    for path in PROBES {
                        let response = self.page(&HttpRequest::get(path));
                        self.log_change(path, &response);
                    }
                }
                self.acknowledge();
                true
            }
            Ok(None) => false,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}
