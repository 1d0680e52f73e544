//! All connections in one thread: none of them waits for another, and each has its bounds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::request::{HttpRequest, MAX_HEAD_BYTES, ParsedRequest, parse};
use super::response::{HttpResponse, HttpStatus};

/// Maximum number of connections. One more takes the place of the oldest that is not being answered.
pub const MAX_CONNECTIONS: usize = 64;

/// Time that a client has.
#[derive(Clone, Copy)]
struct Limits {
    /// To send its request.
    request: Duration,
    /// To read the reply.
    reply: Duration,
    /// Time limit for an answer that depends on news. A probe of Kubernetes has a second in all.
    answer: Duration,
}

const LIMITS: Limits = Limits {
    request: Duration::from_secs(1),
    reply: Duration::from_secs(5),
    answer: Duration::from_millis(800),
};

/// Time limit for closing the connection, so that bytes that still come do not destroy those not read yet.
const CLOSE: Duration = Duration::from_secs(1);

/// Time without new connections if the system has no descriptor for one.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    Now(HttpResponse),
    /// When there are news, or the time is up: then [`Pages::answer_later`] gets this ticket.
    Later(u64),
}

/// Source of the pages.
pub trait Pages {
    /// The page that is asked for.
    fn answer(&mut self, request: &HttpRequest<'_>) -> Answer;

    /// The page for which the client has waited; `None`: it is to wait on. `is_last`: it has no more time.
    fn answer_later(&mut self, request: &HttpRequest<'_>, ticket: u64, is_last: bool) -> Option<HttpResponse>;

    /// Where news come from.
    fn news(&self) -> BorrowedFd<'_>;

    /// Takes the news in. `false`: there will be no more, and nobody to serve for.
    fn receive_update(&mut self) -> bool;
}

/// Pages that only this machine may see.
struct OnlyHere<'p>(&'p mut dyn Pages);

impl Pages for OnlyHere<'_> {
    fn answer(&mut self, request: &HttpRequest<'_>) -> Answer {
        match request.is_for_loopback() {
            true => self.0.answer(request),
            false => Answer::Now(HttpResponse::refusal(HttpStatus::Misdirected)),
        }
    }

    fn answer_later(&mut self, request: &HttpRequest<'_>, ticket: u64, is_last: bool) -> Option<HttpResponse> {
        self.0.answer_later(request, ticket, is_last)
    }

    fn news(&self) -> BorrowedFd<'_> {
        self.0.news()
    }

    fn receive_update(&mut self) -> bool {
        self.0.receive_update()
    }
}

/// Answers requests until [`Pages::receive_update`] says that it is over. On a loopback address, only requests for one are answered.
///
/// # Errors
///
/// That of the system, where it cannot wait.
pub fn serve(listener: &TcpListener, pages: &mut dyn Pages) -> io::Result<()> {
    match listener.local_addr()?.ip().to_canonical().is_loopback() {
        true => serve_all(listener, &mut OnlyHere(pages), LIMITS),
        false => serve_all(listener, pages, LIMITS),
    }
}

fn serve_all(listener: &TcpListener, pages: &mut dyn Pages, limits: Limits) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection> = Vec::with_capacity(MAX_CONNECTIONS);
    let mut pause: Option<Instant> = None;
    loop {
        let now = Instant::now();
        pause = pause.filter(|until| *until > now);
        let ready = wait(listener, pages, &connections, pause, now)?;
        let now = Instant::now();
        let mut n = 0;
        connections.retain_mut(|connection| {
            n += 1;
            match ready.connections[n - 1] {
                // Poll reports no events for this socket, so it is broken.
                true if connection.is_waiting() => false,
                is_ready if is_ready || connection.deadline <= now => connection.advance(pages, now),
                _ => true,
            }
        });
        if ready.news {
            // A response in progress may complete; one that was in progress at the previous update, too, is closed.
            connections.retain(|connection| !connection.is_old());
            connections.iter_mut().for_each(Connection::mark_superseded);
            if !pages.receive_update() {
                return Ok(());
            }
            connections.retain_mut(|connection| !connection.is_waiting() || connection.advance(pages, now));
        }
        if ready.listener {
            pause = accept(listener, pages, &mut connections, limits).err();
        }
    }
}

/// Descriptors that are ready.
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
fn accept(
    listener: &TcpListener,
    pages: &mut dyn Pages,
    connections: &mut Vec<Connection>,
    limits: Limits,
) -> Result<(), Instant> {
    for _ in 0..MAX_CONNECTIONS {
        let now = Instant::now();
        match listener.accept() {
            Ok((stream, _)) => {
                let Ok(mut connection) = Connection::new(stream, now, limits) else {
                    continue;
                };
                // Most clients have sent the request by now, and receive the response at once.
                if connection.advance(pages, now) {
                    if connections.len() >= MAX_CONNECTIONS {
                        connections.remove(eviction_candidate(connections));
                    }
                    connections.push(connection);
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The client closed it before it was accepted.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(_) if connections.is_empty() => return Err(now + WITHOUT_DESCRIPTORS),
            Err(_) => {
                connections.remove(eviction_candidate(connections));
                return Err(now + WITHOUT_DESCRIPTORS);
            }
        }
    }
    Ok(())
}

/// The oldest that is not being answered, or else the oldest.
fn eviction_candidate(connections: &[Connection]) -> usize {
    let is_idle = |connection: &Connection| !matches!(connection.state, State::Waiting { .. } | State::Replying(_));
    connections.iter().position(is_idle).unwrap_or(0)
}

struct Connection {
    stream: TcpStream,
    state: State,
    /// When the state has to have ended.
    deadline: Instant,
    limits: Limits,
}

enum State {
    /// The request, as far as it has come.
    Requesting(Vec<u8>),
    /// The request is whole, and its answer depends on news.
    Waiting {
        bytes: Vec<u8>,
        ticket: u64,
    },
    Replying(Reply),
    /// Nothing more is to be said; what still comes is thrown away.
    Closing,
}

/// Reply to write, and the number of bytes written.
struct Reply {
    head: Vec<u8>,
    body: Rc<str>,
    written: usize,
    /// Set if there are newer pages.
    is_old: bool,
}

impl Reply {
    fn new(response: &HttpResponse, head_only: bool) -> Reply {
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
    fn new(stream: TcpStream, now: Instant, limits: Limits) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            state: State::Requesting(Vec::new()),
            deadline: now + limits.request,
            limits,
        })
    }

    fn polled(&self) -> PollFd<'_> {
        let flags = match self.state {
            State::Replying(_) => PollFlags::OUT,
            State::Waiting { .. } => PollFlags::empty(),
            State::Requesting(_) | State::Closing => PollFlags::IN,
        };
        PollFd::from_borrowed_fd(self.stream.as_fd(), flags)
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    fn is_old(&self) -> bool {
        matches!(&self.state, State::Replying(reply) if reply.is_old)
    }

    fn mark_superseded(&mut self) {
        if let State::Replying(reply) = &mut self.state {
            reply.is_old = true;
        }
    }

    fn reply(&mut self, response: &HttpResponse, head_only: bool, now: Instant) {
        self.state = State::Replying(Reply::new(response, head_only));
        self.deadline = now + self.limits.reply;
    }

    /// Reads and writes what is possible without waiting. `false`: the connection is to be closed.
    fn advance(&mut self, pages: &mut dyn Pages, now: Instant) -> bool {
        let is_late = self.deadline <= now;
        match &mut self.state {
            State::Requesting(bytes) => match request(&mut self.stream, bytes, pages, is_late) {
                Received::Nothing => return false,
                Received::Part => return true,
                Received::Request(Answer::Now(response), head_only) => self.reply(&response, head_only, now),
                Received::Request(Answer::Later(ticket), _) => {
                    let bytes = std::mem::take(bytes);
                    self.state = State::Waiting { bytes, ticket };
                    self.deadline = now + self.limits.answer;
                    return true;
                }
            },
            State::Waiting { bytes, ticket } => {
                let ParsedRequest::Complete(request) = parse(bytes) else {
                    return false;
                };
                match pages.answer_later(&request, *ticket, is_late) {
                    Some(response) => {
                        let head_only = request.head_only;
                        self.reply(&response, head_only, now);
                    }
                    None => return !is_late,
                }
            }
            State::Replying(_) | State::Closing if is_late => return false,
            State::Replying(_) | State::Closing => {}
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
        // One part in each turn: an endless sender delays no other client.
        match self.stream.read(&mut [0; MAX_HEAD_BYTES]) {
            Ok(1..) => true,
            Ok(0) => false,
            Err(e) => is_patience(&e),
        }
    }
}

/// Result of a request.
enum Received {
    /// The connection is over.
    Nothing,
    /// It is not whole yet.
    Part,
    /// Its answer, and whether that goes without its body.
    Request(Answer, bool),
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reads on.
fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>, pages: &mut dyn Pages, late: bool) -> Received {
    let mut buffer = [0; MAX_HEAD_BYTES];
    let room = MAX_HEAD_BYTES.saturating_sub(bytes.len());
    match stream.read(&mut buffer[..room]) {
        Ok(0) => return Received::Nothing,
        Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        Err(e) if is_patience(&e) => {}
        Err(_) => return Received::Nothing,
    }
    let refusal = |status| Received::Request(Answer::Now(HttpResponse::refusal(status)), false);
    match parse(bytes) {
        ParsedRequest::Complete(request) => Received::Request(pages.answer(&request), request.head_only),
        ParsedRequest::Refused(status) => refusal(status),
        // A client that has sent nothing receives no response.
        ParsedRequest::Partial if late && bytes.is_empty() => Received::Nothing,
        ParsedRequest::Partial if late => refusal(HttpStatus::RequestTimeout),
        ParsedRequest::Partial => Received::Part,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::response::Content;
    use std::net::SocketAddr;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    /// More than the system buffers for a connection.
    const LARGE: usize = 32 * 1024 * 1024;

    /// A large page, and a small one.
    struct TwoPages {
        large: Rc<str>,
        news: UnixStream,
        /// Number of updates that were received.
        updates: Arc<AtomicUsize>,
    }

    impl Pages for TwoPages {
        fn answer(&mut self, request: &HttpRequest<'_>) -> Answer {
            match request.path {
                "/large" => Answer::Now(HttpResponse::new(HttpStatus::Ok, Content::Text, Rc::clone(&self.large))),
                "/later" => Answer::Later(1 + self.updates.load(SeqCst) as u64),
                _ => Answer::Now(HttpResponse::new(HttpStatus::Ok, Content::Text, "small")),
            }
        }

        /// The ticket is the number of the update that it waits for.
        fn answer_later(&mut self, _: &HttpRequest<'_>, ticket: u64, is_last: bool) -> Option<HttpResponse> {
            let is_there = self.updates.load(SeqCst) as u64 >= ticket;
            let text = if is_there { "new" } else { "old" };
            (is_there || is_last).then(|| HttpResponse::new(HttpStatus::Ok, Content::Text, text))
        }

        fn news(&self) -> BorrowedFd<'_> {
            self.news.as_fd()
        }

        fn receive_update(&mut self) -> bool {
            self.updates.fetch_add(1, SeqCst);
            matches!(self.news.read(&mut [0]), Ok(1))
        }
    }

    const NO_LIMITS: Limits = Limits {
        request: Duration::from_secs(3600),
        reply: Duration::from_secs(3600),
        answer: Duration::from_secs(3600),
    };

    /// A server that ends with the socket.
    fn start(limits: Limits) -> (SocketAddr, UnixStream) {
        start_counting(limits, Arc::default())
    }

    /// The same, counting the updates that it receives.
    fn start_counting(limits: Limits, updates: Arc<AtomicUsize>) -> (SocketAddr, UnixStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (news, ours) = UnixStream::pair().expect("a pair");
        thread::spawn(move || {
            let large = "x".repeat(LARGE).into();
            serve_all(&listener, &mut TwoPages { large, news, updates }, limits).expect("it can wait");
        });
        (address, ours)
    }

    fn connect(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    const LARGE_PAGE: &str = "GET /large HTTP/1.0\r\n\r\n";
    const SMALL_PAGE: &str = "GET / HTTP/1.0\r\n\r\n";

    /// Reads all that comes. Returns its length, and `true` at the end of the stream.
    fn read(mut stream: TcpStream) -> (usize, bool) {
        let mut bytes = Vec::new();
        let whole = stream.read_to_end(&mut bytes).is_ok();
        let head = bytes
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .map_or(0, |at| at + 4);
        (bytes.len() - head, whole)
    }

    #[test]
    fn a_large_page_is_sent_whole_to_a_slow_reader() {
        let (address, _news) = start(NO_LIMITS);
        let slow = connect(address, LARGE_PAGE);
        for _ in 0..5 {
            assert_eq!(read(connect(address, SMALL_PAGE)), (5, true), "nobody waits for it");
        }
        assert_eq!(read(slow), (LARGE, true));
    }

    #[test]
    fn a_client_that_does_not_read_its_reply_is_disconnected() {
        let (address, _news) = start(Limits {
            reply: Duration::ZERO,
            ..NO_LIMITS
        });
        let stuck = connect(address, LARGE_PAGE);
        // Its turn was earlier.
        assert_eq!(read(connect(address, SMALL_PAGE)), (5, true));
        assert!(read(stuck).0 < LARGE);
    }

    /// A page that is no more than one check old is sent to its end. So there are two at most, however many read slowly.
    #[test]
    fn a_page_of_two_checks_ago_is_not_sent_on() {
        let updates = Arc::new(AtomicUsize::new(0));
        let (address, mut news) = start_counting(NO_LIMITS, Arc::clone(&updates));
        let stuck = connect(address, LARGE_PAGE);
        let mut update = |nth| {
            assert_eq!(read(connect(address, SMALL_PAGE)), (5, true));
            news.write_all(b"!").expect("news");
            while updates.load(SeqCst) < nth {
                thread::yield_now();
            }
            // Not before the update has taken effect.
            assert_eq!(read(connect(address, SMALL_PAGE)), (5, true));
        };
        update(1);
        let late = connect(address, LARGE_PAGE);
        update(2);
        assert!(read(stuck).0 < LARGE);
        assert_eq!(read(late), (LARGE, true));
    }

    #[test]
    fn page_waits_for_a_new_check_within_a_limit() {
        let later = |address| connect(address, "GET /later HTTP/1.0\r\n\r\n");
        let text = |mut stream: TcpStream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("a reply");
            text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
        };
        let (address, mut news) = start(NO_LIMITS);
        let waiting = [later(address), later(address)];
        // A client that has left is no error.
        drop(later(address));
        assert_eq!(read(connect(address, SMALL_PAGE)), (5, true), "nobody waits for them");
        news.write_all(b"!").expect("news");
        assert_eq!(waiting.map(text), ["new", "new"]);
        let (address, _news) = start(Limits {
            answer: Duration::from_millis(1),
            ..NO_LIMITS
        });
        assert_eq!(text(later(address)), "old");
    }

    #[test]
    fn the_oldest_that_is_not_being_answered_makes_room() {
        let (address, _news) = start(NO_LIMITS);
        let answered = connect(address, LARGE_PAGE);
        let oldest = connect(address, "GET /");
        let others: Vec<TcpStream> = (0..MAX_CONNECTIONS - 1).map(|_| connect(address, "GET /")).collect();
        assert_eq!(read(oldest).0, 0);
        assert_eq!(read(answered), (LARGE, true));
        drop(others);
    }

    #[test]
    fn server_ends_when_its_parent_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (news, ours) = UnixStream::pair().expect("a pair");
        let server = thread::spawn(move || {
            serve(
                &listener,
                &mut TwoPages {
                    large: "".into(),
                    news,
                    updates: Arc::default(),
                },
            )
            .is_ok()
        });
        drop(ours);
        assert!(server.join().expect("it ends"));
    }
}
