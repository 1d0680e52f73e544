//! The HTTP server of `watch`, as a process of its own: the checks wait for none of its clients, and end with none of them.
//!
//! It gets what each check found in a file without a name, whose descriptor is sent to it. It acknowledges each, so that one
//! that hangs is seen. One that hangs or dies is started again; the port is the parent's, and stays.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};

use super::child::fork;
use super::log::log;
use super::probe;
use crate::cli::{ListenOptions, Selector};
use crate::guard::exit::{Output, finish};
use crate::probe::target::ServiceName;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::Report;
use crate::serve::connections::{Pages, serve};
use crate::serve::request::Request;
use crate::serve::response::Response;
use crate::serve::site::{Results, Site};
use crate::values::timestamp::Timestamp;

/// How long the server may leave news alone. It is there for nothing else.
const HANGS: Duration = Duration::from_secs(10);

/// How long after its start it is started again at the earliest.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections may wait to be taken; the system may allow fewer.
const WAITING: i32 = 4096;

/// What a check has to tell is not larger, in bytes.
const LARGEST_RESULTS: u64 = 16 * 1024 * 1024;

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
pub struct Server {
    listener: TcpListener,
    site: Site,
    selector: Option<Selector>,
    running: Option<Running>,
    /// What the last check found.
    latest: Option<File>,
    /// When to start it again, if it does not run.
    due: Instant,
}

struct Running {
    pid: Pid,
    /// Takes descriptors there, and brings a byte for each; closed when the process is gone.
    socket: UnixStream,
    /// Since when it has left news alone.
    unheard: Option<Instant>,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// One line that says why the port cannot be had.
    pub fn bind(options: &ListenOptions, service: &ServiceName, interval: Duration) -> Result<Server, String> {
        let listener = TcpListener::bind(&*options.addresses).map_err(|error| {
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
        Ok(Server {
            listener,
            site: Site {
                service: service.as_str().to_owned(),
                interval,
                max_age: options.max_age,
                results: None,
            },
            selector: options.selector.clone(),
            running: None,
            latest: None,
            due: Instant::now(),
        })
    }

    /// Starts the process. If that fails, it is tried again.
    pub fn start(&mut self) {
        self.due = Instant::now() + PAUSE;
        match self.run() {
            Ok(running) => self.running = Some(running),
            Err(e) => log(&format!("cannot start the HTTP server: {e}")),
        }
        self.send_latest();
    }

    fn run(&self) -> io::Result<Running> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let parent = getpid();
        match fork()? {
            Some(pid) => Ok(Running {
                pid,
                socket,
                unheard: None,
            }),
            None => {
                drop(socket);
                self.be_the_server(theirs, parent)
            }
        }
    }

    /// The child: serves until the parent is gone. Signals are for the parent.
    fn be_the_server(&self, socket: UnixStream, parent: Pid) -> ! {
        let mut served = Served {
            site: self.site.clone(),
            selector: self.selector.clone(),
            socket,
        };
        // The end of the socket says it too, but only to one that does not hang.
        let dies_with_it = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
        if (!dies_with_it || getppid() == Some(parent))
            && let Err(e) = serve(&self.listener, &mut served)
        {
            log(&format!("the HTTP server cannot go on: {e}"));
        }
        finish(Output::default())
    }

    /// What is to be looked at when it can be read.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.socket.as_fd())
    }

    /// When it is to be started again, if it does not run.
    pub fn due(&self) -> Option<Instant> {
        self.running.is_none().then_some(self.due)
    }

    /// Sees whether it lives, and starts it again if it does not.
    pub fn look_after(&mut self) {
        if self.running.as_mut().is_some_and(|running| !running.lives()) {
            // Whoever waits for orphans may have buried it already: then the process id may be another's.
            self.running.take().iter().for_each(Running::bury);
            log("the HTTP server died; it is started again");
        }
        if self.running.is_none() && Instant::now() >= self.due {
            self.start();
        }
    }

    /// Hands over what a check found.
    pub fn publish(&mut self, results: File) {
        self.latest = Some(results);
        self.look_after();
        let unheard = self.running.as_ref().and_then(|running| running.unheard);
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
        if let (Some(running), Some(latest)) = (&mut self.running, &self.latest) {
            running.send(latest);
        }
    }

    /// Ends the process, so that the port is free.
    pub fn end(mut self) {
        self.end_running();
    }

    fn end_running(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It lives at this moment, and nobody buries it before the next one: the process id is its own.
            if running.lives() {
                let _ = kill_process(running.pid, Signal::KILL);
            }
            running.bury();
        }
    }
}

impl Running {
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
    fn send(&mut self, results: &File) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [results.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let _ = sendmsg(&self.socket, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::NOSIGNAL);
        self.unheard.get_or_insert_with(Instant::now);
    }

    /// Waits for the end, which has begun.
    fn bury(&self) {
        while matches!(waitpid(Some(self.pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    }
}

/// What the process serves.
struct Served {
    site: Site,
    selector: Option<Selector>,
    socket: UnixStream,
}

impl Pages for Served {
    fn answer(&mut self, request: &Request<'_>) -> Response {
        // A pipe in the place of the file is not waited for.
        let own = || {
            self.selector
                .as_ref()
                .map(|selector| probe::wanted(selector, Instant::now()))
        };
        self.site.answer(request, own, Timestamp::now())
    }

    fn news(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn take_news(&mut self) -> bool {
        match receive(&self.socket) {
            Ok(Some(results)) => {
                // Those that are not whole are left alone.
                if let Some(results) = results.and_then(|file| read(&file)) {
                    self.site.results = Some(results);
                }
                // If the parent is gone, the next turn tells it.
                let _ = self.socket.write(b"!");
                true
            }
            Ok(None) => false,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

/// The descriptor that was sent. `None`: there will be none any more.
fn receive(socket: &UnixStream) -> Result<Option<Option<File>>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
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
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    });
    Ok(Some(descriptors.next().map(File::from)))
}

/// The file from its beginning, wherever its writer left it.
fn read(file: &File) -> Option<Results> {
    let length = file.metadata().ok()?.len();
    if length > LARGEST_RESULTS {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Results::from_text(&String::from_utf8(bytes).ok()?)
}
