//! Whatever reads foreign bytes reads all bytes: the short form of tests/fuzz/run.sh, without coverage, on the seeds and on
//! random mutations of them. Always the same ones, unless FUZZ_SEED is another number; FUZZ_TIMES as many.
//!
//! And the wire itself, which the client reads in threads of its own: whole runs, against servers that say almost the right thing.

mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use targets::{TARGETS, Target};

use crate::support::{Check, Fake, Output, in_parallel};

/// Number of mutations of the seeds that each target reads.
const MUTATIONS: u64 = 400;

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().expect(variable))
}

/// A linear congruential generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Mutates an input as libFuzzer does, in small: cuts, doubles, crosses, and puts in words and odd bytes.
fn mutate(random: &mut Random, words: &[&str], seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let (at, end) = (random.below(input.len() + 1), random.below(input.len() + 1));
        let (at, end) = (at.min(end), at.max(end));
        match random.below(8) {
            0 => drop(input.drain(at..end)),
            1 => input.truncate(at),
            2 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            4 | 5 => {
                let word = words[random.below(words.len())];
                input.splice(at..at, word.bytes());
            }
            6 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    input.truncate(64 * 1024);
    input
}

/// The input, if it breaks a promise.
fn breaks(target: &Target, input: &[u8]) -> Option<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    ended
        .is_err()
        .then(|| format!("{}: \"{}\"", target.name, input.escape_ascii()))
}

#[test]
fn every_target_keeps_its_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let broken = Mutex::new(Vec::new());
    let check = |target: &Target| {
        let seeds = target.seeds(root);
        assert!(seeds.len() > 1, "{} has seeds", target.name);
        let mut random = Random(number("FUZZ_SEED", 1));
        let mutations = MUTATIONS * number("FUZZ_TIMES", 1);
        let mutated = (0..mutations).map(|_| mutate(&mut random, target.words, &seeds));
        let mut inputs = [Vec::new()].into_iter().chain(seeds.clone()).chain(mutated);
        broken
            .lock()
            .unwrap()
            .extend(inputs.find_map(|input| breaks(target, &input)));
    };
    in_parallel(TARGETS, check);
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "what broke it is told above:\n{}", broken.join("\n"));
}

/// Messages of servers: at once, after the login, and after a request. Between them is a byte of 0x1e; INBOX and SID stand for
/// where the reply belongs.
const TALKS: [&str; 6] = [
    "INFO {\"server_id\":\"N\",\"server_name\":\"n\",\"version\":\"2.10.25\",\"go\":\"\",\"host\":\"h\",\"port\":1,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\"client_id\":1,\"client_ip\":\"\"}\r\n\x1ePONG\r\n\x1eMSG INBOX SID 27\r\n{\"name\":\"orders\",\"id\":\"A1\"}\r\n",
    "INFO {\"server_id\":\"N\",\"server_name\":\"n\",\"version\":\"2.15.1\",\"go\":\"\",\"host\":\"h\",\"port\":1,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\"client_id\":1,\"client_ip\":\"\",\"ldm\":true,\"connect_urls\":[\"127.0.0.1:1\"]}\r\n\x1ePONG\r\n\x1eHMSG INBOX SID 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
    "INFO {\"server_id\":\"N\",\"version\":\"2.10.25\",\"host\":\"h\",\"port\":1,\"max_payload\":1,\"proto\":1,\"client_id\":1,\"go\":\"\",\"nonce\":\"x\",\"auth_required\":true}\r\n\x1e-ERR 'Authorization Violation'\r\n",
    "INFO {\"server_id\":\"N\",\"version\":\"2.10.25\",\"host\":\"h\",\"port\":1,\"max_payload\":9,\"proto\":1,\"client_id\":1,\"go\":\"\"}\r\n\x1ePONG\r\n\x1e-ERR 'Permissions Violation for Publish to \"$SRV.PING.orders\"'\r\n",
    "INFO {\"server_id\":\"N\",\"version\":\"2.10.25\",\"host\":\"h\",\"port\":1,\"max_payload\":9,\"proto\":1,\"client_id\":1,\"go\":\"\",\"headers\":true}\r\n\x1ePING\r\nPONG\r\n+OK\r\n\x1eHMSG INBOX SID 39 66\r\nNATS/1.0\r\nNats-Request-Info: {}\r\nX:\r\n\r\n{\"name\":\"orders\",\"id\":\"A1\"}\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n\x1e\x1e",
];

const PROTOCOL: [&str; 22] = [
    "\r\n",
    "\x1e",
    "MSG INBOX SID 0\r\n\r\n",
    "HMSG INBOX SID 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
    "INBOX",
    "SID",
    " ",
    "\t",
    "4294967295",
    "-1",
    "PING\r\n",
    "PONG\r\n",
    "+OK\r\n",
    "-ERR\r\n",
    "-ERR ''\r\n",
    "INFO {}\r\n",
    "INFO ",
    "NATS/1.0",
    ": ",
    "\0",
    "{\"name\":\"orders\",\"id\":\"B\"}",
    "\u{202e}",
];

fn run_against(talk: &[u8], timeout: &str) -> Output {
    let talk: Vec<String> = talk
        .split(|byte| *byte == 0x1e)
        // Bytes that are no text stay what they are: one character for each.
        .map(|part| part.iter().map(|byte| char::from(*byte)).collect())
        .collect();
    let fake = Fake::start(move |conn| {
        let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
        let mut parts = talk.iter();
        conn.send_raw(&bytes(parts.next().map_or("", String::as_str)))?;
        while conn.read_line()? != "PING" {}
        conn.send_raw(&bytes(parts.next().map_or("", String::as_str)))?;
        let request = conn.read_request()?;
        let reply = parts.next().map_or("", String::as_str);
        conn.send_raw(&bytes(
            &reply.replace("INBOX", &request.reply).replace("SID", &request.sid),
        ))?;
        conn.hold(Duration::from_secs(5))
    });
    Check::new(["-n", "orders", "-s", &fake.url()])
        .args(["--timeout", timeout, "--stall", "50ms"])
        .run()
}

#[test]
fn whatever_a_server_sends_ends_in_a_verdict() {
    let seeds: Vec<Vec<u8>> = TALKS.iter().map(|talk| talk.as_bytes().to_vec()).collect();
    for good in [&seeds[0], &seeds[4]] {
        let out = run_against(good, "20s");
        assert_eq!(out.code, Some(0), "{}\n{}", good.escape_ascii(), out.stdout);
    }
    let mut random = Random(number("FUZZ_SEED", 1));
    let runs = 60 * number("FUZZ_TIMES", 1);
    let mut talks = (0..runs).map(|_| mutate(&mut random, &PROTOCOL, &seeds));
    loop {
        let some: Vec<Vec<u8>> = talks.by_ref().take(12).collect();
        if some.is_empty() {
            return;
        }
        crate::support::each(some, |talk| {
            let out = run_against(&talk, "400ms");
            let shown = || format!("\"{}\"\n{}", talk.escape_ascii(), out.stdout);
            // Nothing is remembered, so there is no outage to tell of.
            let ok = out.code == Some(0) && out.stdout.starts_with("NATS_SERVICE OK - orders: ");
            let unknown = out.code == Some(3) && out.stdout.starts_with("NATS_SERVICE UNKNOWN - ");
            assert!(ok || unknown, "{}", shown());
            let said = talk.windows(8).any(|part| part == b"\"orders\"");
            assert!(said || !ok, "OK, and nobody said so: {}", shown());
            assert!(out.stderr.is_empty() && out.stdout.lines().count() == 1, "{}", shown());
            assert!(
                out.stdout.matches('|').count() <= 1 && !out.stdout.trim_end().contains(char::is_control),
                "{}",
                shown()
            );
        });
    }
}
