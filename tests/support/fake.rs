//! A NATS server that does what a script says: the hostile, the broken and the rare.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::LIMIT;
use super::server::free_port;

/// Runs a script for each connection, each in a thread of its own, until it is dropped.
pub struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicUsize,
    received: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Fake {
    /// An error of the script ends its connection, and is no failure: the client may leave when it likes. The connection is
    /// closed when the script ends; use [`Conn::hold`] to keep it.
    pub fn start(script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> Fake {
        // Not one that the kernel hands out: it could be that of a server just gone, whose clients still ask for it.
        loop {
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", free_port())) {
                return Fake::listening(listener, script);
            }
        }
    }

    /// In the place of a server that has been stopped.
    pub fn on(port: u16, script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> Fake {
        Fake::listening(TcpListener::bind(("127.0.0.1", port)).unwrap(), script)
    }

    fn listening(listener: TcpListener, script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> Fake {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = thread::spawn({
            let shared = shared.clone();
            let script = Arc::new(script);
            move || {
                let mut scripts = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    if shared.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
                    let mut conn = Conn::new(stream, shared.clone());
                    let script = script.clone();
                    scripts.push(thread::spawn(move || {
                        let _ = script(&mut conn);
                    }));
                }
                drop(listener);
                // Wakes the scripts that wait for something.
                for stream in shared.streams.lock().unwrap().iter() {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                let panicked = scripts.into_iter().filter_map(|script| script.join().err()).count();
                assert_eq!(panicked, 0, "scripts of a fake server that panicked");
            }
        });
        Fake {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of requests for a service, and that of their inboxes.
    pub fn rounds(&self) -> (usize, usize) {
        let received = self.received();
        let requests = received.iter().filter(|line| line.starts_with("PUB $SRV.PING."));
        let inboxes: Vec<&str> = requests.filter_map(|line| line.split(' ').nth(2)).collect();
        (inboxes.len(), inboxes.iter().collect::<HashSet<_>>().len())
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// All protocol lines that clients have sent (and the scripts have read), without their line ends and payloads.
    pub fn received(&self) -> Vec<String> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let end = self.acceptor.take().unwrap().join();
        if !thread::panicking() {
            end.expect("no script panics");
        }
    }
}

/// Message that a client has published.
#[derive(Clone, Debug)]
pub struct Request {
    pub subject: String,
    /// Empty when it wants no reply.
    pub reply: String,
    /// The client's number for its subscription to `reply`; empty when it has none.
    pub sid: String,
    pub payload: Vec<u8>,
}

/// One connection, from the server's side. Each wait ends with an error after [`LIMIT`].
pub struct Conn {
    reader: BufReader<TcpStream>,
    shared: Arc<Shared>,
    subscriptions: HashMap<String, String>,
    answer_pings: bool,
}

impl Conn {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Conn {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Conn {
            reader: BufReader::new(stream),
            shared,
            subscriptions: HashMap::new(),
            answer_pings: true,
        }
    }

    /// The INFO of an ordinary server.
    pub fn send_info(&mut self) -> io::Result<()> {
        self.send_info_with(json!({}))
    }

    /// The same with some fields set to something else (`{"tls_required": true}`); `null` leaves one out.
    pub fn send_info_with(&mut self, fields: Value) -> io::Result<()> {
        let address = self.reader.get_ref().local_addr()?;
        let mut info = json!({
            "server_id": "NFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAK",
            "server_name": "fake",
            "version": "2.10.25",
            "go": "go1.23",
            "proto": 1,
            "host": "127.0.0.1",
            "port": address.port(),
            "headers": true,
            "max_payload": 1_048_576,
            "client_id": self.shared.connections.load(Ordering::SeqCst),
            "client_ip": "127.0.0.1",
        });
        for (name, value) in fields.as_object().unwrap() {
            info[name] = value.clone();
        }
        info.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.send_raw(format!("INFO {info}\r\n").as_bytes())
    }

    /// INFO, CONNECT, PING, PONG. Returns the client's CONNECT.
    pub fn handshake(&mut self) -> io::Result<Value> {
        self.handshake_with(json!({}))
    }

    pub fn handshake_with(&mut self, info: Value) -> io::Result<Value> {
        self.send_info_with(info)?;
        let line = self.read_line()?;
        let connect = line
            .strip_prefix("CONNECT ")
            .ok_or_else(|| io::Error::other(line.clone()))?;
        let connect = serde_json::from_str(connect)?;
        while self.read_line()? != "PING" {}
        self.send_raw(b"PONG\r\n")?;
        Ok(connect)
    }

    /// The next protocol line, whatever it is, without its line end. PING is not answered. An error at the end.
    pub fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end_matches(['\r', '\n']).to_string();
        self.shared.received.lock().unwrap().push(line.clone());
        Ok(line)
    }

    /// The next message the client publishes. Takes note of its subscriptions, and answers PING unless told not to. A PING
    /// behind the request is answered by the next call: after what the script sends now.
    pub fn read_request(&mut self) -> io::Result<Request> {
        loop {
            if let Some(request) = self.read_one()? {
                return Ok(request);
            }
        }
    }

    /// Keeps the connection for a while, or until the client closes it: says nothing but PONG (and not even that after
    /// `answer_pings(false)`).
    pub fn hold(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A time limit may only hit between lines: `fill_buf` consumes nothing.
            self.reader.get_ref().set_read_timeout(Some(left))?;
            let buffered = self.reader.fill_buf().map(<[u8]>::len);
            self.reader.get_ref().set_read_timeout(Some(LIMIT))?;
            match buffered {
                Ok(0) => break,
                Ok(_) => drop(self.read_one()?),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets whether [`Conn::read_request`] and [`Conn::hold`] answer PING. They do at first.
    pub fn answer_pings(&mut self, answer: bool) {
        self.answer_pings = answer;
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// A reply, as MSG.
    pub fn reply(&mut self, request: &Request, payload: &[u8]) -> io::Result<()> {
        let head = format!("MSG {} {} {}\r\n", request.reply, request.sid, payload.len());
        self.send_raw(&[head.as_bytes(), payload, b"\r\n"].concat())
    }

    /// A reply with headers, as HMSG; `headers` begin with `NATS/1.0` and end with an empty line.
    pub fn reply_with_headers(&mut self, request: &Request, headers: &str, payload: &[u8]) -> io::Result<()> {
        let (size, total) = (headers.len(), headers.len() + payload.len());
        let head = format!("HMSG {} {} {size} {total}\r\n{headers}", request.reply, request.sid);
        self.send_raw(&[head.as_bytes(), payload, b"\r\n"].concat())
    }

    /// The status line that says: nobody is subscribed to this.
    pub fn no_responders(&mut self, request: &Request) -> io::Result<()> {
        self.reply_with_headers(request, "NATS/1.0 503\r\n\r\n", b"")
    }

    /// Ends the connection in order: the client reads all that was sent, then the end.
    pub fn close(&mut self) -> io::Result<()> {
        self.reader.get_ref().shutdown(Shutdown::Write)?;
        // Closing with something unread would be a reset, which can overtake what was sent.
        self.reader.get_ref().set_read_timeout(Some(Duration::from_secs(1)))?;
        io::copy(&mut (&mut self.reader).take(1 << 20), &mut io::sink())?;
        self.reader.get_ref().shutdown(Shutdown::Both)
    }

    /// Resets the connection once the client has sent something: what was sent to it before can be lost.
    pub fn reset(&mut self) -> io::Result<()> {
        let stream = self.reader.get_ref();
        stream.peek(&mut [0])?;
        // SAFETY: a zeroed sockaddr is valid and of no family, which dissolves the connection; the descriptor is open.
        let result = unsafe {
            let nobody: libc::sockaddr = std::mem::zeroed();
            libc::connect(stream.as_raw_fd(), &nobody, size_of::<libc::sockaddr>() as u32)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn read_one(&mut self) -> io::Result<Option<Request>> {
        let line = self.read_line()?;
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["PING"] if self.answer_pings => self.send_raw(b"PONG\r\n")?,
            ["SUB", subject, .., sid] => drop(self.subscriptions.insert(sid.to_string(), subject.to_string())),
            ["UNSUB", sid] => drop(self.subscriptions.remove(*sid)),
            ["PUB" | "HPUB", subject, sizes @ ..] => {
                let reply = if sizes.len() == if words[0] == "PUB" { 2 } else { 3 } {
                    sizes[0]
                } else {
                    ""
                };
                let size: usize = sizes
                    .last()
                    .and_then(|size| size.parse().ok())
                    .ok_or(io::ErrorKind::InvalidData)?;
                let mut payload = vec![0; size + 2];
                self.reader.read_exact(&mut payload)?;
                payload.truncate(size);
                let sid = self
                    .subscriptions
                    .iter()
                    .find(|(_, pattern)| subject_matches(pattern, reply));
                return Ok(Some(Request {
                    subject: subject.to_string(),
                    reply: reply.to_string(),
                    sid: sid.map(|(sid, _)| sid.clone()).unwrap_or_default(),
                    payload,
                }));
            }
            _ => {} // CONNECT, PONG, UNSUB with a count
        }
        Ok(None)
    }
}

fn subject_matches(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    let mut pattern = pattern.split('.');
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(pattern), Some(subject)) if pattern == subject => {}
            _ => return false,
        }
    }
}

impl Drop for Conn {
    /// The acceptor has a clone of the stream: the connection would outlive a script that ends, or panics.
    fn drop(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;

    #[test]
    fn subjects() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
        ] {
            assert_eq!(subject_matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn an_ordinary_server_to_a_client() {
        let fake = Fake::start(|conn| {
            conn.handshake()?;
            while let Ok(request) = conn.read_request() {
                match request.subject.as_str() {
                    "$SRV.PING.orders" => {
                        conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
                        conn.reply_with_headers(
                            &request,
                            "NATS/1.0\r\nX: 1\r\n\r\n",
                            br#"{"name":"orders","id":"B"}"#,
                        )?;
                    }
                    "silence" => {}
                    _ => conn.no_responders(&request)?,
                }
            }
            Ok(())
        });
        #[allow(deprecated)]
        let client = nats::Options::new()
            .reconnect_delay_callback(|_| Duration::ZERO)
            .connect(fake.url())
            .unwrap();
        let replies = client.request_multi("$SRV.PING.orders", "").unwrap();
        for id in ["A", "B"] {
            let reply = replies.next_timeout(LIMIT).unwrap();
            assert!(String::from_utf8_lossy(&reply.data).contains(id));
        }
        let error = client.request_timeout("nobody", "", LIMIT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        let error = client
            .request_timeout("silence", "", Duration::from_millis(100))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        client.flush().unwrap();
        client.close();
        assert_eq!(fake.connections(), 1);
        let received = fake.received();
        assert!(received[0].starts_with("CONNECT {"), "{received:?}");
        assert!(
            received.iter().any(|line| line.starts_with("PUB $SRV.PING.orders ")),
            "{received:?}"
        );
    }

    #[test]
    fn a_script_says_all() {
        let fake = Fake::start(|conn| {
            conn.send_info_with(json!({"server_name": "mine", "go": null}))?;
            assert_eq!(conn.read_line()?, "hello");
            conn.send_raw(b"what?\r\n")?;
            conn.close()
        });
        let mut stream = TcpStream::connect(("127.0.0.1", fake.port())).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(b"hello\r\nand more, unread").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (info, rest) = text.split_once("\r\n").unwrap();
        assert!(
            info.contains(r#""server_name":"mine""#) && !info.contains(r#""go""#),
            "{info}"
        );
        assert_eq!(rest, "what?\r\n");
        assert_eq!(fake.received(), ["hello"]);
    }

    #[test]
    fn holding_answers_pings_or_not() {
        let fake = Fake::start(|conn| {
            conn.handshake()?;
            conn.answer_pings(conn.shared.connections.load(Ordering::SeqCst) == 1);
            conn.hold(LIMIT)
        });
        for expected in [true, false] {
            let mut stream = TcpStream::connect(("127.0.0.1", fake.port())).unwrap();
            stream.write_all(b"CONNECT {}\r\nPING\r\n").unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            assert!(lines.next().unwrap().unwrap().starts_with("INFO "));
            assert_eq!(lines.next().unwrap().unwrap(), "PONG");
            stream.write_all(b"PING\r\n").unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(if expected { 20_000 } else { 200 })))
                .unwrap();
            assert_eq!(lines.next().unwrap().is_ok(), expected);
        }
        let start = Instant::now();
        drop(fake);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a script that waits does not keep the test"
        );
    }

    #[test]
    fn a_panic_of_a_script_is_a_failure() {
        let fake = Fake::start(|conn| {
            assert_eq!(conn.read_line()?, "something else");
            Ok(())
        });
        let mut stream = TcpStream::connect(("127.0.0.1", fake.port())).unwrap();
        stream.write_all(b"hello\r\n").unwrap();
        let _ = stream.read(&mut [0]);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(fake))).is_err());
    }

    #[test]
    fn the_raw_client_reads_what_the_fake_says() {
        let fake = Fake::start(|conn| {
            conn.send_info()?;
            let request = conn.read_request()?;
            conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
            conn.reply_with_headers(&request, "NATS/1.0\r\n\r\n", br#"{"name":"orders","id":"B"}"#)?;
            conn.hold(LIMIT)
        });
        let ids = raw::ping(&fake.url(), "orders", 2).unwrap();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["A", "B"]);
    }
}
