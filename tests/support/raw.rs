//! A few lines of bare NATS protocol: what the network says, without any client library, ours included.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use url::Url;

/// The ids that answer `$SRV.PING.<name>`: none at once with "no responders", else all that answer until `expected` have,
/// or until nothing more came for 300 ms. User and password may be in the URL. No TLS.
pub fn ping(url: &str, name: &str, expected: usize) -> io::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for payload in ask(url, &format!("$SRV.PING.{name}"), expected)? {
        let reply: serde_json::Value = serde_json::from_slice(&payload)?;
        assert_eq!(reply["name"], name, "{reply}");
        ids.insert(reply["id"].as_str().expect("an id").to_string());
    }
    Ok(ids)
}

/// The payloads of the replies to an empty request.
pub fn ask(url: &str, subject: &str, expected: usize) -> io::Result<Vec<Vec<u8>>> {
    request(url, subject, "", expected)
}

/// The payloads of the replies to a request.
pub fn request(url: &str, subject: &str, payload: &str, expected: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut reader = connect(url)?;
    let size = payload.len();
    // One of its own: others may ask at the same time, and in a cluster all subscriptions are of one net.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let inbox = format!("_INBOX.raw.{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let text = format!("SUB {inbox} 1\r\nPUB {subject} {inbox} {size}\r\n{payload}\r\n");
    reader.get_mut().write_all(text.as_bytes())?;

    let mut replies = Vec::new();
    let mut patience = Instant::now() + Duration::from_secs(1);
    while replies.len() < expected || expected == 0 {
        let left = patience.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        reader.get_ref().set_read_timeout(Some(left))?;
        let line = match read_line(&mut reader) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            line => line?,
        };
        let words: Vec<_> = line.split_whitespace().collect();
        let (verb, sizes) = (words[0], words.last().unwrap());
        match verb {
            "PING" => reader.get_mut().write_all(b"PONG\r\n")?,
            "-ERR" => return Err(io::Error::other(line)),
            "MSG" | "HMSG" => {
                let mut payload = vec![0; sizes.parse::<usize>().unwrap() + 2];
                reader.read_exact(&mut payload)?;
                payload.truncate(payload.len() - 2);
                if verb == "HMSG" {
                    if payload.starts_with(b"NATS/1.0 503") {
                        break;
                    }
                    payload.drain(..words[words.len() - 2].parse::<usize>().unwrap());
                }
                replies.push(payload);
                patience = Instant::now() + Duration::from_millis(300);
            }
            _ => {} // INFO, PONG
        }
    }
    Ok(replies)
}

/// Subscribes, and answers nothing. The server has the subscription when this returns; it ends with the stream.
pub fn subscribe(url: &str, subject: &str) -> io::Result<TcpStream> {
    subscribe_all(url, [subject])
}

/// The same, to several subjects on one connection.
pub fn subscribe_all(url: &str, subjects: impl IntoIterator<Item = impl Display>) -> io::Result<TcpStream> {
    let mut reader = connect(url)?;
    let subscriptions = subjects.into_iter().enumerate();
    let mut text: String = subscriptions
        .map(|(number, subject)| format!("SUB {subject} {}\r\n", number + 1))
        .collect();
    text += "PING\r\n";
    reader.get_mut().write_all(text.as_bytes())?;
    loop {
        match read_line(&mut reader)?.trim_end() {
            "PONG" => return Ok(reader.into_inner()),
            error if error.starts_with("-ERR") => return Err(io::Error::other(error)),
            _ => {} // INFO
        }
    }
}

/// Waits until the server replies at once that nobody is subscribed for this instance of `orders`.
pub fn wait_until_gone(url: &str, id: &str) {
    super::wait_for("the server knows that it is gone", || {
        let asked = Instant::now();
        let replies = ask(url, &format!("$SRV.PING.orders.{id}"), 1).ok()?;
        (replies.is_empty() && asked.elapsed() < Duration::from_millis(500)).then_some(())
    });
}

/// Up to and with CONNECT. User and password may be in the URL.
fn connect(url: &str) -> io::Result<BufReader<TcpStream>> {
    let url = Url::parse(url).expect("a URL");
    let stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap_or(4222)))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream);
    read_line(&mut reader)?; // INFO
    let mut connect = serde_json::json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true});
    if !url.username().is_empty() {
        connect["user"] = url.username().into();
        connect["pass"] = url.password().unwrap_or_default().into();
    }
    reader
        .get_mut()
        .write_all(format!("CONNECT {connect}\r\n").as_bytes())?;
    Ok(reader)
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}
