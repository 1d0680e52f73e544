//! All connections in one thread: none of them waits for another, and each has its bounds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::request::{LONGEST, Parsed, Request, parse};
use super::response::{Response, Status};

/// How many connections there may be. One more takes the place of the oldest that is not being answered.
pub const MOST: usize = 64;

/// How long a client may take to send its request.
const REQUEST: Duration = Duration::from_secs(1);

/// How long it may take to read the answer.
const REPLY: Duration = Duration::from_secs(5);

/// How long it may take to close the connection, so that what it still sends does not destroy what it has not read yet.
const CLOSE: Duration = Duration::from_secs(1);

/// How long to take no more connections if the system has no descriptor for one.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Who knows the pages.
pub trait Pages {
    /// The page that is asked for.
    fn answer(&mut self, request: &Request<'_>) -> Response;

    /// Where news come from.
    fn news(&self) -> BorrowedFd<'_>;

    /// Takes the news in. `false`: there will be no more, and nobody to serve for.
    fn take_news(&mut self) -> bool;
}

/// Answers requests until [`Pages::take_news`] says that it is over.
///
/// # Errors
///
/// That of the system, where it cannot wait.
pub fn serve(listener: &TcpListener, pages: &mut dyn Pages) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection> = Vec::with_capacity(MOST);
    let mut pause: Option<Instant> = None;
    loop {
        let now = Instant::now();
        pause = pause.filter(|until| *until > now);
        let ready = wait(listener, pages, &connections, pause, now)?;
        let now = Instant::now();
        let mut n = 0;
        connections.retain_mut(|connection| {
            n += 1;
            match ready.connections[n - 1] || connection.deadline <= now {
                true => connection.go_on(pages, now),
                false => true,
            }
        });
        if ready.news {
            // What is sent now may be sent to its end; what was old before is too old.
            connections.retain(|connection| !connection.is_old());
            connections.iter_mut().for_each(Connection::grow_old);
            if !pages.take_news() {
                return Ok(());
            }
        }
        if ready.listener {
            pause = accept(listener, pages, &mut connections).err();
        }
    }
}

/// What can go on.
struct Ready {
    news: bool,
    listener: bool,
    connections: Vec<bool>,
}

/// Waits until something can go on, or is late.
fn wait(
    listener: &TcpListener,
    pages: &dyn Pages,
    connections: &[Connection],
    pause: Option<Instant>,
    now: Instant,
) -> io::Result<Ready> {
    let listening = match pause {
        None => PollFlags::IN,
        Some(_) => PollFlags::empty(),
    };
    let mut polled = vec![
        PollFd::from_borrowed_fd(pages.news(), PollFlags::IN),
        PollFd::from_borrowed_fd(listener.as_fd(), listening),
    ];
    polled.extend(connections.iter().map(Connection::polled));
    let next = connections
        .iter()
        .map(|connection| connection.deadline)
        .chain(pause)
        .min();
    let left = next.and_then(|next| Timespec::try_from(next.saturating_duration_since(now)).ok());
    match poll(&mut polled, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok(Ready {
        news: ready.next().unwrap_or_default(),
        listener: ready.next().unwrap_or_default(),
        connections: ready.collect(),
    })
}

/// Takes the connections that wait, as many as there may be at once. The error is until when to take no more.
fn accept(listener: &TcpListener, pages: &mut dyn Pages, connections: &mut Vec<Connection>) -> Result<(), Instant> {
    for _ in 0..MOST {
        let now = Instant::now();
        match listener.accept() {
            Ok((stream, _)) => {
                let Ok(mut connection) = Connection::new(stream, now) else {
                    continue;
                };
                // Most clients have sent their request by now, and take the answer at once.
                if connection.go_on(pages, now) {
                    if connections.len() >= MOST {
                        connections.remove(the_one_to_leave(connections));
                    }
                    connections.push(connection);
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            // It was closed before it was taken.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(_) if connections.is_empty() => return Err(now + WITHOUT_DESCRIPTORS),
            Err(_) => {
                connections.remove(the_one_to_leave(connections));
                return Err(now + WITHOUT_DESCRIPTORS);
            }
        }
    }
    Ok(())
}

/// The oldest that is not being answered, or else the oldest.
fn the_one_to_leave(connections: &[Connection]) -> usize {
    let is_idle = |connection: &Connection| !matches!(connection.state, State::Replying(_));
    connections.iter().position(is_idle).unwrap_or(0)
}

struct Connection {
    stream: TcpStream,
    state: State,
    /// When the state has to have ended.
    deadline: Instant,
}

enum State {
    /// The request, as far as it has come.
    Requesting(Vec<u8>),
    Replying(Reply),
    /// Nothing more is to be said; what still comes is thrown away.
    Closing,
}

/// What is to be written, and how much of it was.
struct Reply {
    head: Vec<u8>,
    body: Rc<str>,
    written: usize,
    /// Whether there are newer pages.
    is_old: bool,
}

impl Reply {
    fn new(response: &Response, head_only: bool) -> Reply {
        Reply {
            head: response.head().into_bytes(),
            body: if head_only {
                Rc::from("")
            } else {
                Rc::clone(&response.body)
            },
            written: 0,
            is_old: false,
        }
    }

    fn rest(&self) -> &[u8] {
        match self.written.checked_sub(self.head.len()) {
            None => &self.head[self.written..],
            Some(of_body) => &self.body.as_bytes()[of_body..],
        }
    }
}

impl Connection {
    fn new(stream: TcpStream, now: Instant) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            state: State::Requesting(Vec::new()),
            deadline: now + REQUEST,
        })
    }

    fn polled(&self) -> PollFd<'_> {
        let flags = match self.state {
            State::Replying(_) => PollFlags::OUT,
            State::Requesting(_) | State::Closing => PollFlags::IN,
        };
        PollFd::from_borrowed_fd(self.stream.as_fd(), flags)
    }

    fn is_old(&self) -> bool {
        matches!(&self.state, State::Replying(reply) if reply.is_old)
    }

    fn grow_old(&mut self) {
        if let State::Replying(reply) = &mut self.state {
            reply.is_old = true;
        }
    }

    /// Reads and writes what is possible without waiting. `false`: the connection is to be closed.
    fn go_on(&mut self, pages: &mut dyn Pages, now: Instant) -> bool {
        let is_late = self.deadline <= now;
        if let State::Requesting(bytes) = &mut self.state {
            let Some(reply) = request(&mut self.stream, bytes, pages, is_late) else {
                return false;
            };
            let Some(reply) = reply else { return true };
            self.state = State::Replying(reply);
            self.deadline = now + REPLY;
        } else if is_late {
            return false;
        }
        if let State::Replying(reply) = &mut self.state {
            match write(&mut self.stream, reply) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            if self.stream.shutdown(Shutdown::Write).is_err() {
                return false;
            }
            self.state = State::Closing;
            self.deadline = now + CLOSE;
        }
        // One part in each turn: whoever sends without an end keeps nobody else waiting.
        match self.stream.read(&mut [0; LONGEST]) {
            Ok(1..) => true,
            Ok(0) => false,
            Err(e) => is_patience(&e),
        }
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reads on. `None`: the connection is over; `Some(None)`: the request is not whole yet.
fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>, pages: &mut dyn Pages, late: bool) -> Option<Option<Reply>> {
    let mut buffer = [0; LONGEST];
    let room = LONGEST.saturating_sub(bytes.len());
    match stream.read(&mut buffer[..room]) {
        Ok(0) => return None,
        Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        Err(e) if is_patience(&e) => {}
        Err(_) => return None,
    }
    let refusal = |status| Some(Some(Reply::new(&Response::refusal(status), false)));
    match parse(bytes) {
        Parsed::Request(request) => Some(Some(Reply::new(&pages.answer(&request), request.head_only))),
        Parsed::Refused(status) => refusal(status),
        // Who has said nothing is told nothing.
        Parsed::Partial if late && bytes.is_empty() => None,
        Parsed::Partial if late => refusal(Status::RequestTimeout),
        Parsed::Partial => Some(None),
    }
}

/// Writes on. Whether everything is written.
fn write(stream: &mut TcpStream, reply: &mut Reply) -> io::Result<bool> {
    while !reply.rest().is_empty() {
        match stream.write(reply.rest()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => reply.written += length,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if is_patience(&e) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}
