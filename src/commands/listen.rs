//! The HTTP server of `watch`, as a process of its own: the checks wait for none of its clients, and end with none of them.
//!
//! The process is this program run anew, without arguments and environment of its parent: no secret is in its memory. It
//! first gets the port and its settings through a socket, then what each check found, in files without a name whose descriptors
//! are sent to it. It acknowledges each, so that one that hangs is seen. One that hangs or dies is started again; the port is
//! the parent's, and stays.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socket_with, sockopt,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::stdio::dup2_stdin;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::child::{fork, run_anew};
use super::log::log;
use super::probe;
use super::site::{Results, Site};
use crate::cli::{ListenOptions, Selector};
use crate::connect::target::ServiceName;
use crate::judge::pod;
use crate::probe::plan::Wanted;
use crate::process::exit::{Output, finish};
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::Report;
use crate::serve::connections::{Pages, serve};
use crate::serve::request::HttpRequest;
use crate::serve::response::{HttpResponse, HttpStatus};
use crate::values::timestamp::Timestamp;

/// How long the server may leave news alone. It is there for nothing else.
const HANGS: Duration = Duration::from_secs(10);

/// How long after its start it is started again at the earliest.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections may wait to be taken; the system may allow fewer.
const WAITING: i32 = 4096;

/// The argument of the process that serves. No user gives it.
const ARGUMENT: &str = "serve-http";

/// What a check has to tell is not larger, in bytes.
const MAX_RESULT_BYTES: u64 = 16 * 1024 * 1024;

/// A file for what a check found, which nobody else can open.
pub fn results_file() -> io::Result<File> {
    Ok(memfd_create("check_nats_service", MemfdFlags::CLOEXEC)?.into())
}

/// What a check has to tell over HTTP. `since`: for how long the status has been the same.
pub fn results(report: &Report, since: Timestamp, style: &Style) -> String {
    Results::to_text(
        report.now,
        report.verdict.status(),
        &render::json::render(report),
        &render::prometheus::render(report, style),
        &render::html::checked(report, since),
    )
}

/// The port, and the process that serves on it.
pub struct HttpServer {
    listener: TcpListener,
    settings: Settings,
    child: Option<ServerChild>,
    /// What the last check found.
    latest: Option<File>,
    /// When to start it again, if it does not run.
    due: Instant,
}

struct ServerChild {
    pid: Pid,
    /// Takes descriptors there, and brings a byte for each; closed when the process is gone.
    socket: UnixStream,
    /// Since when it has left news alone.
    unheard: Option<Instant>,
}

impl HttpServer {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// One line that says why the port cannot be had.
    pub fn bind(options: &ListenOptions, service: &ServiceName, interval: Duration) -> Result<HttpServer, String> {
        let listener = listen_on(&options.addresses).map_err(|error| {
            let way_out = match error.kind() {
                io::ErrorKind::AddrInUse => ", give another port, or end who has it (ss -ltnp)",
                io::ErrorKind::AddrNotAvailable => ", give an address of this machine, or only the port, like :9422",
                io::ErrorKind::PermissionDenied => ", give a port above 1023",
                _ => "",
            };
            format!("--listen: cannot listen on {}: {error}{way_out}", options.typed)
        })?;
        // Rather now than at each check.
        results_file()
            .map_err(|e| format!("--listen: the system gives no files without a name (memfd_create): {e}"))?;
        // Otherwise 128, and in a storm of connections that of a probe would have to come again, a second later.
        let _ = rustix::net::listen(&listener, WAITING);
        log(&format!("{} answers over HTTP on {}", service.as_str(), options.typed));
        Ok(HttpServer {
            listener,
            settings: Settings::new(options, service, interval),
            child: None,
            latest: None,
            due: Instant::now(),
        })
    }

    /// Starts the process. If that fails, it is tried again.
    pub fn start(&mut self) {
        self.due = Instant::now() + PAUSE;
        match self.run() {
            Ok(child) => self.child = Some(child),
            Err(e) => log(&format!("cannot start the HTTP server: {e}")),
        }
        self.send_latest();
    }

    fn run(&self) -> io::Result<ServerChild> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let mut settings = results_file()?;
        settings.write_all(&serde_json::to_vec(&self.settings)?)?;
        let Some(pid) = fork()? else {
            drop(socket);
            let why = match dup2_stdin(&theirs) {
                Ok(()) => run_anew(ARGUMENT),
                Err(e) => e.into(),
            };
            // Without /proc, say. It is still a process of its own.
            log(&format!(
                "the HTTP server cannot be run anew, and may have secrets in its memory: {why}"
            ));
            finish(serve_until_closed(theirs))
        };
        let mut child = ServerChild {
            pid,
            socket,
            unheard: None,
        };
        child.send(&[self.listener.as_fd(), settings.as_fd()]);
        Ok(child)
    }

    /// What is to be looked at when it can be read.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|child| child.socket.as_fd())
    }

    /// When it is to be started again, if it does not run.
    pub fn due(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.due)
    }

    /// Sees whether it lives, and starts it again if it does not.
    pub fn look_after(&mut self) {
        if self.child.as_mut().is_some_and(|child| !child.lives()) {
            // Whoever waits for orphans may have buried it already: then the process id may be another's.
            self.child.take().iter().for_each(ServerChild::reap);
            log("the HTTP server died; it is started again");
        }
        if self.child.is_none() && Instant::now() >= self.due {
            self.start();
        }
    }

    /// Hands over what a check found.
    pub fn publish(&mut self, results: File) {
        self.latest = Some(results);
        self.look_after();
        let unheard = self.child.as_ref().and_then(|child| child.unheard);
        match unheard.is_some_and(|since| since.elapsed() > HANGS) {
            true => {
                self.end_running();
                log("the HTTP server hung and was ended; it is started again");
                self.start();
            }
            false => self.send_latest(),
        }
    }

    fn send_latest(&mut self) {
        if let (Some(child), Some(latest)) = (&mut self.child, &self.latest) {
            child.send(&[latest.as_fd()]);
        }
    }

    /// Ends the process, so that the port is free.
    pub fn end(mut self) {
        self.end_running();
    }

    fn end_running(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It lives at this moment, and nobody buries it before the next one: the process id is its own.
            if child.lives() {
                let _ = kill_process(child.pid, Signal::KILL);
            }
            child.reap();
        }
    }
}

impl ServerChild {
    /// Takes what it has acknowledged.
    fn lives(&mut self) -> bool {
        loop {
            match self.socket.read(&mut [0; 64]) {
                Ok(0) => return false,
                Ok(_) => self.unheard = None,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Where there is no room for it, it hangs, which is seen at the next time.
    fn send(&mut self, descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        let _ = sendmsg(&self.socket, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::NOSIGNAL);
        self.unheard.get_or_insert_with(Instant::now);
    }

    /// Waits for the end, which has begun.
    fn reap(&self) {
        while matches!(waitpid(Some(self.pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    }
}

/// Takes the first address that can be had. All addresses of this machine are those of IPv4 too, whatever `bindv6only` says.
fn listen_on(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let every = |address: &SocketAddr| address.is_ipv6() && address.ip().is_unspecified() && addresses.len() > 1;
    let mut error = None;
    for address in addresses {
        let listener = if every(address) {
            listen_on_both(*address)
        } else {
            TcpListener::bind(address)
        };
        match listener {
            Ok(listener) => return Ok(listener),
            Err(e) => error = Some(e),
        }
    }
    Err(error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn listen_on_both(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, WAITING)?;
    Ok(socket.into())
}

/// What the process is told of its pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    service: String,
    interval: Duration,
    max_age: Duration,
    /// Whether a probe passes when NATS cannot be asked.
    unreachable: Option<bool>,
    own: Option<Own>,
}

/// Which instance is the pod's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Own {
    Id(String),
    IdFile(OsString),
    Match(Vec<(String, String)>),
    Any,
}

impl Settings {
    fn new(options: &ListenOptions, service: &ServiceName, interval: Duration) -> Settings {
        Settings {
            service: service.as_str().to_owned(),
            interval,
            max_age: options.max_age,
            unreachable: options.unreachable.map(|result| result == pod::ProbeResult::Pass),
            own: options.selector.clone().map(|selector| match selector {
                Selector::IdFile(path) => Own::IdFile(path.into()),
                Selector::Is(Wanted::Id(id)) => Own::Id(id),
                Selector::Is(Wanted::Match(values)) => Own::Match(values),
                Selector::Is(Wanted::Any | Wanted::All) => Own::Any,
            }),
        }
    }

    fn pages(self, socket: UnixStream) -> ServicePages {
        let result = |pass| {
            if pass {
                pod::ProbeResult::Pass
            } else {
                pod::ProbeResult::Fail
            }
        };
        ServicePages {
            site: Site {
                service: self.service,
                interval: self.interval,
                max_age: self.max_age,
                unreachable: self.unreachable.map(result),
                started: Timestamp::now(),
                results: None,
            },
            selector: self.own.map(|own| match own {
                Own::IdFile(path) => Selector::IdFile(path.into()),
                Own::Id(id) => Selector::Is(Wanted::Id(id)),
                Own::Match(values) => Selector::Is(Wanted::Match(values)),
                Own::Any => Selector::Is(Wanted::Any),
            }),
            logged: [None; PROBES.len()],
            socket,
        }
    }
}

/// Whether these arguments are those of the process that serves.
pub fn is_asked_for(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|argument| argument == ARGUMENT)
}

/// The process that serves: its parent is at the other end of stdin.
pub fn run_server_child() -> Output {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => serve_until_closed(socket.into()),
        Err(e) => Output::failure(&format!("{ARGUMENT}: {e}")),
    }
}

fn serve_until_closed(socket: UnixStream) -> Output {
    // They are for the parent, and may be sent to the whole group.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
    let _ = socket.set_nonblocking(false);
    let _ = socket.set_read_timeout(Some(HANGS));
    let first = loop {
        match receive(&socket) {
            Err(Errno::INTR) => {}
            received => break received.ok().flatten(),
        }
    };
    let _ = socket.set_nonblocking(true);
    let mut descriptors = first.unwrap_or_default().into_iter();
    let (Some(listener), Some(settings)) = (descriptors.next(), descriptors.next()) else {
        return Output::failure(&format!("{ARGUMENT}: only watch --listen uses this"));
    };
    let settings = read(&settings.into()).and_then(|text| serde_json::from_str::<Settings>(&text).ok());
    let Some(settings) = settings else {
        return Output::failure(&format!("{ARGUMENT}: the settings are damaged"));
    };
    let mut pages = settings.pages(socket);
    pages.acknowledge();
    if let Err(e) = serve(&listener.into(), &mut pages) {
        log(&format!("the HTTP server cannot go on: {e}"));
    }
    Output::default()
}

/// The probes whose changes are logged: of a failed one the kubelet tells the status alone.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// What the process serves.
struct ServicePages {
    site: Site,
    selector: Option<Selector>,
    /// The status of each of [`PROBES`] that was logged last.
    logged: [Option<HttpStatus>; PROBES.len()],
    socket: UnixStream,
}

impl ServicePages {
    fn page(&self, request: &HttpRequest<'_>) -> HttpResponse {
        // A pipe in the place of the file is not waited for.
        let own = || {
            self.selector
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
        if self.selector.is_some() && self.site.results.is_some() && self.logged[n].replace(status) != Some(status) {
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
        match receive(&self.socket) {
            Ok(Some(descriptors)) => {
                // Those that are not whole are left alone.
                let file = descriptors.into_iter().next().map(File::from);
                if let Some(results) = file.and_then(|file| Results::from_text(&read(&file)?)) {
                    self.site.results = Some(results);
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

/// The descriptors that were sent at once. `None`: there will be none any more.
fn receive(socket: &UnixStream) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    });
    Ok(Some(descriptors.collect()))
}

/// The file from its beginning, wherever its writer left it.
fn read(file: &File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    if length > MAX_RESULT_BYTES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes).ok()
}
