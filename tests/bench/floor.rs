//! The floor: what asking NATS costs at least. One thread, the standard library alone, and no word more on the wire than needed.
//!
//! `floor HOST:PORT NAME COUNT` ends when COUNT instances have answered (status 0), or when the server says that there are none
//! (status 2). It believes all that it reads, and waits for ever: a yardstick, no check.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

const INBOX: &str = "_INBOX.floor0000000000000000";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, name, count] = &args[..] else {
        eprintln!("usage: floor HOST:PORT NAME COUNT");
        return ExitCode::from(3);
    };
    match ask(address, name, count.parse().unwrap_or(1)) {
        Ok(0) => {
            println!("CRITICAL - {name}: down");
            ExitCode::from(2)
        }
        Ok(instances) => {
            println!("OK - {name}: {instances} instances");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("UNKNOWN - {name}: {error}");
            ExitCode::from(3)
        }
    }
}

/// Returns the number of instances that answered.
fn ask(address: &str, name: &str, count: usize) -> io::Result<usize> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut writer = &stream;
    let mut reader = BufReader::with_capacity(32 * 1024, &stream);
    let mut line = Vec::new();
    read_line(&mut reader, &mut line)?; // INFO
    write!(
        io::BufWriter::new(&mut writer),
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"rust\",\
         \"version\":\"0\",\"protocol\":1}}\r\nSUB {INBOX} 1\r\nPUB $SRV.PING.{name} {INBOX} 0\r\n\r\nPING\r\n"
    )?;
    let mut ids: HashSet<Vec<u8>> = HashSet::new();
    let mut payload = Vec::new();
    while ids.len() < count {
        read_line(&mut reader, &mut line)?;
        match line.first() {
            Some(b'M' | b'H') => {
                let size = line
                    .split(|byte| byte.is_ascii_whitespace())
                    .rfind(|word| !word.is_empty());
                let size = size.and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
                payload.resize(size.ok_or(io::ErrorKind::InvalidData)? + 2, 0);
                reader.read_exact(&mut payload)?;
                if payload.starts_with(b"NATS/1.0 503") {
                    return Ok(0);
                }
                ids.extend(id(&payload).map(<[u8]>::to_vec));
            }
            Some(b'-') => return Err(io::Error::other(String::from_utf8_lossy(&line).into_owned())),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) => {} // PONG, INFO
        }
    }
    Ok(ids.len())
}

fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    reader.read_until(b'\n', line)
}

/// Returns the text behind `"id":` in a reply, without a JSON parser.
fn id(payload: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"id\":";
    let start = payload.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    payload[start..].split(|byte| *byte == b'"').nth(1)
}
