//! The HTTP server of `watch`, as a process of its own: the checks wait for none of its clients, and end with none of them.
//!
//! This is the side of the sidecar. The process ([`http_child`]) first gets the port and what to serve, then what each check found. It
//! acknowledges each, so that one that hangs is seen, and can request a check. One that hangs or dies is started again; the port is the sidecar's, and
//! stays.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio::dup2_stdin;

use super::child::{fork, reap, run_anew};
use super::handover;
use super::http_child::{self, HANG_LIMIT};
use super::log::Log;
use super::site::Site;
use crate::cli::{ListenOptions, Scope};
use crate::process::exit::finish;
use crate::values::timestamp::Timestamp;

/// Minimum time between two starts of the process.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of connections that wait to be accepted; the system may allow fewer.
const MAX_BACKLOG: i32 = 4096;

/// The port, and the process that serves on it.
pub struct HttpServer {
    listener: TcpListener,
    site: Site,
    child: Option<ServerChild>,
    /// Result of the last check.
    latest: Option<File>,
    /// When to start it again, if it does not run.
    due: Instant,
    /// Number of requested checks that have been made.
    answered_requests: u64,
    log: Log,
}

struct ServerChild {
    pid: Pid,
    /// Takes descriptors there, and brings a byte for each; closed when the process is gone.
    socket: UnixStream,
    /// Since when it has left news alone.
    unheard: Option<Instant>,
    /// Number of checks that it has requested since this was last read.
    check_requests: u64,
}

impl HttpServer {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// One line that says why the port cannot be had.
    pub fn bind(options: &ListenOptions, scope: &Scope, interval: Duration, log: Log) -> Result<HttpServer, String> {
        let listener = listen_on(&options.addresses).map_err(|error| {
            let way_out = match error.kind() {
                io::ErrorKind::AddrInUse => ", give another port, or end who has it (ss -ltnp)",
                io::ErrorKind::AddrNotAvailable => ", give an address of this machine, or only the port, like :9422",
                io::ErrorKind::PermissionDenied => ", give a port above 1023",
                _ => "",
            };
            format!("--listen: cannot listen on {}: {error}{way_out}", options.typed)
        })?;
        // An error is reported now, and not at each check.
        handover::file()
            .map_err(|e| format!("--listen: the system gives no files without a name (memfd_create): {e}"))?;
        // The default is 128: in a storm of connections, a probe would have to reconnect a second later.
        let _ = rustix::net::listen(&listener, MAX_BACKLOG);
        Ok(HttpServer {
            listener,
            site: Site {
                service: scope.name().to_owned(),
                is_of_many: matches!(scope, Scope::All(_)),
                interval,
                max_age: options.max_age,
                unreachable: options.unreachable,
                selector: options.selector.clone(),
                started: Timestamp::now(),
                check_requests: 0,
                served: None,
            },
            child: None,
            latest: None,
            due: Instant::now(),
            answered_requests: 0,
            log,
        })
    }

    /// Starts the process. If that fails, it is tried again.
    pub fn start(&mut self) {
        self.due = Instant::now() + RESTART_DELAY;
        match self.run() {
            Ok(child) => self.child = Some(child),
            Err(e) => self.log.error(&format!("cannot start the HTTP server: {e}")),
        }
        self.send_latest();
    }

    fn run(&self) -> io::Result<ServerChild> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let site = handover::file()?;
        handover::write(&site, &(&self.site, &self.log))?;
        let Some(pid) = fork()? else {
            drop(socket);
            let why = match dup2_stdin(&theirs) {
                Ok(()) => run_anew(http_child::ARGUMENT),
                Err(e) => e.into(),
            };
            // For example without /proc. The server is still a separate process.
            self.log.error(&format!(
                "the HTTP server cannot be run anew, and may have secrets in its memory: {why}"
            ));
            finish(http_child::serve_until_closed(theirs))
        };
        let mut child = ServerChild {
            pid,
            socket,
            unheard: None,
            check_requests: 0,
        };
        child.send(&[self.listener.as_fd(), site.as_fd()]);
        Ok(child)
    }

    /// The descriptor to poll for input.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|child| child.socket.as_fd())
    }

    /// When it is to be started again, if it does not run.
    pub fn due(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.due)
    }

    /// Sees whether it lives, and starts it again if it does not.
    pub fn look_after(&mut self) {
        let lives = self.child.as_mut().is_none_or(ServerChild::lives);
        let requests = self
            .child
            .as_mut()
            .map(|child| std::mem::take(&mut child.check_requests));
        self.site.check_requests += requests.unwrap_or_default();
        if !lives {
            // The sidecar may have reaped it with the orphans: the process id may then be reused.
            self.child.take().iter().for_each(|child| reap(child.pid));
            self.log.error("the HTTP server died; it is started again");
        }
        if self.child.is_none() && Instant::now() >= self.due {
            self.start();
        }
    }

    /// Returns `true` if it has requested a check that has not been made yet.
    pub fn wants_check(&self) -> bool {
        self.site.check_requests > self.answered_requests
    }

    /// Returns how many checks it has requested so far: one that begins now answers them all.
    pub fn check_requests(&mut self) -> u64 {
        self.look_after();
        self.site.check_requests
    }

    /// Hands over what a check found that began after so many requests for one.
    pub fn publish(&mut self, results: File, check_requests: u64) {
        self.latest = Some(results);
        self.answered_requests = check_requests;
        self.look_after();
        let unheard = self.child.as_ref().and_then(|child| child.unheard);
        match unheard.is_some_and(|since| since.elapsed() > HANG_LIMIT) {
            true => {
                self.end_running();
                self.log
                    .error("the HTTP server hung and was ended; it is started again");
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
            // The child has not been reaped yet, so the process id is still its own.
            if child.lives() {
                let _ = kill_process(child.pid, Signal::KILL);
            }
            reap(child.pid);
        }
    }
}

impl ServerChild {
    /// Takes what it has acknowledged and requested.
    fn lives(&mut self) -> bool {
        let mut bytes = [0; 64];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(length @ 1..) => {
                    let requests = bytes[..length]
                        .iter()
                        .filter(|byte| **byte == http_child::CHECK_REQUEST);
                    let count = requests.count();
                    self.check_requests += count as u64;
                    // A request is no acknowledgement.
                    if count < length {
                        self.unheard = None;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                end => return end.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Where there is no room for it, it hangs, which is seen at the next time.
    fn send(&mut self, descriptors: &[BorrowedFd<'_>]) {
        handover::send(&self.socket, descriptors);
        self.unheard.get_or_insert_with(Instant::now);
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
    rustix::net::listen(&socket, MAX_BACKLOG)?;
    Ok(socket.into())
}
