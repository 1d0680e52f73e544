//! Whole runs, one after the other: what the network says, to what is asked of it, and what is then told and remembered. Never
//! a false alarm, never an outage that is slept through.
//!
//! The input is the policy (a byte), and then events with [`END`] between them; the first byte of each says what it is.

use std::sync::Arc;
use std::time::Duration;

use check_nats_service::connect::target::Auth;
use check_nats_service::judge::pod::{self, ProbeKind};
use check_nats_service::judge::{Loss, LossLimits, Policy, RateLimits, RestartLimits, judge};
use check_nats_service::probe::clock::PingClock;
use check_nats_service::probe::diagnosis::{Peer, flooded, server_said};
use check_nats_service::probe::observation::{Failure, Observation, Outcome, Server};
use check_nats_service::probe::plan::{FIRST_RETRY, PingPlan, Query, Wanted};
use check_nats_service::probe::reply::Reply;
use check_nats_service::probe::schedule::{PingAction, Schedule};
use check_nats_service::render::memory;
use check_nats_service::render::report::Report;
use check_nats_service::state::format::{read, write};
use check_nats_service::state::memory::Memory;
use check_nats_service::state::store::MAX_STATE_BYTES;
use check_nats_service::values::range::Range;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::timestamp::Timestamp;
use check_nats_service::values::version::Requirement;

use super::state::question;
use super::told::assert_told_well;
use super::{Target, reply};

pub const TARGET: Target = Target {
    name: "verdict",
    run,
    seeds: &[
        "\0r{\"name\":\"demo\",\"id\":\"A\",\"version\":\"1.0.0\",\"metadata\":{\"pod\":\"w\"}}\x1ep\x1e+9\x1en\x1en\x1en\x1en\x1e+9\x1er{\"name\":\"demo\",\"id\":\"B\"}",
        "\x01r{\"name\":\"demo\",\"id\":\"A\"}\x1es{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"a\",\"num_requests\":30,\"num_errors\":3,\"last_error\":\"x|y\"}]}\x1e+5\x1er{\"name\":\"demo\",\"id\":\"A\"}\x1es{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"a\",\"num_requests\":90,\"num_errors\":30}]}",
        "\x02r{\"name\":\"demo\",\"id\":\"A\"}\x1er{\"name\":\"demo\",\"id\":\"B\",\"version\":\"2.0.0\"}\x1e+1\x1er{\"name\":\"demo\",\"id\":\"A\"}\x1ew9\x1eg0\x1e+9\x1eeAuthorization Violation\x1e+1\x1en",
        "\x03p\x1ew9\x1ew9\x1eN\x1ed0{\"name\":\"demo\",\"id\":\"A\"}\x1e+3\x1eo{\"name\":\"other\",\"id\":\"Z\"}\x1en",
        "\x04r{\"name\":\"demo\",\"id\":\"A\",\"metadata\":{\"host\":\"h\"}}\x1e+1\x1er{\"name\":\"demo\",\"id\":\"C\",\"metadata\":{\"host\":\"h\"}}\x1eg0\x1e+1\x1er{\"name\":\"demo\",\"id\":\"D\"}\x1eg0",
    ],
    samples: None,
    words: &[
        "\x1e",
        "\x1er{\"name\":\"demo\",\"id\":\"A\"}",
        "\x1er{\"name\":\"demo\",\"id\":\"B\",\"version\":\"2.0.0\"}",
        "\x1en",
        "\x1ep",
        "\x1eN",
        "\x1ex",
        "\x1ey",
        "\x1eg0",
        "\x1eg1",
        "\x1ed0",
        "\x1eo",
        "\x1ew1",
        "\x1ew9",
        "\x1e+1",
        "\x1e+9",
        "\x1ee",
        "\x1eePermissions Violation for Publish to \"$SRV.PING.demo\"",
        "\x1es{\"name\":\"demo\",\"id\":\"A\",\"num_requests\":7}",
        "\"metadata\":{\"pod\":\"w\"}",
        "\"version\":\"1.0.0\"",
        "\"stream\":\"S\",\"seq\":1",
        "\"num_errors\":5",
        "\"processing_time\":1000000000",
        "|",
        "\\n",
    ],
};

/// Between two events.
const END: u8 = 0x1e;

/// More than a run can take.
const MAX_STEPS: usize = 1000;

fn run(input: &[u8]) {
    let Some((first, events)) = input.split_first() else {
        return;
    };
    let policy = policy(*first);
    let mut memory = Memory::default();
    let mut clock = Timestamp::from_seconds(1_790_000_000);
    let mut events = events.split(|byte| *byte == END).take(500).peekable();
    while events.peek().is_some() {
        let seen = Run::new(&memory, &policy).probe(clock, &mut events);
        let now = seen.at + Duration::from_millis(5);
        let next = check(&memory, seen, &policy, now);
        memory = next;
        // `+9`: the next run is that many minutes later.
        let minutes = events
            .next_if(|event| event.first() == Some(&b'+'))
            .and_then(|event| digit(event.get(1)));
        clock = now + Duration::from_secs(60 * minutes.unwrap_or(1).pow(2));
    }
}

fn digit(byte: Option<&u8>) -> Option<u64> {
    byte.filter(|byte| byte.is_ascii_digit())
        .map(|byte| u64::from(byte - b'0'))
}

fn policy(kind: u8) -> Policy {
    let standard = Policy::default();
    match kind % 5 {
        0 => standard,
        1 => Policy {
            rates: RateLimits {
                wanted: true,
                error_warning: Some(1.0),
                latency_critical: Some(Duration::from_millis(1)),
                ..RateLimits::default()
            },
            ..standard
        },
        2 => Policy {
            warning: Range::parse("2:").ok(),
            critical: Range::parse("1:").ok(),
            rtt_warning: Some(Duration::from_millis(1)),
            expected_version: Requirement::parse("^1").ok(),
            mixed_versions: Some(Status::Warning),
            ..standard
        },
        3 => Policy {
            silent: Status::Warning,
            never_seen: Status::Ok,
            forget_after: Some(Duration::from_secs(3600)),
            imported: Some("APP.$SRV".into()),
            ..standard
        },
        _ => Policy {
            loss: LossLimits {
                warning: Some(Loss::Instances(1)),
                critical: Some(Loss::Percent(50)),
                ..LossLimits::default()
            },
            restarts: RestartLimits {
                warning: Some(1),
                critical: Some(3),
                ..RestartLimits::default()
            },
            ..standard
        },
    }
}

/// One run: asks as the program does, and hears the events.
struct Run {
    schedule: Schedule,
    clock: PingClock,
    now: Duration,
    /// The queries of the latest rounds, and those of the follow-up.
    pings: Vec<Query>,
    follow_up: Vec<Query>,
    /// Set if the server reports no responders for each request from now on.
    nobody: bool,
    /// Set if it does not answer a PING any more.
    hung: bool,
    /// Set if the server ever reported no responders, and the service an instance.
    heard_nobody: bool,
    heard_somebody: bool,
    failure: Option<Failure>,
}

impl Run {
    fn new(memory: &Memory, policy: &Policy) -> Run {
        let confirm = Duration::from_secs(5);
        let plan = PingPlan {
            known: memory.known_instances(),
            previously_missing: memory.previously_missing(),
            before_outage: memory.before_outage(),
            census: memory.outage.is_some(),
            discover: memory.last_seen().is_none(),
            stats: policy.rates.wanted,
            thresholds: policy.thresholds(memory),
            confirm_fewer: if memory.is_absent() { FIRST_RETRY } else { confirm },
            patience: Duration::from_secs(5),
            ..PingPlan::new(
                "demo",
                Wanted::All,
                if memory.is_absent() { FIRST_RETRY } else { confirm },
                Duration::from_millis(300),
            )
        };
        let first = plan.first_queries();
        let mut run = Run {
            schedule: Schedule::new(plan),
            clock: PingClock::new(false),
            now: Duration::ZERO,
            pings: Vec::new(),
            follow_up: Vec::new(),
            nobody: false,
            hung: false,
            heard_nobody: false,
            heard_somebody: false,
            failure: None,
        };
        run.send(first);
        run
    }

    fn send(&mut self, queries: Vec<Query>) {
        self.schedule.sent(self.now, &queries);
        self.clock.request_sent(self.now);
        match queries[0] {
            Query::Ping(_) => self
                .pings
                .extend(queries.into_iter().filter(|query| *query != Query::Stats)),
            _ => self.follow_up = queries,
        }
    }

    fn no_responders(&mut self) {
        if let Some(query) = self.pings.last() {
            self.schedule.no_responders(query);
        }
    }

    /// The query of the follow-up that is named by its place.
    fn followed_up(&self, place: Option<&u8>) -> Option<Query> {
        self.follow_up.get(digit(place)? as usize).cloned()
    }

    fn probe<'e>(
        mut self,
        start: Timestamp,
        events: &mut std::iter::Peekable<impl Iterator<Item = &'e [u8]>>,
    ) -> Observation {
        for _ in 0..MAX_STEPS {
            if let Some(failure) = self.failure.take() {
                return self.observation(start, Outcome::Failed(failure));
            }
            match self.schedule.next(self.now, &self.clock) {
                PingAction::Done(outcome) => return self.observation(start, outcome),
                PingAction::Flooded => return self.observation(start, Outcome::Failed(flooded("h:4222"))),
                PingAction::Send(queries) => {
                    self.send(queries);
                    if self.nobody && self.follow_up.is_empty() {
                        self.no_responders();
                    }
                }
                PingAction::Ping => self.clock.ping_sent(self.now),
                PingAction::Listen(until) => match events.next_if(|event| event.first() != Some(&b'+')) {
                    Some(event) => self.hear(event),
                    None if !self.hung && !self.clock.server_answered() => self.clock.pong_received(),
                    // As the client's own deadline would.
                    None if until > Duration::from_secs(60) => {
                        self.failure = Some(Failure::new(Reason::NatsUnreachable, "the time is up"));
                    }
                    None => {
                        assert!(until > self.now, "waits for a time that is past");
                        self.now = until;
                    }
                },
            }
        }
        panic!("a run of more than {MAX_STEPS} steps");
    }

    fn hear(&mut self, event: &[u8]) {
        let (kind, rest) = event.split_first().unwrap_or((&b'w', b""));
        self.now += Duration::from_micros(100);
        match kind {
            b'r' => self.reply(self.pings.last().cloned(), rest),
            b's' => self.reply(Some(Query::Stats), rest),
            b'o' => self.reply(
                self.follow_up.contains(&Query::Discovery).then_some(Query::Discovery),
                rest,
            ),
            b'd' => self.reply(self.followed_up(rest.first()), rest.get(1..).unwrap_or_default()),
            b'n' => {
                (self.nobody, self.heard_nobody) = (true, true);
                self.no_responders();
            }
            b'y' => self.nobody = false,
            b'x' => self.hung = true,
            b'N' => self.schedule.no_responders(&Query::UnusedId),
            b'g' => {
                if let Some(query) = self.followed_up(rest.first()) {
                    self.schedule.no_responders(&query);
                }
            }
            b'p' => self.clock.pong_received(),
            b'w' => self.now += Duration::from_millis(10 * digit(rest.first()).unwrap_or(0).pow(3)),
            b'e' => {
                let peer = Peer {
                    address: "h:4222".into(),
                    auth: &Auth::None,
                    inbox_prefix: "_INBOX",
                    ping_subject: "$SRV.PING.demo".into(),
                    subjects: vec!["$SRV.PING".into()],
                    all_services: false,
                    identity: false,
                    now: Timestamp::from_seconds(0),
                };
                let failure = server_said(&peer, &String::from_utf8_lossy(rest));
                let is_denial = failure.reason == Reason::PermissionDenied;
                if !is_denial || !self.schedule.denied(None, &failure.text) {
                    self.failure = Some(failure);
                }
            }
            _ => {}
        }
    }

    fn reply(&mut self, query: Option<Query>, payload: &[u8]) {
        if let Some(query) = query {
            let reply = Reply::parse(payload, query.reply_types());
            let counted = self.schedule.reply(self.now, self.now, &query, reply);
            self.heard_somebody |= counted.is_ok() && query != Query::Stats;
        }
    }

    fn observation(self, start: Timestamp, outcome: Outcome) -> Observation {
        match &outcome {
            Outcome::Answered(answers) => {
                assert!(self.heard_somebody && !answers.is_empty(), "nobody answered");
                answers.iter().for_each(|answer| reply::check(&answer.instance));
            }
            Outcome::NoResponders => assert!(self.heard_nobody, "the server never said that nobody is there"),
            Outcome::Silent(_) | Outcome::Failed(_) => {}
        }
        Observation {
            server: Some(Server {
                address: "h:4222".into(),
                id: "N1".into(),
                version: "2.15.1".into(),
                ..Server::default()
            }),
            took: self.now,
            ..self.schedule.observation(start, start + self.now, outcome, &self.clock)
        }
    }
}

/// Judges, checks the promises, and returns what is remembered: as it is read again.
fn check(memory: &Memory, seen: Observation, policy: &Policy, now: Timestamp) -> Memory {
    for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
        let question = pod::PodProbe {
            kind,
            service: "demo".into(),
            wanted: Wanted::Any,
            unreachable: None,
        };
        let (_, line) = question.judge(&seen);
        assert!(
            line.chars().count() <= 500 && !line.contains(char::is_control),
            "{line:?}"
        );
    }
    let (verdict, next) = judge("demo", memory, &seen, policy, now);
    let (status, lead) = (
        verdict.status(),
        verdict.findings().first().map(|finding| finding.reason),
    );
    let was_there = memory.outage.is_some() || memory.epoch.as_ref().is_some_and(|epoch| epoch.count > 0);
    let forgets = policy.forget_after.is_some();
    match &seen.outcome {
        Outcome::Answered(_) => {
            assert!(
                lead != Some(Reason::ServiceDown) && next.outage.is_none(),
                "down, and somebody answered"
            );
        }
        Outcome::NoResponders => {
            assert!(
                !was_there || forgets || status == Status::Critical,
                "an outage that is slept through"
            );
            assert!(
                was_there || lead != Some(Reason::ServiceDown),
                "an outage of what was never there"
            );
            assert!(status != Status::Ok || policy.never_seen == Status::Ok || forgets);
        }
        Outcome::Silent(_) => assert!(
            !was_there || forgets || status >= policy.silent,
            "a silence that is slept through"
        ),
        Outcome::Failed(_) => {
            let open = memory.outage.is_some();
            assert!(status != Status::Ok, "OK, and nobody could be asked");
            assert!(open || status != Status::Critical, "a false alarm: {lead:?}");
            assert!(
                !open || forgets || status == Status::Critical,
                "an outage that is slept through"
            );
            assert_eq!(
                (&next.epoch, forgets || next.outage == memory.outage),
                (&memory.epoch, true),
                "who could not ask changed an epoch"
            );
        }
    }
    let text = write(&question(), &next);
    assert!((text.len() as u64) < MAX_STATE_BYTES, "{} bytes", text.len());
    let loaded = read(&question(), text.as_bytes(), now).expect("what was written is read");
    assert_eq!(loaded.memory, next, "{text}");
    let shown = memory::render(&question(), None, Some(&loaded), now);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    assert_told_well(&Report {
        own_up: None,
        verdict,
        seen: Some(Arc::new(seen)),
        memory: (next.clone()).into(),
        now,
    });
    next
}
