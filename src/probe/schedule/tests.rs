use super::*;
use crate::probe::known::KnownInstances;
use crate::probe::observation::{Failure, Ignored, InstanceReply};
use crate::values::range::Range;
use crate::values::status::Reason;
use Query::{Discovery, InstancePing, InstanceStatus, Ping, Stats, UnusedId};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(known: &[&str], census: bool) -> PingPlan {
    PingPlan {
        service: "orders".into(),
        wanted: Wanted::All,
        known: KnownInstances::Ids(known.iter().map(|id| id.to_string()).collect()),
        previously_missing: BTreeSet::new(),
        before_outage: Vec::new(),
        census,
        discover: false,
        thorough: false,
        kept_metadata: Vec::new(),
        stats: false,
        confirm: ms(5000),
        thresholds: Vec::new(),
        confirm_fewer: ms(5000),
        stall: ms(300),
        patience: ms(5000),
    }
}

/// A schedule, the clock of its connection, and when each query was sent.
struct Probe {
    schedule: Schedule,
    clock: PingClock,
    sent: Vec<(Query, Duration)>,
}

impl Probe {
    fn new(plan: PingPlan) -> Probe {
        Probe {
            schedule: Schedule::new(plan),
            clock: PingClock::new(false),
            sent: Vec::new(),
        }
    }

    fn next(&self, now: Duration) -> PingAction {
        self.schedule.next(now, &self.clock)
    }

    fn send(&mut self, now: Duration, queries: &[Query]) {
        self.schedule.sent(now, queries);
        self.sent.extend(queries.iter().map(|query| (query.clone(), now)));
        self.clock.request_sent(now);
    }

    /// Asks so many times, whatever is due.
    fn asked(&mut self, now: Duration, times: usize) {
        let first = self.schedule.pings;
        let queries: Vec<Query> = (first..first + times).map(Ping).collect();
        self.send(now, &queries);
    }

    fn reply(&mut self, now: Duration, query: &Query, payload: &[u8]) -> Result<(), NotCounted> {
        let sent = self.sent.iter().rfind(|(sent, _)| sent == query);
        let sent = sent.expect("a query that was sent").1;
        let reply = super::Reply::parse(payload, query.reply_types());
        self.schedule.reply(now, sent, query, reply)
    }

    /// The instance with this id replies to the nth PING.
    fn hear(&mut self, now: u64, nth: usize, id: &str) {
        let counted = self.reply(ms(now), &Ping(nth), &payload(id));
        counted.expect("a reply that counts");
    }

    fn pong(&mut self) {
        self.clock.pong_received();
    }

    fn observation(&self) -> Observation {
        let failed = Outcome::Failed(Failure::new(Reason::Interrupted, ""));
        let epoch = Timestamp::from_seconds(0);
        self.schedule.observation(epoch, epoch, failed, &self.clock)
    }

    fn absent(&self) -> Vec<(String, Fate)> {
        self.observation().absent
    }

    fn silence(&self) -> Silence {
        self.observation().silence
    }
}

fn payload(id: &str) -> Vec<u8> {
    format!(r#"{{"name":"orders","id":"{id}"}}"#).into_bytes()
}

/// The queries to these instances, one by one.
fn each(query: impl Fn(String) -> Query, ids: &[&str]) -> Vec<Query> {
    ids.iter().map(|id| query((*id).to_owned())).chain([UnusedId]).collect()
}

/// Returns the action that sends so many PINGs, from the nth on.
fn pings(first: usize, times: usize) -> PingAction {
    PingAction::Send((first..first + times).map(Ping).collect())
}

/// Event after the nth request: the milliseconds until a reply, a 503, or a PONG.
enum Event {
    Reply(u64, &'static str),
    NoResponders,
    Pong,
}
use Event::{NoResponders, Pong, Reply};

/// Runs a probe in simulated time against a service that reacts to the nth asking as told; the last reaction is
/// that to all further rounds. Returns when each asking was, the end, and the outcome.
fn simulate(plan: PingPlan, reactions: &[&[Event]]) -> (Vec<u64>, u64, Option<Outcome>) {
    let mut probe = Probe::new(plan);
    let (mut now, mut asked, mut queue) = (Duration::ZERO, Vec::new(), Vec::new());
    let ended = |asked, now: Duration, outcome| (asked, now.as_millis() as u64, outcome);
    loop {
        match probe.next(now) {
            PingAction::Send(queries) if matches!(queries[0], Ping(_)) => {
                probe.send(now, &queries);
                let reaction = reactions.get(asked.len()).or(reactions.last()).expect("a reaction");
                asked.push(now.as_millis() as u64);
                for (n, query) in queries.into_iter().enumerate() {
                    for event in reaction.iter().filter(|event| n == 0 || !matches!(event, Pong)) {
                        let after = if let Reply(after, _) = event { ms(*after) } else { ms(1) };
                        queue.push((now + after, query.clone(), event));
                    }
                }
            }
            PingAction::Send(queries) if matches!(queries[0], InstancePing(_)) => {
                return ended(asked, now, probe.schedule.so_far());
            }
            PingAction::Send(_) => return ended(asked, now, Some(Outcome::Silent(now))),
            PingAction::Ping => {
                probe.clock.ping_sent(now);
                queue.push((now + ms(1), Ping(0), &Pong));
            }
            PingAction::Listen(until) => {
                queue.sort_by_key(|(at, ..)| *at);
                match queue.first() {
                    Some((at, ..)) if *at <= until => {
                        let (at, query, event) = queue.remove(0);
                        now = at;
                        match event {
                            Reply(_, id) => probe.reply(now, &query, &payload(id)).expect("a reply that counts"),
                            NoResponders => probe.schedule.no_responders(&query),
                            Pong => probe.pong(),
                        }
                    }
                    _ if until == Duration::MAX => return ended(asked, now, None),
                    _ => now = until,
                }
            }
            PingAction::Done(outcome) => return ended(asked, now, Some(outcome)),
            PingAction::Flooded => panic!("a flood"),
        }
    }
}

fn ids(outcome: Option<Outcome>) -> Vec<String> {
    match outcome {
        Some(Outcome::Answered(answers)) => answers.into_iter().map(|a| a.instance.id).collect(),
        other => panic!("nobody answered: {other:?}"),
    }
}

#[test]
fn a_usual_run_ends_with_the_last_known_answer() {
    let (asked, end, outcome) = simulate(
        plan(&["a", "b", "c"], false),
        &[&[Pong, Reply(2, "c"), Reply(3, "a"), Reply(7, "b"), Reply(100, "d")]],
    );
    assert_eq!((asked, end), (vec![0], 7));
    assert_eq!(ids(outcome), ["a", "b", "c"]);
}

#[test]
fn a_newcomer_that_is_faster_than_the_known_is_counted() {
    let (_, _, outcome) = simulate(plan(&["a"], false), &[&[Reply(1, "new"), Reply(2, "a")]]);
    assert_eq!(ids(outcome), ["a", "new"]);
}

#[test]
fn full_count_ends_after_the_stall_time_without_an_answer() {
    let (_, end, outcome) = simulate(
        plan(&["a"], true),
        &[&[Reply(1, "a"), Reply(250, "b"), Reply(540, "c"), Reply(900, "late")]],
    );
    assert_eq!(end, 840);
    assert_eq!(ids(outcome), ["a", "b", "c"]);
}

#[test]
fn missing_known_instance_makes_a_full_count() {
    let mut probe = Probe::new(plan(&["a", "b", "c"], false));
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    probe.hear(1, 0, "c");
    assert_eq!(probe.next(ms(1)), PingAction::Listen(ms(301)));
    assert!(probe.observation().census);
    assert_eq!(probe.next(ms(301)), PingAction::Send(each(InstancePing, &["b"])));
}

#[test]
fn a_duplicate_neither_counts_nor_prolongs() {
    let (_, end, outcome) = simulate(plan(&[], true), &[&[Reply(1, "a"), Reply(200, "a"), Reply(290, "a")]]);
    assert_eq!(end, 301);
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn down_is_reported_only_after_the_last_retry() {
    let (asked, end, outcome) = simulate(plan(&["a"], false), &[&[NoResponders, Pong]]);
    assert_eq!(asked, [0, 50, 250, 1200, 2500, 5000]);
    assert_eq!((end, outcome), (5001, Some(Outcome::NoResponders)));
    // A service that comes back with its client's second attempt is up.
    let nobody: &[Event] = &[NoResponders, Pong];
    let reactions = [nobody, nobody, nobody, nobody, nobody, &[Reply(1, "a"), Pong]];
    let (asked, end, outcome) = simulate(plan(&["a"], false), &reactions);
    assert_eq!((asked.len(), end), (6, 5001));
    assert_eq!(ids(outcome), ["a"]);
}

/// A restart of NATS lets all instances go, and they come back one by one.
#[test]
fn a_shortage_that_would_alarm_is_confirmed_before_it_is_judged() {
    let short = |confirm_fewer| PingPlan {
        thresholds: vec![Range::at_least(2.0)],
        confirm_fewer: ms(confirm_fewer),
        ..plan(&["a", "b", "c"], false)
    };
    let one: &[Event] = &[Pong, Reply(1, "a")];
    let all: &[Event] = &[Pong, Reply(1, "a"), Reply(2, "b"), Reply(3, "c")];
    let (asked, end, outcome) = simulate(short(5000), &[one, one, one, one, all]);
    assert_eq!((asked, end), (vec![0, 50, 250, 1200, 2500], 2503));
    assert_eq!(ids(outcome), ["a", "b", "c"]);
    // Enough for the thresholds: no reason to wait for the third one longer than usual.
    let (asked, end, _) = simulate(short(5000), &[one, &[Pong, Reply(1, "a"), Reply(2, "b")]]);
    assert_eq!((asked, end), (vec![0, 50], 352));
    // It does not come back.
    for (confirm_fewer, expected) in [
        (5000, &[0, 50, 250, 1200, 2500, 5000][..]),
        (300, &[0, 50, 250, 300]),
        // The one that answers is asked many times, in case that others share its queue group.
        (0, &[0, 301]),
    ] {
        let (asked, end, outcome) = simulate(short(confirm_fewer), &[one]);
        assert_eq!(asked, expected);
        assert_eq!(end, expected[expected.len() - 1] + 300);
        assert_eq!(ids(outcome), ["a"]);
    }
    // Nobody alarms, or only one is wanted.
    let calm = PingPlan {
        thresholds: Vec::new(),
        ..short(5000)
    };
    let any = PingPlan {
        wanted: Wanted::Any,
        ..short(5000)
    };
    assert_eq!(simulate(calm, &[one]).0, [0, 301]);
    assert_eq!(simulate(any, &[one]).0, [0]);
}

/// Without the time for all retries, an alarm would be hasty.
#[test]
fn a_shortage_that_is_not_confirmed_is_no_answer() {
    let mut probe = Probe::new(PingPlan {
        thresholds: vec![Range::at_least(2.0)],
        confirm_fewer: ms(5000),
        ..plan(&["a", "b", "c"], false)
    });
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    assert_eq!(probe.schedule.so_far(), None);
    probe.hear(2, 0, "b");
    assert_eq!(ids(probe.schedule.so_far()), ["a", "b"]);
}

/// Control subjects in a queue group: the nth request reaches one of three instances.
#[test]
fn one_reply_to_each_request_is_no_shortage() {
    let mut probe = Probe::new(PingPlan {
        thresholds: vec![Range::at_least(3.0)],
        ..plan(&[], true)
    });
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    assert_eq!(probe.next(ms(301)), pings(1, 31));
    probe.asked(ms(301), 31);
    for round in 1..32 {
        probe.hear(302, round, ["a", "b", "c"][round % 3]);
    }
    // Of three, more are to be heard before it is said who is there.
    assert_eq!(probe.next(ms(602)), pings(32, 16));
    probe.asked(ms(602), 16);
    for round in 32..48 {
        probe.hear(603, round, "a");
    }
    assert!(probe.observation().queue_group);
    let PingAction::Done(Outcome::Answered(answers)) = probe.next(ms(903)) else {
        panic!("not done")
    };
    assert_eq!(answers.len(), 3);
    assert_eq!(probe.observation().rounds, 3);
}

/// An instance that is slower than another replies to each request all the same.
#[test]
fn a_slow_instance_shares_no_queue_group() {
    let mut probe = Probe::new(plan(&["a", "b"], true));
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    assert_eq!(probe.next(ms(301)), pings(1, 31));
    probe.asked(ms(301), 31);
    for round in 0..32 {
        probe.hear(302, round, "a");
        probe.hear(400, round, "b");
    }
    assert!(!probe.observation().queue_group);
    assert!(probe.observation().same_id.iter().all(|(id, _)| id == "a"));
}

#[test]
fn the_schedule_follows_confirm() {
    let cases: &[(u64, &[u64])] = &[
        (0, &[0]),
        (49, &[0, 49]),
        (50, &[0, 50]),
        (300, &[0, 50, 250, 300]),
        (3000, &[0, 50, 250, 1200, 2500, 3000]),
        (5000, &[0, 50, 250, 1200, 2500, 5000]),
        (12_000, &[0, 50, 250, 1200, 2500, 5000, 10_000, 12_000]),
    ];
    for (confirm, expected) in cases {
        let plan = PingPlan {
            confirm: ms(*confirm),
            ..plan(&[], true)
        };
        let (asked, _, outcome) = simulate(plan, &[&[NoResponders, Pong]]);
        assert_eq!(
            (&asked[..], outcome),
            (*expected, Some(Outcome::NoResponders)),
            "{confirm}"
        );
    }
}

#[test]
fn a_503_before_answers_at_the_next_asking_is_no_outage() {
    let (asked, end, outcome) = simulate(
        plan(&["a"], false),
        &[&[NoResponders, Pong], &[NoResponders, Pong], &[Pong, Reply(2, "a")]],
    );
    assert_eq!((asked, end), (vec![0, 50, 250], 252));
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn a_503_after_an_answer_does_not_count() {
    let mut probe = Probe::new(plan(&[], true));
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    probe.schedule.no_responders(&Ping(0));
    assert_eq!(probe.next(ms(2)), PingAction::Listen(ms(301)));
}

#[test]
fn an_answer_to_an_earlier_asking_counts() {
    let (asked, _, outcome) = simulate(plan(&["a"], false), &[&[Pong, Reply(900, "a")], &[Pong]]);
    assert_eq!(asked, [0, 50, 250]);
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn more_instances_than_anybody_has_are_a_flood() {
    let mut probe = Probe::new(plan(&[], true));
    probe.asked(ms(0), 1);
    for n in 0..MAX_INSTANCES {
        assert_eq!(
            probe.next(ms(1)),
            PingAction::Listen(if n == 0 { ms(50) } else { ms(301) })
        );
        probe.hear(1, 0, &n.to_string());
    }
    assert_eq!(probe.next(ms(1)), PingAction::Flooded);
    assert_eq!(probe.next(ms(1000)), PingAction::Flooded);
    probe.hear(1, 0, "one_more");
    assert_eq!(probe.schedule.count(), MAX_INSTANCES);
}

#[test]
fn answer_counts_as_of_its_request() {
    let mut probe = Probe::new(plan(&["a"], true));
    probe.asked(ms(3), 1);
    probe.asked(ms(50), 1);
    let other = probe.reply(ms(60), &Ping(1), br#"{"name":"billing","id":"b"}"#);
    assert_eq!(
        (other, probe.schedule.replies.alive_at),
        (Err(NotCounted::Foreign), None)
    );
    probe.hear(900, 0, "a");
    assert_eq!(probe.schedule.replies.alive_at, Some(ms(3)));
    probe.hear(901, 1, "a");
    probe.hear(902, 0, "a");
    assert_eq!(probe.schedule.replies.alive_at, Some(ms(50)));
}

#[test]
fn a_late_503_of_an_earlier_asking_is_not_taken_for_the_latest() {
    let mut probe = Probe::new(PingPlan {
        confirm: ms(50),
        ..plan(&[], true)
    });
    probe.asked(ms(0), 1);
    probe.asked(ms(50), 1);
    probe.schedule.no_responders(&Ping(0));
    probe.pong();
    probe.pong();
    assert_eq!(probe.next(ms(60)), PingAction::Listen(ms(5000)));
}

#[test]
fn silence_is_retried_and_reported_late() {
    let (asked, end, outcome) = simulate(plan(&["a"], false), &[&[Pong]]);
    assert_eq!(asked, [0, 50, 250, 1200, 2500, 5000]);
    assert_eq!((end, outcome), (5300, Some(Outcome::Silent(ms(5300)))));
}

#[test]
fn silence_that_turns_into_503_is_down() {
    let (asked, end, outcome) = simulate(plan(&["a"], false), &[&[Pong], &[Pong], &[Pong], &[NoResponders, Pong]]);
    assert_eq!(asked, [0, 50, 250, 1200, 2500, 5000]);
    assert_eq!((end, outcome), (5001, Some(Outcome::NoResponders)));
    // A service that comes back with its client's second attempt is up.
    let nobody: &[Event] = &[NoResponders, Pong];
    let reactions = [nobody, nobody, nobody, nobody, nobody, &[Reply(1, "a"), Pong]];
    let (asked, end, outcome) = simulate(plan(&["a"], false), &reactions);
    assert_eq!((asked.len(), end), (6, 5001));
    assert_eq!(ids(outcome), ["a"]);
    let (_, end, outcome) = simulate(
        plan(&["a"], false),
        &[&[Pong], &[Pong], &[Pong], &[Pong], &[Pong], &[NoResponders, Pong]],
    );
    assert_eq!((end, outcome), (5001, Some(Outcome::NoResponders)));
}

#[test]
fn a_slow_service_is_not_silent() {
    let (_, end, outcome) = simulate(plan(&["a"], false), &[&[Pong, Reply(4800, "a")], &[Pong]]);
    assert_eq!(end, 4800);
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn without_asking_again_silence_takes_a_ping_at_the_end() {
    let plan = PingPlan {
        confirm: ms(0),
        ..plan(&["a"], false)
    };
    let (asked, end, outcome) = simulate(plan, &[&[Pong]]);
    assert_eq!(asked, [0]);
    assert_eq!((end, outcome), (5300, Some(Outcome::Silent(ms(5300)))));
}

#[test]
fn a_server_that_stops_answering_is_no_silent_service() {
    let (asked, _, outcome) = simulate(plan(&["a"], false), &[&[Pong], &[]]);
    assert_eq!(asked, [0, 50, 250, 1200, 2500, 5000]);
    assert_eq!(outcome, None, "only the deadline ends it");
}

#[test]
fn rejected_replies_are_counted_separately() {
    let mut probe = Probe::new(plan(&[], true));
    probe.asked(ms(0), 1);
    for payload in [
        &br#"{"name":"other","id":"a"}"#[..],
        br#"{"stream":"CAP","seq":1}"#,
        b"\xff",
        b"{",
    ] {
        assert!(probe.reply(ms(1), &Ping(0), payload).is_err());
    }
    let expected = Ignored {
        foreign: 1,
        acks: 1,
        broken: 2,
        ..Ignored::default()
    };
    assert_eq!(probe.observation().ignored, expected);
    assert_eq!(probe.schedule.so_far(), None);
}

#[test]
fn another_instance_does_not_reply_for_the_one_that_is_wanted() {
    let sibling = Err(NotCounted::Sibling);
    let values = [("pod", "web-1"), ("zone", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    // Each reply, whether it counts, and the number of instances known to lack a key from then on.
    let cases = [
        (
            Wanted::Id("a".into()),
            vec![(r#""id":"b""#, sibling, 0), (r#""id":"a""#, Ok(()), 0)],
        ),
        (
            Wanted::Match(values.to_vec()),
            vec![
                (r#""id":"a""#, sibling, 1),
                (r#""id":"a","metadata":null"#, sibling, 1),
                (r#""id":"b","metadata":{"pod":"web-1"}"#, sibling, 2),
                (r#""id":"c","metadata":{"pod":"web-1","zone":7}"#, sibling, 3),
                (r#""id":"d","metadata":{"pod":"web-1","zone":"a"}"#, sibling, 0),
                (r#""id":"e","metadata":{"pod":"web-1","zone":"b","x":"y"}"#, Ok(()), 0),
            ],
        ),
    ];
    for (wanted, replies) in cases {
        let mut probe = Probe::new(PingPlan {
            wanted,
            ..plan(&[], false)
        });
        probe.asked(ms(0), 1);
        let mut siblings = 0;
        for (fields, counted, without_key) in replies {
            let payload = format!(r#"{{"name":"orders",{fields}}}"#);
            assert_eq!(probe.reply(ms(1), &Ping(0), payload.as_bytes()), counted, "{fields}");
            siblings += u32::from(counted.is_err());
            let expected = Ignored {
                siblings,
                without_key,
                ..Ignored::default()
            };
            assert_eq!(probe.observation().ignored, expected, "{fields}");
            assert_eq!(probe.schedule.so_far().is_some(), counted.is_ok(), "{fields}");
        }
    }
}

#[test]
fn only_the_first_round_without_a_reply_awaits_the_first_reply() {
    let mut probe = Probe::new(plan(&["a"], false));
    assert!(!probe.schedule.awaits_first_reply());
    probe.asked(ms(0), 1);
    assert!(probe.schedule.awaits_first_reply());
    probe.asked(ms(50), 1);
    assert!(!probe.schedule.awaits_first_reply());
    let mut probe = Probe::new(plan(&["a", "b"], false));
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "b");
    assert!(!probe.schedule.awaits_first_reply());
}

#[test]
fn one_that_may_not_be_asked_by_name_is_no_silence_when_the_time_is_up() {
    let mut probe = Probe::new(plan(&["a"], false));
    probe.asked(ms(0), 1);
    probe.schedule.denied_by_name("not allowed");
    let denied = Failure::new(Reason::PermissionDenied, "not allowed");
    assert_eq!(probe.schedule.so_far(), Some(Outcome::Failed(denied.clone())));
    assert_eq!(probe.next(ms(300)), PingAction::Done(Outcome::Failed(denied)));
}

#[test]
fn reply_to_any_ping_is_that_of_an_instance() {
    // The second query to all services, in a run for all.
    let mut probe = Probe::new(plan(&["a"], false));
    probe.asked(ms(0), 1);
    probe.sent.push((Discovery, ms(0)));
    assert_eq!(probe.reply(ms(1), &Discovery, &payload("a")), Ok(()));
    assert_eq!(ids(probe.schedule.so_far()), ["a"]);
    // One that replies for an id that nobody has is an instance where others have replied.
    let mut probe = two_missing();
    assert_eq!(probe.reply(ms(302), &UnusedId, &payload("b")), Ok(()));
    assert_eq!(ids(probe.schedule.so_far()), ["a", "b", "d"]);
}

#[test]
fn silence_of_the_own_instance_is_not_examined() {
    let mut probe = Probe::new(PingPlan {
        wanted: Wanted::Id("a".into()),
        confirm: ms(0),
        patience: ms(500),
        ..plan(&[], false)
    });
    probe.asked(ms(0), 1);
    probe.pong();
    assert_eq!(probe.next(ms(500)), PingAction::Ping);
    probe.clock.ping_sent(ms(500));
    probe.pong();
    assert_eq!(probe.next(ms(800)), PingAction::Done(Outcome::Silent(ms(800))));
}

#[test]
fn own_instance_in_a_queue_group_is_asked_for_again() {
    let wanted = Wanted::Match(vec![("pod".into(), "web-1".into())]);
    let mut probe = Probe::new(PingPlan {
        wanted,
        ..plan(&[], false)
    });
    probe.asked(ms(0), 1);
    let of_pod = |pod: &str, id: &str| format!(r#"{{"name":"orders","id":"{id}","metadata":{{"pod":"{pod}"}}}}"#);
    // One after the other gets the request.
    for (nth, pod) in [(0, "web-2"), (1, "web-3")] {
        let reply = probe.reply(ms(1), &Ping(nth), of_pod(pod, pod).as_bytes());
        assert_eq!(reply, Err(NotCounted::Sibling));
        let PingAction::Send(queries) = probe.next(ms(5001)) else {
            panic!("no further requests");
        };
        assert!(queries.len() > 1, "{queries:?}");
        probe.send(ms(5001), &queries);
    }
    let own = probe.reply(ms(5002), &Ping(2), of_pod("web-1", "A").as_bytes());
    assert_eq!(own, Ok(()));
    let PingAction::Done(outcome) = probe.next(ms(5003)) else {
        panic!("one reply is enough");
    };
    assert_eq!(ids(Some(outcome)), ["A"]);
}

#[test]
fn ids_that_reply_more_than_once_to_one_request_are_reported() {
    let mut probe = Probe::new(plan(&[], true));
    probe.asked(ms(0), 2);
    // One reply to each request is as it should be.
    let replies = [
        (0, "a"),
        (1, "a"),
        (0, "b"),
        (0, "b"),
        (1, "b"),
        (0, "c"),
        (0, "c"),
        (0, "c"),
    ];
    for (nth, id) in replies {
        probe.hear(1, nth, id);
    }
    let twice_and_thrice = [("b".to_owned(), 2), ("c".to_owned(), 3)];
    assert_eq!(probe.observation().same_id, twice_and_thrice);
    for n in 0..20 {
        for _ in 0..2 {
            probe.hear(1, 1, &n.to_string());
        }
    }
    assert_eq!(probe.observation().same_id.len(), 16);
}

/// Four known, two answer; `at` 301 the others are asked one by one.
fn two_missing() -> Probe {
    let mut probe = Probe::new(plan(&["a", "b", "c", "d"], false));
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "a");
    probe.hear(1, 0, "d");
    let queries = each(InstancePing, &["b", "c"]);
    assert_eq!(probe.next(ms(301)), PingAction::Send(queries.clone()));
    probe.send(ms(301), &queries);
    probe
}

#[test]
fn the_missing_are_asked_one_by_one() {
    let mut probe = two_missing();
    assert_eq!(probe.next(ms(301)), PingAction::Listen(ms(601)));
    probe.schedule.no_responders(&InstancePing("c".into()));
    assert_eq!(
        probe.absent(),
        [("b".to_owned(), Fate::NotAnswering), ("c".to_owned(), Fate::Gone)]
    );
    assert_eq!(probe.next(ms(302)), PingAction::Listen(ms(601)));
    assert_eq!(ids(probe.schedule.so_far()), ["a", "d"]);
    assert!(matches!(probe.next(ms(601)), PingAction::Done(Outcome::Answered(_))));
    // As soon as all have answered, it is over.
    let slow = probe.reply(ms(310), &InstancePing("b".into()), &payload("b"));
    assert_eq!(slow, Ok(()));
    assert_eq!(
        probe.absent(),
        [("b".to_owned(), Fate::Slow), ("c".to_owned(), Fate::Gone)]
    );
    let PingAction::Done(Outcome::Answered(answers)) = probe.next(ms(310)) else {
        panic!("all is known")
    };
    // Each is timed by the request that it answered.
    let told = |answer: &InstanceReply| (answer.instance.id.clone(), answer.rtt);
    let expected = [("a", 1), ("b", 9), ("d", 1)].map(|(id, rtt)| (id.to_owned(), Some(ms(rtt))));
    assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_missing_instance_is_told_from_one_that_a_wildcard_subscriber_hides() {
    let asked = |nobody_told: bool| {
        let mut probe = two_missing();
        probe.schedule.no_responders(&InstancePing("b".into()));
        if nobody_told {
            probe.schedule.no_responders(&UnusedId);
        }
        // The server has dealt with all three: the question, the instances, and this.
        probe.clock.ping_sent(ms(302));
        (0..3).for_each(|_| probe.pong());
        probe.silence()
    };
    assert_eq!((asked(true), asked(false)), (Silence::Subscribed, Silence::Hidden));
    // The server has not said anything yet.
    assert_eq!(two_missing().silence(), Silence::Unknown);
}

#[test]
fn without_permission_the_missing_are_only_missing() {
    let mut probe = two_missing();
    assert!(probe.schedule.denied(None, "no"));
    assert!(matches!(probe.next(ms(302)), PingAction::Done(Outcome::Answered(_))));
    assert!(probe.absent().iter().all(|(_, fate)| *fate == Fate::NotAsked));
    let mut question = Probe::new(plan(&[], true));
    question.asked(ms(0), 1);
    assert!(!question.schedule.denied(Some(&Ping(0)), "no"), "the question itself");
}

#[test]
fn doubtful_instances_are_asked_again_despite_replacements() {
    let with_doubt = || {
        let mut plan = plan(&["a", "b"], false);
        plan.previously_missing.insert("frozen".into());
        let mut probe = Probe::new(plan);
        probe.asked(ms(0), 1);
        probe.hear(1, 0, "a");
        probe.hear(2, 0, "b");
        probe
    };
    assert_eq!(
        with_doubt().next(ms(2)),
        PingAction::Send(each(InstancePing, &["frozen"]))
    );
    let mut replaced = with_doubt();
    replaced.hear(2, 0, "new");
    assert_eq!(replaced.next(ms(2)), PingAction::Send(each(InstancePing, &["frozen"])));
}

#[test]
fn instances_before_an_outage_are_asked_for_at_its_end() {
    let mut plan = plan(&[], true);
    plan.before_outage = vec!["a".into(), "b".into()];
    let mut probe = Probe::new(plan);
    probe.asked(ms(0), 1);
    probe.hear(1, 0, "b");
    probe.hear(2, 0, "new");
    assert_eq!(probe.next(ms(302)), PingAction::Send(each(InstancePing, &["a"])));
}

#[test]
fn never_seen_service_makes_the_probe_list_others() {
    let mut plan = plan(&[], true);
    (plan.discover, plan.confirm) = (true, ms(0));
    let mut probe = Probe::new(plan);
    probe.asked(ms(0), 1);
    probe.schedule.no_responders(&Ping(0));
    assert_eq!(probe.observation().others, None);
    assert_eq!(probe.next(ms(1)), PingAction::Send(vec![Discovery]));
    probe.send(ms(1), &[Discovery]);
    assert_eq!(probe.schedule.so_far(), Some(Outcome::NoResponders));
    for (at, id) in [(10, "A"), (20, "B"), (30, "B")] {
        let payload = format!(r#"{{"name":"users","id":"{id}"}}"#);
        assert_eq!(probe.reply(ms(at), &Discovery, payload.as_bytes()), Ok(()));
    }
    let bad = probe.reply(ms(40), &Discovery, br#"{"name":"bad|name","id":"B"}"#);
    assert_eq!(bad, Err(NotCounted::Foreign));
    assert_eq!(probe.next(ms(40)), PingAction::Listen(ms(320)));
    assert_eq!(probe.next(ms(320)), PingAction::Done(Outcome::NoResponders));
    assert_eq!(probe.observation().others, Some(vec![("users".to_owned(), 2)]));
    // Nobody at all is there.
    probe.schedule.no_responders(&Discovery);
    assert_eq!(probe.next(ms(40)), PingAction::Done(Outcome::NoResponders));
}

#[test]
fn number_of_other_services_is_bounded() {
    let mut probe = Probe::new(PingPlan {
        discover: true,
        ..plan(&[], true)
    });
    probe.send(ms(0), &[Discovery]);
    for n in 0..=1000 {
        for (name, id) in [
            (format!("other{n}"), "x".to_owned()),
            ("other0".to_owned(), format!("y{n}")),
        ] {
            let payload = format!(r#"{{"name":"{name}","id":"{id}"}}"#);
            assert_eq!(probe.reply(ms(1), &Discovery, payload.as_bytes()), Ok(()));
        }
    }
    let others = probe.observation().others.expect("others");
    assert_eq!((others.len(), &others[0]), (1000, &("other0".to_owned(), 1000)));
}

/// A service that is subscribed and silent, at the moment when that is looked into.
fn silent(known: &[&str], discover: bool) -> (Probe, Duration) {
    let mut probe = Probe::new(PingPlan {
        discover,
        ..plan(known, false)
    });
    let mut now = Duration::ZERO;
    loop {
        match probe.next(now) {
            PingAction::Listen(until) => now = until,
            PingAction::Send(queries) => {
                probe.send(now, &queries);
                probe.pong();
                if !matches!(queries[0], Ping(_)) {
                    let mut expected = each(InstanceStatus, known);
                    expected.extend(discover.then_some(Discovery));
                    assert_eq!(queries, expected);
                    return (probe, now);
                }
            }
            action => panic!("{action:?}"),
        }
    }
}

#[test]
fn cause_of_a_silence_is_examined_before_it_is_reported() {
    const STATS_OF_A: &[u8] = br#"{"name":"orders","id":"a","type":"io.nats.micro.v1.stats_response","endpoints":[]}"#;
    let silence = |now: Duration| PingAction::Done(Outcome::Silent(now));
    let [of_a, of_b] = ["a", "b"].map(|id| InstanceStatus(id.to_owned()));

    // Nobody listens to whatever is asked, and nobody has the ids of before.
    let (mut probe, now) = silent(&["a", "b"], false);
    probe.schedule.no_responders(&of_a);
    assert_eq!(probe.next(now), PingAction::Listen(now + ms(300)));
    probe.schedule.no_responders(&of_b);
    probe.schedule.no_responders(&UnusedId);
    assert_eq!(probe.next(now), silence(now));
    assert_eq!(probe.silence(), Silence::Subscribed);
    assert_eq!(
        probe.absent(),
        [("a".to_owned(), Fate::Gone), ("b".to_owned(), Fate::Gone)]
    );

    // Somebody listens to it.
    let (probe, now) = silent(&["a"], false);
    assert_eq!(probe.next(now + ms(299)), PingAction::Listen(now + ms(300)));
    assert_eq!(probe.next(now + ms(300)), silence(now));
    assert_eq!(probe.silence(), Silence::Hidden);

    // The server itself is slow.
    let (mut probe, now) = silent(&["a"], false);
    probe.clock.ping_sent(now);
    assert_eq!(probe.next(now + ms(300)), PingAction::Listen(now + ms(1200)));
    probe.pong();
    assert_eq!(probe.next(now + ms(400)), silence(now));

    // Whether somebody does may not be asked.
    let (mut probe, now) = silent(&["a"], false);
    assert!(
        probe.schedule.denied(Some(&UnusedId), "no"),
        "it was not the question itself"
    );
    assert_eq!(probe.next(now + ms(300)), silence(now));
    assert_eq!(probe.silence(), Silence::Unknown);

    // In an open outage, those of before it.
    let mut probe = Probe::new(PingPlan {
        before_outage: vec!["a".into()],
        patience: ms(0),
        ..plan(&[], false)
    });
    for second in 0..10 {
        if let PingAction::Send(queries) = probe.next(ms(1000 * second)) {
            probe.send(ms(1000 * second), &queries);
            probe.pong();
        }
    }
    assert!(probe.observation().absent.iter().map(|(id, _)| id).eq(["a"]));

    // An instance that answers other questions is alive.
    let (mut probe, now) = silent(&["a", "b"], false);
    probe.schedule.no_responders(&UnusedId);
    assert_eq!(probe.reply(now + ms(9), &of_a, STATS_OF_A), Ok(()));
    probe.schedule.no_responders(&of_b);
    let outcome = match probe.next(now + ms(9)) {
        PingAction::Done(outcome) => Some(outcome),
        action => panic!("{action:?}"),
    };
    assert_eq!(ids(outcome), ["a"]);
    assert!(probe.observation().without_ping);

    // A stream that captures everything is nobody who answers for any id.
    let (mut probe, now) = silent(&["a", "b"], false);
    let ack = br#"{"stream":"S","seq":7}"#;
    assert_eq!(probe.reply(now + ms(1), &UnusedId, ack), Err(NotCounted::Ack));
    assert_eq!(probe.reply(now + ms(2), &of_a, STATS_OF_A), Ok(()));
    assert_eq!(ids(probe.schedule.so_far()), ["a"]);

    // But not one that answers for another, nor for an id that nobody has.
    let (mut probe, now) = silent(&["a", "b"], false);
    let broken = Err(NotCounted::Broken);
    assert_eq!(probe.reply(now + ms(1), &of_b, STATS_OF_A), broken);
    assert_eq!(probe.reply(now + ms(1), &of_a, STATS_OF_A), Ok(()));
    assert_eq!(probe.reply(now + ms(2), &UnusedId, STATS_OF_A), broken);
    assert_eq!(probe.reply(now + ms(3), &of_a, STATS_OF_A), broken);
    assert_eq!(probe.next(now + ms(301)), silence(now));
    assert_eq!(
        (probe.silence(), probe.observation().without_ping),
        (Silence::Hidden, false)
    );
}

#[test]
fn silence_of_a_never_seen_service_is_examined_and_others_are_listed() {
    let (mut probe, now) = silent(&[], true);
    probe.schedule.no_responders(&UnusedId);
    let other = probe.reply(now + ms(5), &Discovery, br#"{"name":"billing","id":"x"}"#);
    assert_eq!(other, Ok(()));
    assert_eq!(probe.next(now + ms(5)), PingAction::Listen(now + ms(305)));
    assert_eq!(probe.next(now + ms(305)), PingAction::Done(Outcome::Silent(now)));
    let seen = probe.observation();
    assert_eq!(seen.others, Some(vec![("billing".to_owned(), 1)]));
    assert_eq!(seen.silence, Silence::Subscribed);

    // Only the denial of the query for others is told, and neither that nor its 503 is the end of the others.
    for query in [InstanceStatus("a".to_owned()), Discovery] {
        let (mut probe, now) = silent(&["a"], true);
        probe.schedule.no_responders(&Discovery);
        assert!(probe.schedule.denied(Some(&query), "not allowed"));
        assert_eq!(probe.next(now), PingAction::Listen(now + ms(300)));
        let seen = probe.observation();
        assert_eq!(seen.denied, if query == Discovery { "not allowed" } else { "" });
        assert_eq!(seen.absent, [("a".to_owned(), Fate::NotAnswering)]);
    }
}

#[test]
fn statistics_are_waited_for_no_longer_than_for_an_answer() {
    let with_stats = |known: &[&str]| {
        let mut probe = Probe::new(PingPlan {
            stats: true,
            ..plan(known, false)
        });
        probe.send(ms(0), &[Ping(0), Stats]);
        probe
    };
    let done = |action: PingAction| matches!(action, PingAction::Done(Outcome::Answered(_)));
    let stats = |probe: &mut Probe, now: u64, id: &str| {
        assert_eq!(probe.reply(ms(now), &Stats, &payload(id)), Ok(()));
    };
    // They come before and after the answers.
    let mut probe = with_stats(&["a", "b"]);
    stats(&mut probe, 1, "a");
    probe.hear(2, 0, "a");
    probe.hear(3, 0, "b");
    assert_eq!(probe.next(ms(3)), PingAction::Listen(ms(303)));
    stats(&mut probe, 4, "b");
    assert!(done(probe.next(ms(4))));
    assert_eq!(probe.observation().stats.map(|stats| stats.instances.len()), Some(2));
    // An instance never sends any; a stranger, and one twice, do not count for it.
    let mut probe = with_stats(&["a"]);
    probe.hear(1, 0, "a");
    for id in ["x", "x"] {
        stats(&mut probe, 9, id);
    }
    assert_eq!(probe.next(ms(9)), PingAction::Listen(ms(309)));
    assert!(done(probe.next(ms(309))));
    // They are not allowed: nobody waits.
    let mut probe = with_stats(&["a"]);
    probe.hear(1, 0, "a");
    assert!(probe.schedule.denied(Some(&Stats), "no"));
    assert!(done(probe.next(ms(1))));
    // They are no answer to the question.
    let mut probe = with_stats(&["a"]);
    stats(&mut probe, 1, "a");
    probe.schedule.no_responders(&Ping(0));
    assert_eq!(probe.next(ms(2)), PingAction::Listen(ms(50)));
}

#[test]
fn statistics_are_asked_for_again_where_few_are_known_or_nobody_is_there() {
    let queries = |known: KnownInstances, no_responders: bool| {
        let mut probe = Probe::new(PingPlan {
            stats: true,
            known,
            ..plan(&[], false)
        });
        assert_eq!(probe.next(ms(0)), PingAction::Send(vec![Ping(0), Stats]));
        probe.send(ms(0), &[Ping(0), Stats]);
        if no_responders {
            probe.schedule.no_responders(&Ping(0));
        }
        probe.next(ms(50))
    };
    let counted = |count: usize| {
        let ids: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        KnownInstances::Ids(ids.into_iter().collect())
    };
    let (with, without) = (PingAction::Send(vec![Ping(1), Stats]), PingAction::Send(vec![Ping(1)]));
    assert_eq!(queries(counted(0), false), without);
    assert_eq!(queries(counted(0), true), with);
    assert_eq!(queries(counted(999), false), with);
    assert_eq!(queries(counted(1000), false), without);
    assert_eq!(queries(counted(1000), true), with);
}
