//! Thousands of instances of a service, on one connection.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

use super::raw;

/// Answers `$SRV.PING` and `$SRV.STATS`, of all instances or of one, until it is dropped. Wherever an id is asked for that it
/// does not have, it is silent: it hides the server's "no responders".
pub struct Crowd {
    stream: TcpStream,
    answers: Option<JoinHandle<()>>,
}

/// The id of one of them.
pub fn id(number: usize) -> String {
    format!("CROWD{number:0>17}")
}

impl Crowd {
    /// The server has the subscriptions when this returns.
    pub fn start(url: &str, name: &str, count: usize) -> Crowd {
        let subjects = ["PING", "STATS"]
            .iter()
            .flat_map(|verb| [format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.*")]);
        let stream = raw::subscribe_all(url, subjects).expect("the server takes the subscriptions");
        stream.set_read_timeout(None).unwrap();
        let numbers = (0..count).map(|number| (id(number), number)).collect();
        let replies = Replies::new(name, count);
        let reader = BufReader::new(stream.try_clone().unwrap());
        let answers = thread::spawn(move || {
            // It ends with the connection, whoever ends that.
            let _ = answer(reader, &replies, &numbers);
        });
        Crowd {
            stream,
            answers: Some(answers),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.answers.take().map(JoinHandle::join);
    }
}

/// What each of them says.
struct Replies {
    pings: Vec<String>,
    stats: Vec<String>,
}

impl Replies {
    fn new(name: &str, count: usize) -> Replies {
        let reply = |number: usize, kind: &str, more: &str| {
            let id = id(number);
            format!(
                r#"{{"name":"{name}","id":"{id}","version":"1.0.0","metadata":{{"pod":"{name}-{number}"}},"type":"io.nats.micro.v1.{kind}_response"{more}}}"#
            )
        };
        let endpoint = r#","started":"2026-01-01T00:00:00Z","endpoints":[{"name":"echo","subject":"echo","queue_group":"q","num_requests":12,"num_errors":1,"last_error":"500:no","processing_time":3400000,"average_processing_time":283333}]"#;
        Replies {
            pings: (0..count).map(|number| reply(number, "ping", "")).collect(),
            stats: (0..count).map(|number| reply(number, "stats", endpoint)).collect(),
        }
    }
}

fn answer(mut reader: BufReader<TcpStream>, replies: &Replies, numbers: &HashMap<String, usize>) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => reader.get_mut().write_all(b"PONG\r\n")?,
            ["MSG", subject, _sid, inbox, size] => {
                let size: u64 = size.parse().map_err(io::Error::other)?;
                let text = said(subject, inbox, replies, numbers);
                io::copy(&mut reader.by_ref().take(size + 2), &mut io::sink())?;
                reader.get_mut().write_all(text.as_bytes())?;
            }
            _ => {} // PONG, INFO
        }
    }
}

/// The replies to a request, as one text.
fn said(subject: &str, inbox: &str, replies: &Replies, numbers: &HashMap<String, usize>) -> String {
    let all = match subject.split('.').nth(1) {
        Some("STATS") => &replies.stats,
        _ => &replies.pings,
    };
    let some = match subject.split('.').nth(3) {
        None => &all[..],
        Some(id) => numbers
            .get(id)
            .map_or(&[][..], |number| std::slice::from_ref(&all[*number])),
    };
    let message = |payload: &String| format!("PUB {inbox} {}\r\n{payload}\r\n", payload.len());
    some.iter().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Server, Version};
    use super::*;

    #[test]
    #[ignore = "needs nats-server"]
    fn a_ping_reaches_all_instances_or_the_one_in_its_subject() {
        let server = Server::start(Version::Newest);
        let crowd = Crowd::start(&server.url(), "orders", 1000);
        let ids = raw::ping(&server.url(), "orders", 1001).unwrap();
        assert_eq!(ids, (0..1000).map(id).collect());
        let stats = raw::ask(&server.url(), &format!("$SRV.STATS.orders.{}", id(7)), 1).unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats[0]).unwrap();
        assert_eq!(
            (&stats["id"], &stats["endpoints"][0]["num_requests"]),
            (&id(7).into(), &12.into())
        );
        drop(crowd);
        server.wait_for_instances("orders", 0);
    }
}
