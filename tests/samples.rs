//! Replies of real services, byte for byte as four independent libraries sent them: only the answers to a PING count.
//!
//! `tests/samples/LIBRARY-VERSION-VERB-….json` are payloads; the `.raw` ones are error replies of an endpoint, as they were
//! on the wire. `full` services have metadata, `noep` ones no endpoint.

use std::fs;
use std::path::Path;

use check_nats_service::probe::observation::{Instance, NotCounted};
use check_nats_service::probe::reply::{PING, Reply};

use crate::support::{Check, Fake, LIMIT};

/// Each answer to a PING: file, service, id, metadata (as shown). The version is always 1.2.3.
const PINGS: [(&str, &str, &str, &str); 10] = [
    (
        "async-nats-0.51.0-PING-full-idle.json",
        "demo-rs",
        "5rRsmgsSdvqiTaMuNlTHnE",
        " pod=web-0 zone=a",
    ),
    (
        "async-nats-0.51.0-PING-idle.json",
        "demo-rs",
        "3tKoAqHnxRmuZUvwDOOSfs",
        "",
    ),
    (
        "async-nats-0.51.0-PING-noep-idle.json",
        "demo-rs",
        "BqcQfsv9xFksddGhdym6Yb",
        "",
    ),
    (
        "nats-py-2.16.0-PING-full-idle.json",
        "demo-py",
        "Dt8ifkapWIF7Vhjdwq2rsN",
        " pod=web-0 zone=a",
    ),
    ("nats-py-2.16.0-PING-idle.json", "demo-py", "hBQtR5OQGsrThIc7MBvqq5", ""),
    (
        "nats-py-2.16.0-PING-noep-idle.json",
        "demo-py",
        "gjAO1koUUesuJio1PoHbTV",
        "",
    ),
    ("nats.go-1.22.1-PING-idle.json", "demo", "2I068RfY579XcXd4f3vuDk", ""),
    (
        "natsjs-services-3.0.0-25-PING-full-idle.json",
        "demo-js",
        "ZOG9ZOVAX9S57A5XV0DJT3",
        " pod=web-0 zone=a",
    ),
    (
        "natsjs-services-3.0.0-25-PING-idle.json",
        "demo-js",
        "RA2D9225021LWM1EEZSJAI",
        "",
    ),
    (
        "natsjs-services-3.0.0-25-PING-noep-idle.json",
        "demo-js",
        "C3XPCCN84FDRI13CZ3XW4L",
        "",
    ),
];

/// All samples of a kind, with their names.
fn samples(kind: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let of_kind = entries.filter(|entry| entry.file_name().to_str().unwrap().contains(kind));
    let mut samples: Vec<_> = of_kind
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    samples.sort();
    samples
}

/// The service that a sample is of.
fn service_of(file: &str) -> &'static str {
    let library = file.split("-PING").next().unwrap();
    let (_, service, ..) = PINGS
        .iter()
        .find(|(ping, ..)| library.starts_with(ping.split("-PING").next().unwrap()))
        .unwrap();
    service
}

fn read_ping(service: &str, payload: &[u8]) -> Result<Instance, NotCounted> {
    Ok(Reply::parse(payload, PING)?.of(service)?.instance(&[]))
}

#[test]
fn every_answer_to_a_ping_is_read() {
    let samples = samples("-PING-");
    assert_eq!(samples.len(), PINGS.len());
    for ((file, payload), (name, service, id, metadata)) in samples.iter().zip(PINGS) {
        assert_eq!(file, name);
        let instance = read_ping(service, payload).unwrap();
        assert_eq!(instance.to_string(), format!("{id} version 1.2.3{metadata}"), "{file}");
        assert_eq!(read_ping("orders", payload), Err(NotCounted::Foreign), "{file}");
    }
}

#[test]
fn no_other_reply_is_taken_for_an_answer_to_a_ping() {
    let others: Vec<_> = ["-INFO-", "-STATS-", "-errorreply-"]
        .into_iter()
        .flat_map(samples)
        .collect();
    assert_eq!(others.len() + PINGS.len(), samples("").len(), "each sample is tested");
    for (file, bytes) in others {
        let service = service_of(&file);
        let payload = match file.ends_with(".raw") {
            true => raw(&bytes).1,
            false => bytes,
        };
        let result = read_ping(service, &payload);
        match file.starts_with("nats.go-1.22.1-") {
            // It said no type yet: what it says is an answer to a PING, and more. It does come from an instance.
            true => assert_eq!(
                result.map(|Instance { id, .. }| id).as_deref(),
                Ok("2I068RfY579XcXd4f3vuDk"),
                "{file}"
            ),
            false => assert_eq!(result, Err(NotCounted::Broken), "{file}"),
        }
    }
}

/// The headers and the payload of an HMSG.
fn raw(bytes: &[u8]) -> (String, Vec<u8>) {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (line, rest) = text.split_once("\r\n").unwrap();
    let sizes: Vec<usize> = line.rsplitn(3, ' ').take(2).map(|size| size.parse().unwrap()).collect();
    let (total, headers) = (sizes[0], sizes[1]);
    (rest[..headers].to_owned(), rest.as_bytes()[headers..total].to_vec())
}

#[test]
fn each_service_counts_its_own_answers_among_all() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        // What an endpoint says of errors, a true 503 among it, is on the wire before, and everything else.
        for (file, bytes) in samples("") {
            match file.ends_with(".raw") {
                true => conn.reply_with_headers(&request, &raw(&bytes).0, &raw(&bytes).1)?,
                false => conn.reply(&request, &bytes)?,
            }
        }
        conn.hold(LIMIT)
    });
    for service in ["demo", "demo-js", "demo-py", "demo-rs"] {
        let mut answers: Vec<_> = PINGS.iter().filter(|(_, of, ..)| *of == service).collect();
        answers.sort_by_key(|(_, _, id, _)| *id);
        let lines: Vec<_> = answers
            .iter()
            .map(|(_, _, id, metadata)| format!("answered in *: {id} version 1.2.3{metadata}\n"))
            .collect();
        let many = match answers.len() {
            1 => "1 instance".to_owned(),
            many => format!("{many} instances"),
        };
        Check::new(["-s", &fake.url(), "-n", service, "-vv"]).run().assert(
            0,
            &format!(
                "NATS_SERVICE OK - {service}: {many}, slowest answer ** | instances={};*\n\
                 OK service_up\n\
                 asked NATS *\n\
                 {}\
                 * replies not counted: * of another service, 0 of JetStream, * malformed",
                answers.len(),
                lines.concat(),
            ),
        );
    }
}
