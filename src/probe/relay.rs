//! A relay in this process, between the client and a server: it changes what the client cannot read, and nothing else.
//!
//! The client drops the connection for an INFO of more than 4096 bytes, for a header that is not UTF-8, and for a line that a
//! long reply subject makes too long. One such instance, or a large cluster, would hide every other instance. The relay is
//! used for those connections only that need it, and never with TLS, which it could not look into.
//!
//! It listens on the loopback address, for one connection, and takes none but that of this process.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use crate::probe::sockets;

/// Name of the header that the relay adds to a message whose headers it has changed.
pub const CHANGED: &str = "Changed-By-Relay";

/// Maximum length in bytes of a line that the client reads.
const CLIENT_LINE: usize = 4096;

/// Maximum length in bytes of a line, and of the headers of a message, that the relay looks into.
const MAX_LOOKED_INTO: usize = 1024 * 1024;

/// Version line of the headers of a message.
const VERSION_LINE: &str = "NATS/1.0";

/// Connects to the server, and relays the connection that the client is about to make to the address returned. Ends with
/// either of them. Returns `None` where there is no loopback address to listen on.
///
/// # Errors
///
/// Those of the connection to the server.
pub fn start(server: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let loopback = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    ];
    let Some((listener, address)) = TcpListener::bind(&loopback[..])
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .ok()
    else {
        return Ok(None);
    };
    let server = TcpStream::connect(server)?;
    server.set_nodelay(true)?;
    thread::Builder::new().name("relay".to_owned()).spawn(move || {
        if let Ok(client) = accept(&listener) {
            drop(listener);
            let _ = relay(&client, &server);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    })?;
    Ok(Some(address))
}

/// Accepts the connection of this process. Another user of the host must not get into the connection to the server.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        let (client, peer) = listener.accept()?;
        if sockets::is_own(peer, client.local_addr()?) {
            client.set_nodelay(true)?;
            return Ok(client);
        }
    }
}

fn relay(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::Builder::new().name("relay".to_owned()).spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    })?;
    let mut reader = BufReader::with_capacity(32 * 1024, server);
    let mut writer = BufWriter::with_capacity(32 * 1024, client);
    let end = pass_on(&mut reader, &mut writer);
    writer.flush()?;
    end
}

/// Passes on what the server sends, readable for the client.
fn pass_on(reader: &mut BufReader<impl Read>, writer: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        if reader.buffer().is_empty() {
            writer.flush()?;
        }
        line.clear();
        reader
            .by_ref()
            .take(MAX_LOOKED_INTO as u64)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let verb = words.first().map(|verb| verb.to_ascii_uppercase()).unwrap_or_default();
        match (verb.as_str(), &words[..]) {
            ("INFO", _) => {
                let info: Value = serde_json::from_str(text.trim_start()["INFO".len()..].trim()).unwrap_or_default();
                if info["tls_required"] == true {
                    // If the client continues, everything that follows is TLS.
                    writer.write_all(&line)?;
                    writer.flush()?;
                    return copy(reader, writer, u64::MAX);
                }
                writer.write_all(&short_info(&line, &info))?;
            }
            ("MSG", [_, subject, sid, .., size]) if words.len() <= 5 && size.parse::<u32>().is_ok() => {
                // Without the reply subject, which nobody uses.
                write!(writer, "MSG {subject} {sid} {size}\r\n")?;
                copy(reader, writer, size.parse().unwrap_or(0) + 2)?;
            }
            ("HMSG", [_, subject, sid, .., header_size, size]) if words.len() <= 6 => {
                match (header_size.parse::<u32>(), size.parse::<u32>()) {
                    (Ok(header_size), Ok(size)) if header_size <= size && header_size as usize <= MAX_LOOKED_INTO => {
                        let mut headers = vec![0; header_size as usize];
                        reader.read_exact(&mut headers)?;
                        let headers = readable(&headers);
                        let payload = size - header_size;
                        let size = headers.len() as u64 + u64::from(payload);
                        write!(writer, "HMSG {subject} {sid} {} {size}\r\n", headers.len())?;
                        writer.write_all(&headers)?;
                        copy(reader, writer, u64::from(payload) + 2)?;
                    }
                    _ => writer.write_all(&line)?,
                }
            }
            _ => writer.write_all(&line)?,
        }
    }
}

fn copy(reader: &mut impl Read, writer: &mut impl Write, size: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(size), writer)? {
        copied if copied < size && size != u64::MAX => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// An INFO as it came, or without the addresses of the other servers where it is too long for the client.
fn short_info<'l>(line: &'l [u8], info: &Value) -> Cow<'l, [u8]> {
    if line.len() <= CLIENT_LINE {
        return line.into();
    }
    let mut info = info.clone();
    if let Some(fields) = info.as_object_mut() {
        fields.retain(|name, _| !["connect_urls", "ws_connect_urls"].contains(&name.as_str()));
    }
    format!("INFO {info}\r\n").into_bytes().into()
}

/// The headers as they came, or what the client can read of them and [`CHANGED`].
fn readable(headers: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(headers);
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    let mut changed = matches!(text, Cow::Owned(_)) || !version.starts_with(VERSION_LINE);
    let mut kept = match version.starts_with(VERSION_LINE) {
        true => format!("{version}\r\n"),
        false => format!("{VERSION_LINE}\r\n"),
    };
    let mut continues = false;
    for line in lines.filter(|line| !line.is_empty()) {
        // A line that begins with white space continues the previous line.
        continues = line.contains(':') || continues && line.starts_with([' ', '\t']);
        changed |= !continues;
        if continues {
            kept.push_str(line);
            kept.push_str("\r\n");
        }
    }
    match changed {
        true => format!("{kept}{CHANGED}:\r\n\r\n").into_bytes().into(),
        false => headers.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(sent: &[u8]) -> String {
        let mut received = Vec::new();
        let _ = pass_on(&mut BufReader::with_capacity(16, sent), &mut received);
        String::from_utf8(received).expect("UTF-8")
    }

    #[test]
    fn what_the_client_reads_is_passed_on_as_it_is() {
        for sent in [
            "INFO {\"server_id\":\"X\"}\r\n",
            "PING\r\nPONG\r\n+OK\r\n-ERR 'x'\r\n",
            "MSG a.b 1 5\r\nhello\r\nMSG a 1 0\r\n\r\n",
            "HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            "HMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            "HMSG a 1 28 28\r\nNATS/1.0\r\nA:b\r\n c\r\nD: \u{fc}\r\n\r\n\r\n",
            "HMSG a 1 9 2\r\nMSG a 1 x\r\nMSG a\r\nnonsense",
            "INFO {\"tls_required\":true}\r\n\u{16}\u{3}MSG a b 1 1\r\n",
        ] {
            assert_eq!(passed_on(sent.as_bytes()), sent, "{sent}");
        }
    }

    #[test]
    fn the_reply_subject_is_left_out() {
        let long = "r".repeat(10_000);
        let sent = format!("MSG a  1 {long} 2\r\nhi\r\nHMSG a 1 {long} 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
        let expected = "MSG a 1 2\r\nhi\r\nHMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        assert_eq!(passed_on(sent.as_bytes()), expected);
    }

    #[test]
    fn a_long_info_loses_the_addresses_of_other_servers() {
        let urls: Vec<String> = (0..300).map(|n| format!("10.0.0.{n}:4222")).collect();
        let urls = serde_json::to_string(&urls).expect("JSON");
        let sent = format!("INFO {{\"connect_urls\":{urls},\"nonce\":\"N\",\"ws_connect_urls\":{urls}}}\r\nPING\r\n");
        assert_eq!(passed_on(sent.as_bytes()), "INFO {\"nonce\":\"N\"}\r\nPING\r\n");
    }

    #[test]
    fn headers_that_the_client_cannot_read_are_changed_and_marked() {
        let cases: [(&[u8], &str); 5] = [
            (b"NATS/1.0\r\nX: M\xfcller\r\n\r\n", "NATS/1.0\r\nX: M\u{fffd}ller\r\n"),
            (
                b"NATS/1.0\r\nNats-Service-Error-Code:500\r\nNats-Service-Error:\xff\r\n\r\n",
                "NATS/1.0\r\nNats-Service-Error-Code:500\r\nNats-Service-Error:\u{fffd}\r\n",
            ),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\n"),
            (
                b"NATS/1.0\r\nnonsense\r\n continued\r\nA: b\r\n\r\n",
                "NATS/1.0\r\nA: b\r\n",
            ),
            (b"", "NATS/1.0\r\n"),
        ];
        for (headers, kept) in cases {
            let kept = format!("{kept}{CHANGED}:\r\n\r\n");
            let sent = [
                format!("HMSG a 1 {} {}\r\n", headers.len(), headers.len() + 2).as_bytes(),
                headers,
                b"hi\r\n",
            ]
            .concat();
            let expected = format!("HMSG a 1 {} {}\r\n{kept}hi\r\n", kept.len(), kept.len() + 2);
            assert_eq!(passed_on(&sent), expected);
        }
    }

    #[test]
    fn only_this_process_gets_in() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a server");
        let address = start(server.local_addr().expect("its address")).expect("a relay");
        let address = address.expect("a loopback address");
        let mut client = TcpStream::connect(address).expect("a connection");
        let (mut server, _) = server.accept().expect("the other end");
        client.write_all(b"CONNECT\r\n").expect("a write");
        server.read_exact(&mut [0; 9]).expect("what the client sent");
        server.write_all(b"PONG\r\n").expect("a write");
        drop(server);
        let mut received = String::new();
        client.read_to_string(&mut received).expect("the end");
        assert_eq!(received, "PONG\r\n");
        assert!(TcpStream::connect(address).is_err(), "it listens for one connection");
    }
}
