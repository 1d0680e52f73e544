//! A few lines of bare HTTP: what an exporter, Prometheus itself or our own server says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The body of `http://127.0.0.1:port/path`, if that is there (status 200).
pub fn get(port: u16, path: &str) -> io::Result<String> {
    let reply = ask(port, "GET", path)?;
    match reply.status {
        200 => Ok(reply.body),
        status => Err(io::Error::other(format!("{status}: {}", reply.body))),
    }
}

/// Reply of a server to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// The whole answer.
pub fn ask(port: u16, method: &str, path: &str) -> io::Result<Reply> {
    // In version 1.0 the end of the body is that of the connection.
    send(
        port,
        format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes(),
    )
}

/// The answer to whatever bytes.
pub fn send(port: u16, bytes: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes)?;
    read(&mut stream)
}

/// The answer that comes on a connection.
pub fn read(stream: &mut TcpStream) -> io::Result<Reply> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other(format!("no end of the headers: {answer:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(|| io::Error::other(format!("no status: {head:?}")))?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// The body of the first answer with this status.
#[track_caller]
pub fn wait_for_status(port: u16, path: &str, status: u16) -> String {
    super::wait_for(&format!("{path} {status}"), || {
        let reply = ask(port, "GET", path).ok()?;
        (reply.status == status).then_some(reply.body)
    })
}
