//! A small ADR-32 service with the blocking NATS client, for packaging/demo.sh: each process is one instance.
//!
//! `demo_service --url URL --name NAME` answers discovery, and echoes what is sent to its one endpoint, `NAME.echo`. It
//! prints `ready ID` once the server has its subscriptions, reconnects for ever, and ends on SIGTERM.

// The client is deprecated upstream in favour of an async one, which a program this small does not want.
#![allow(deprecated)]

use std::error::Error;
use std::fs;
use std::process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const VERSION: &str = "1.0.0";

/// The queue group of an endpoint: only one of the instances gets a request (ADR-32).
const QUEUE_GROUP: &str = "q";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut url, mut name) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--url" => url = Some(value),
            "--name" => name = Some(value),
            _ => return Err(format!("unknown: {flag}").into()),
        }
    }
    let (url, name) = (url.ok_or("--url is needed")?, name.ok_or("--name is needed")?);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;

    let connection = nats::Options::new()
        .with_name(&name)
        .max_reconnects(None)
        // The default waits up to a second even before the first connect.
        .reconnect_delay_callback(|tries| Duration::from_millis(100) * tries.min(10) as u32)
        .connect(&url)?;
    // An inbox ends with what ADR-32 recommends as an id: 22 letters and digits that nobody else has.
    let inbox = connection.new_inbox();
    let id = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
    let instance = Arc::new(Instance::new(name, id)?);

    // Discovery (ADR-32): each verb for everybody, for one service, and for one instance of it.
    let Instance { name, id, .. } = &*instance;
    for (verb, reply) in VERBS {
        for subject in [
            format!("$SRV.{verb}"),
            format!("$SRV.{verb}.{name}"),
            format!("$SRV.{verb}.{name}.{id}"),
        ] {
            let instance = Arc::clone(&instance);
            let answer = move |request: nats::Message| request.respond(reply(&instance).to_string());
            connection.subscribe(&subject)?.with_handler(answer);
        }
    }
    let echo = {
        let instance = Arc::clone(&instance);
        move |request: nats::Message| instance.count(|| request.respond(&request.data))
    };
    let endpoint = instance.endpoint_subject();
    connection.queue_subscribe(&endpoint, QUEUE_GROUP)?.with_handler(echo);

    // A round trip: whatever was sent before it, the server has.
    connection.flush()?;
    println!("ready {id}");
    signals.forever().next();
    Ok(())
}

type Reply = fn(&Instance) -> Value;

/// Replies of an instance to each verb of the discovery.
const VERBS: [(&str, Reply); 3] = [
    ("PING", Instance::ping),
    ("INFO", Instance::info),
    ("STATS", Instance::stats),
];

/// One running copy of the service.
struct Instance {
    name: String,
    id: String,
    host: String,
    /// RFC 3339.
    started: String,
    traffic: Mutex<Traffic>,
}

/// Counters of the endpoint since the start.
#[derive(Default)]
struct Traffic {
    requests: u64,
    errors: u64,
    last_error: String,
    time: Duration,
}

impl Instance {
    fn new(name: String, id: String) -> Result<Instance, Box<dyn Error>> {
        Ok(Instance {
            name,
            id,
            host: fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned(),
            started: OffsetDateTime::now_utc().format(&Rfc3339)?,
            traffic: Mutex::default(),
        })
    }

    fn endpoint_subject(&self) -> String {
        format!("{}.echo", self.name)
    }

    /// Handles a request to the endpoint, and counts it.
    fn count(&self, handle: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        let start = Instant::now();
        let result = handle();
        let mut traffic = self.traffic.lock().expect("no holder of it panics");
        traffic.requests += 1;
        traffic.time += start.elapsed();
        if let Err(error) = &result {
            traffic.errors += 1;
            traffic.last_error = error.to_string();
        }
        result
    }

    /// The schema `io.nats.micro.v1.ping_response`, whose fields are in every reply.
    fn ping(&self) -> Value {
        json!({
            "type": "io.nats.micro.v1.ping_response",
            "name": self.name,
            "id": self.id,
            "version": VERSION,
            "metadata": { "host": self.host, "pid": process::id().to_string() },
        })
    }

    /// The schema `io.nats.micro.v1.info_response`.
    fn info(&self) -> Value {
        let mut reply = self.ping();
        reply["type"] = "io.nats.micro.v1.info_response".into();
        reply["description"] = "A service to watch with check_nats_service".into();
        reply["endpoints"] = json!([{
            "name": "echo",
            "subject": self.endpoint_subject(),
            "queue_group": QUEUE_GROUP,
            "metadata": {},
        }]);
        reply
    }

    /// The schema `io.nats.micro.v1.stats_response`; times are in nanoseconds.
    fn stats(&self) -> Value {
        let traffic = self.traffic.lock().expect("no holder of it panics");
        let nanos = traffic.time.as_nanos() as u64;
        let mut reply = self.ping();
        reply["type"] = "io.nats.micro.v1.stats_response".into();
        reply["started"] = self.started.as_str().into();
        reply["endpoints"] = json!([{
            "name": "echo",
            "subject": self.endpoint_subject(),
            "queue_group": QUEUE_GROUP,
            "num_requests": traffic.requests,
            "num_errors": traffic.errors,
            "last_error": traffic.last_error,
            "processing_time": nanos,
            "average_processing_time": nanos.checked_div(traffic.requests).unwrap_or(0),
        }]);
        reply
    }
}
