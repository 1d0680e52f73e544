//! The process that answers over HTTP for `watch --listen`.
//!
//! It is this program run anew, without arguments and environment of the sidecar: no secret is in its memory. It gets the port,
//! what to serve, and what each check found through a socket. A startup probe makes it request a check.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::handover;
use super::log::Log;
use super::outcome::Served;
use super::probe;
use super::site::{Site, UNREACHABLE};
use crate::judge::pod::ProbeResult;
use crate::process::exit::Output;
use crate::serve::connections::{Answer, Pages, serve};
use crate::serve::request::HttpRequest;
use crate::serve::response::{HttpResponse, HttpStatus};
use crate::values::timestamp::Timestamp;

/// The argument of the process. No user gives it.
pub const ARGUMENT: &str = "serve-http";

/// Time limit for the acknowledgement of a result; beyond it the process counts as hung.
pub const HANG_LIMIT: Duration = Duration::from_secs(10);

/// The byte by which the process requests a check of the sidecar; any other one acknowledges a result.
pub const CHECK_REQUEST: u8 = b'?';

/// The process that serves: its parent is at the other end of stdin.
pub fn run() -> Output {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => serve_until_closed(socket.into()),
        Err(e) => Output::failure(&format!("{ARGUMENT}: {e}")),
    }
}

/// Serves until the sidecar, at the other end of the socket, is gone.
pub fn serve_until_closed(socket: UnixStream) -> Output {
    // These signals are for the parent, but may be sent to the whole process group.
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
    let Some((site, log)) = handover::read(&site.into()) else {
        return Output::failure(&format!("{ARGUMENT}: what to serve is damaged"));
    };
    let mut pages = ServicePages {
        site,
        requested: None,
        log,
        logged: BTreeMap::new(),
        socket,
    };
    pages.acknowledge();
    if let Err(e) = serve(&listener.into(), &mut pages) {
        pages.log.error(&format!("the HTTP server cannot go on: {e}"));
    }
    Output::default()
}

/// The probes, whose changes are logged: of a failed one the kubelet reports the status alone.
const PROBES: [&str; 3] = ["/livez", "/readyz", STARTUP];

/// The probe of a container that starts.
const STARTUP: &str = "/startupz";

/// Time for which a requested check serves the startup probes that come: more than the usual time between two of them.
const REQUEST_AGE: Duration = Duration::from_secs(60);

/// The pages of one service, and the socket to the sidecar.
struct ServicePages {
    site: Site,
    /// The check that a startup probe has requested and has not been answered from: its number, and when that was.
    requested: Option<(u64, Instant)>,
    log: Log,
    /// The status that was logged last of each probe, by its path and query.
    logged: BTreeMap<String, HttpStatus>,
    socket: UnixStream,
}

impl ServicePages {
    fn page(&self, request: &HttpRequest<'_>, check_request: u64) -> HttpResponse {
        // A pipe in the place of the file is not waited for.
        let own = || {
            self.site
                .selector
                .as_ref()
                .map(|selector| probe::wanted(selector, Instant::now()))
        };
        self.site.answer(request, own, check_request, Timestamp::now())
    }

    /// The answer to a startup probe. `None`: it is to wait for the check of this number.
    ///
    /// The container has just started, and the last check may have seen the one before it. So it passes only by a check that has
    /// begun since it was asked: otherwise liveness would soon kill a slow one.
    fn answer_startup(&mut self, request: &HttpRequest<'_>, number: u64, is_last: bool) -> Option<HttpResponse> {
        let response = self.page(request, number);
        let served = self.site.served.as_ref();
        let is_current = served.is_some_and(|served| served.check_requests >= number);
        if !is_current && !is_last && response.status == HttpStatus::Unavailable {
            return None;
        }
        if is_current || response.status == HttpStatus::Ok {
            self.requested = None;
        }
        self.log_change(request, &response);
        Some(response)
    }

    /// Requests a check, unless one is under way for a startup probe. Returns its number.
    fn request_check(&mut self) -> u64 {
        if let Some((number, _)) = self.requested.filter(|(_, at)| at.elapsed() < REQUEST_AGE) {
            return number;
        }
        let number = self.site.check_requests + 1;
        // If the pipe is full, the next probe requests the check.
        if self.socket.write(&[CHECK_REQUEST]).is_ok() {
            self.site.check_requests = number;
            self.requested = Some((number, Instant::now()));
        }
        number
    }

    fn log_change(&mut self, request: &HttpRequest<'_>, response: &HttpResponse) {
        let Some(probe) = logged_as(request) else { return };
        let status = response.status;
        if self.site.selector.is_some()
            && self.site.served.is_some()
            && self.logged.insert(probe.clone(), status) != Some(status)
        {
            self.log
                .probe(&probe, status, response.body.lines().next().unwrap_or_default());
        }
    }

    /// Logs what the check that has just come changes, of the probes as they are asked.
    fn log_changes(&mut self) {
        let mut asked: Vec<String> = PROBES.map(str::to_owned).into();
        asked.extend(self.logged.keys().filter(|probe| probe.contains('?')).cloned());
        for probe in asked {
            let (path, query) = probe.split_once('?').unwrap_or((&probe, ""));
            let request = HttpRequest {
                query,
                ..HttpRequest::get(path)
            };
            let response = self.page(&request, 0);
            self.log_change(&request, &response);
        }
    }

    fn acknowledge(&mut self) {
        // If the parent is gone, the next turn notices it.
        let _ = self.socket.write(b"!");
    }
}

/// A probe by its path, and by the part of its query that decides over the answer.
fn logged_as(request: &HttpRequest<'_>) -> Option<String> {
    let path = PROBES.into_iter().find(|probe| *probe == request.path)?;
    match request.parameter(UNREACHABLE) {
        None => Some(path.to_owned()),
        Some(word) => ProbeResult::parse(word).map(|result| format!("{path}?{UNREACHABLE}={}", result.name())),
    }
}

impl Pages for ServicePages {
    fn answer(&mut self, request: &HttpRequest<'_>) -> Answer {
        if request.path == STARTUP && self.site.selector.is_some() && !self.site.is_of_many {
            let number = self.request_check();
            let response = self.answer_startup(request, number, false);
            return response.map_or(Answer::Later(number), Answer::Now);
        }
        let response = self.page(request, 0);
        self.log_change(request, &response);
        Answer::Now(response)
    }

    fn answer_later(&mut self, request: &HttpRequest<'_>, ticket: u64, is_last: bool) -> Option<HttpResponse> {
        self.answer_startup(request, ticket, is_last)
    }

    fn news(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive_update(&mut self) -> bool {
        match handover::receive(&self.socket) {
            Ok(Some(descriptors)) => {
                // An incomplete update is ignored.
                let file = descriptors.into_iter().next().map(File::from);
                if let Some(served) = file.and_then(Served::read) {
                    self.site.served = Some(served);
                    self.log_changes();
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
