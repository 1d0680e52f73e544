//! Thousands of instances of a service, or of many services, on one connection.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
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
        Crowd::subscribed(url, &[name.to_owned()], count, 0, &[])
    }

    /// Several services, with that many instances each. They answer to requests for all services, too.
    pub fn of_services(url: &str, names: &[String], count: usize) -> Crowd {
        Crowd::of_new_instances(url, names, count, 0)
    }

    /// The same, whose ids begin with this number.
    pub fn of_new_instances(url: &str, names: &[String], count: usize, first: usize) -> Crowd {
        let for_all = ["$SRV.PING".to_owned(), "$SRV.STATS".to_owned()];
        Crowd::subscribed(url, names, count, first, &for_all)
    }

    fn subscribed(url: &str, names: &[String], count: usize, first: usize, for_all: &[String]) -> Crowd {
        let subjects = names.iter().flat_map(|name| {
            let subjects =
                ["PING", "STATS"].map(|verb| [format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.*")]);
            subjects.into_iter().flatten()
        });
        let stream = raw::subscribe_all(url, subjects.chain(for_all.iter().cloned()))
            .expect("the server takes the subscriptions");
        stream.set_read_timeout(None).unwrap();
        let replies = Replies::new(names, count, first);
        let reader = BufReader::new(stream.try_clone().unwrap());
        let answers = thread::spawn(move || {
            // It ends with the connection, whoever ends that.
            let _ = answer(reader, &replies);
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

/// Reply of each instance: the size and the payload of a message.
struct Replies {
    pings: Vec<String>,
    stats: Vec<String>,
    /// The place of each id among them, and the places of each service.
    numbers: HashMap<String, usize>,
    services: HashMap<String, Range<usize>>,
}

impl Replies {
    fn new(names: &[String], count: usize, first: usize) -> Replies {
        let all = || (0..names.len() * count).map(|number| (number, &names[number / count]));
        let reply = |(number, name): (usize, &String), kind: &str, more: &str| {
            let id = id(first + number);
            let payload = format!(
                r#"{{"name":"{name}","id":"{id}","version":"1.0.0","metadata":{{"pod":"{name}-{number}"}},"type":"io.nats.micro.v1.{kind}_response"{more}}}"#
            );
            format!(" {}\r\n{payload}\r\n", payload.len())
        };
        let endpoint = r#","started":"2026-01-01T00:00:00Z","endpoints":[{"name":"echo","subject":"echo","queue_group":"q","num_requests":12,"num_errors":1,"last_error":"500:no","processing_time":3400000,"average_processing_time":283333}]"#;
        let services = names.iter().enumerate();
        Replies {
            pings: all().map(|one| reply(one, "ping", "")).collect(),
            stats: all().map(|one| reply(one, "stats", endpoint)).collect(),
            numbers: all().map(|(number, _)| (id(first + number), number)).collect(),
            services: services
                .map(|(n, name)| (name.clone(), n * count..(n + 1) * count))
                .collect(),
        }
    }
}

fn answer(mut reader: BufReader<TcpStream>, replies: &Replies) -> io::Result<()> {
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
                let text = said(subject, inbox, replies);
                io::copy(&mut reader.by_ref().take(size + 2), &mut io::sink())?;
                reader.get_mut().write_all(text.as_bytes())?;
            }
            _ => {} // PONG, INFO
        }
    }
}

/// The replies to a request, as one text.
fn said(subject: &str, inbox: &str, replies: &Replies) -> String {
    let words: Vec<&str> = subject.split('.').collect();
    let all = match words[1] {
        "STATS" => &replies.stats,
        _ => &replies.pings,
    };
    let some = match words[2..] {
        [] => 0..all.len(),
        [name] => replies.services[name].clone(),
        [_, id, ..] => replies.numbers.get(id).map_or(0..0, |number| *number..number + 1),
    };
    let mut text = String::new();
    for reply in &all[some] {
        text.extend(["PUB ", inbox, reply]);
    }
    text
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

    #[test]
    #[ignore = "needs nats-server"]
    fn many_services_answer_each_for_itself_and_all_at_once() {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let _crowd = Crowd::of_services(&url, &["orders".to_owned(), "mail".to_owned()], 10);
        assert_eq!(raw::ask(&url, "$SRV.PING", 21).unwrap().len(), 20);
        assert_eq!(raw::ping(&url, "mail", 11).unwrap(), (10..20).map(id).collect());
        assert_eq!(
            raw::ask(&url, &format!("$SRV.STATS.mail.{}", id(12)), 2).unwrap().len(),
            1
        );
        assert!(raw::ping(&url, "billing", 1).unwrap().is_empty());
    }
}
