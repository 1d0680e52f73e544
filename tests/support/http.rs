//! A few lines of bare HTTP: what an exporter or Prometheus itself says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The body of `http://127.0.0.1:port/path`, if that is there (status 200).
pub fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // In version 1.0 the end of the body is that of the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("no end of the headers"))?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{status}: {body}"))),
    }
}
