use super::*;

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
        first_ping_delay: None,
    }
}

/// What happens to the nth asking: after how many milliseconds which reply, or a 503, or a PONG.
enum Event {
    Reply(u64, &'static str),
    NoResponders,
    Pong,
}
use Event::{NoResponders, Pong, Reply};

/// Runs a probe in simulated time against a service that reacts to the nth asking as told; the last reaction is
/// that to all further rounds. Returns when each asking was, the end, and the outcome.
fn simulate(plan: PingPlan, reactions: &[&[Event]]) -> (Vec<u64>, u64, Option<Outcome>) {
    let mut schedule = Schedule::new(plan);
    let (mut now, mut asked, mut queue, mut requests) = (Duration::ZERO, Vec::new(), Vec::new(), 0);
    loop {
        match schedule.next(now) {
            next @ (PingAction::Ask | PingAction::AskMany(_)) => {
                let times = match next {
                    PingAction::AskMany(times) => times,
                    _ => 1,
                };
                match times {
                    1 => schedule.asked(now),
                    _ => schedule.asked_many(now, times),
                }
                let reaction = reactions.get(asked.len()).or(reactions.last()).expect("a reaction");
                asked.push(now.as_millis() as u64);
                for n in 0..times {
                    for event in reaction.iter().filter(|event| n == 0 || !matches!(event, Pong)) {
                        let after = if let Reply(after, _) = event { ms(*after) } else { ms(1) };
                        queue.push((now + after, requests, event));
                    }
                    requests += 1;
                }
            }
            PingAction::Ping => {
                schedule.pinged(now);
                queue.push((now + ms(1), 0, &Pong));
            }
            PingAction::AskEach(_) | PingAction::Discover => return (asked, now.as_millis() as u64, schedule.so_far()),
            PingAction::LookInto { .. } => return (asked, now.as_millis() as u64, Some(Outcome::Silent(now))),
            PingAction::Listen(until) => {
                queue.sort_by_key(|(at, ..)| *at);
                match queue.first() {
                    Some((at, ..)) if *at <= until => {
                        let (at, round, event) = queue.remove(0);
                        now = at;
                        match event {
                            Reply(_, id) => {
                                let payload = format!(r#"{{"name":"orders","id":"{id}"}}"#);
                                schedule.reply(now, round, "", payload.as_bytes());
                            }
                            NoResponders => schedule.no_responders(round, ""),
                            Pong => schedule.pong(),
                        }
                    }
                    _ if until == Duration::MAX => return (asked, now.as_millis() as u64, None),
                    _ => now = until,
                }
            }
            PingAction::Done(outcome) => return (asked, now.as_millis() as u64, Some(outcome)),
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
fn a_census_ends_when_nobody_has_answered_for_the_stall_time() {
    let (_, end, outcome) = simulate(
        plan(&["a"], true),
        &[&[Reply(1, "a"), Reply(250, "b"), Reply(540, "c"), Reply(900, "late")]],
    );
    assert_eq!(end, 840);
    assert_eq!(ids(outcome), ["a", "b", "c"]);
}

#[test]
fn a_missing_known_instance_makes_it_a_census() {
    let mut schedule = Schedule::new(plan(&["a", "b", "c"], false));
    schedule.asked(ms(0));
    hear(&mut schedule, 1, "a");
    hear(&mut schedule, 1, "c");
    assert_eq!(schedule.next(ms(1)), PingAction::Listen(ms(301)));
    assert!(schedule.was_census());
    assert_eq!(schedule.next(ms(301)), PingAction::AskEach(vec!["b".into()]));
}

#[test]
fn a_duplicate_neither_counts_nor_prolongs() {
    let (_, end, outcome) = simulate(plan(&[], true), &[&[Reply(1, "a"), Reply(200, "a"), Reply(290, "a")]]);
    assert_eq!(end, 301);
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn down_is_said_only_after_the_last_asking() {
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

/// Control subjects in a queue group: the nth request reaches one of three instances.
#[test]
fn one_reply_to_each_request_is_no_shortage() {
    let mut schedule = Schedule::new(PingPlan {
        thresholds: vec![Range::at_least(3.0)],
        ..plan(&[], true)
    });
    schedule.asked(ms(0));
    hear_round(&mut schedule, 1, 0, "a");
    assert_eq!(schedule.next(ms(301)), PingAction::AskMany(31));
    schedule.asked_many(ms(301), 31);
    for round in 1..32 {
        hear_round(&mut schedule, 302, round, ["a", "b", "c"][round % 3]);
    }
    // Of three, more are to be heard before it is said who is there.
    assert_eq!(schedule.next(ms(602)), PingAction::AskMany(16));
    schedule.asked_many(ms(602), 16);
    for round in 32..48 {
        hear_round(&mut schedule, 603, round, "a");
    }
    assert!(schedule.one_reply_each());
    let PingAction::Done(Outcome::Answered(answers)) = schedule.next(ms(903)) else {
        panic!("not done")
    };
    assert_eq!(answers.len(), 3);
    assert_eq!(schedule.rounds(), 3);
}

/// An instance that is slower than another replies to each request all the same.
#[test]
fn a_slow_instance_shares_no_queue_group() {
    let mut schedule = Schedule::new(plan(&["a", "b"], true));
    schedule.asked(ms(0));
    hear_round(&mut schedule, 1, 0, "a");
    assert_eq!(schedule.next(ms(301)), PingAction::AskMany(31));
    schedule.asked_many(ms(301), 31);
    for round in 0..32 {
        hear_round(&mut schedule, 302, round, "a");
        hear_round(&mut schedule, 400, round, "b");
    }
    assert!(!schedule.one_reply_each());
    assert!(schedule.same_id().iter().all(|(id, _)| id == "a"));
}

fn hear_round(schedule: &mut Schedule, now: u64, round: usize, id: &str) {
    let payload = format!(r#"{{"name":"orders","id":"{id}"}}"#);
    schedule.reply(ms(now), round, "", payload.as_bytes());
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
    let mut schedule = Schedule::new(plan(&[], true));
    schedule.asked(ms(0));
    schedule.reply(ms(1), 0, "", br#"{"name":"orders","id":"a"}"#);
    schedule.no_responders(0, "");
    assert_eq!(schedule.next(ms(2)), PingAction::Listen(ms(301)));
}

#[test]
fn an_answer_to_an_earlier_asking_counts() {
    let (asked, _, outcome) = simulate(plan(&["a"], false), &[&[Pong, Reply(900, "a")], &[Pong]]);
    assert_eq!(asked, [0, 50, 250]);
    assert_eq!(ids(outcome), ["a"]);
}

#[test]
fn more_instances_than_anybody_has_are_a_flood() {
    let mut schedule = Schedule::new(plan(&[], true));
    schedule.asked(ms(0));
    for n in 0..MAX_INSTANCES {
        assert_eq!(
            schedule.next(ms(1)),
            PingAction::Listen(if n == 0 { ms(50) } else { ms(301) })
        );
        schedule.reply(ms(1), 0, "", format!(r#"{{"name":"orders","id":"{n}"}}"#).as_bytes());
    }
    assert_eq!(schedule.next(ms(1)), PingAction::Flooded);
    assert_eq!(schedule.next(ms(1000)), PingAction::Flooded);
}

#[test]
fn an_answer_proves_no_more_than_when_it_was_asked_for() {
    let answer = br#"{"name":"orders","id":"a"}"#;
    let mut schedule = Schedule::new(plan(&["a"], true));
    schedule.asked(ms(0));
    schedule.on_wire(0, ms(3));
    schedule.asked(ms(50));
    schedule.reply(ms(60), 1, "", br#"{"name":"billing","id":"b"}"#);
    assert_eq!(schedule.alive_at(), None);
    schedule.reply(ms(900), 0, "", answer);
    assert_eq!(schedule.alive_at(), Some(ms(3)));
    schedule.reply(ms(901), 1, "", answer);
    schedule.reply(ms(902), 0, "", answer);
    assert_eq!(schedule.alive_at(), Some(ms(50)));
}

#[test]
fn a_late_503_of_an_earlier_asking_is_not_taken_for_the_latest() {
    let mut schedule = Schedule::new(PingPlan {
        confirm: ms(50),
        ..plan(&[], true)
    });
    schedule.asked(ms(0));
    schedule.asked(ms(50));
    schedule.no_responders(0, "");
    schedule.pong();
    schedule.pong();
    assert_eq!(schedule.next(ms(60)), PingAction::Listen(ms(5000)));
}

#[test]
fn silence_is_asked_again_and_believed_late() {
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
fn what_does_not_count_is_counted_apart() {
    let mut schedule = Schedule::new(plan(&[], true));
    schedule.asked(ms(0));
    for payload in [
        &br#"{"name":"other","id":"a"}"#[..],
        br#"{"stream":"CAP","seq":1}"#,
        b"\xff",
        b"{",
    ] {
        assert!(schedule.reply(ms(1), 0, "", payload).is_some());
    }
    let expected = Ignored {
        foreign: 1,
        acks: 1,
        broken: 2,
        ..Ignored::default()
    };
    assert_eq!(schedule.ignored(), expected);
    assert_eq!(schedule.so_far(), None);
}

fn hear(schedule: &mut Schedule, now: u64, id: &str) {
    let round = schedule.rounds() - 1;
    schedule.reply(
        ms(now),
        round,
        "",
        format!(r#"{{"name":"orders","id":"{id}"}}"#).as_bytes(),
    );
}

/// Four known, two answer; `at` 301 the others are asked one by one.
fn two_missing() -> Schedule {
    let mut schedule = Schedule::new(plan(&["a", "b", "c", "d"], false));
    schedule.asked(ms(0));
    hear(&mut schedule, 1, "a");
    hear(&mut schedule, 1, "d");
    let ids = vec!["b".to_owned(), "c".to_owned()];
    assert_eq!(schedule.next(ms(301)), PingAction::AskEach(ids.clone()));
    schedule.inquired(ms(301), ids);
    schedule
}

#[test]
fn the_missing_are_asked_one_by_one() {
    let mut schedule = two_missing();
    assert_eq!(schedule.next(ms(301)), PingAction::Listen(ms(601)));
    schedule.no_responders(1, "1");
    assert_eq!(
        schedule.absent(),
        [("b".to_owned(), Fate::NotAnswering), ("c".to_owned(), Fate::Gone)]
    );
    assert_eq!(schedule.next(ms(302)), PingAction::Listen(ms(601)));
    assert_eq!(ids(schedule.so_far()), ["a", "d"]);
    assert!(matches!(schedule.next(ms(601)), PingAction::Done(Outcome::Answered(_))));
    // As soon as all have answered, it is over.
    schedule.reply(ms(310), 1, "", br#"{"name":"orders","id":"b"}"#);
    assert_eq!(
        schedule.absent(),
        [("b".to_owned(), Fate::Slow), ("c".to_owned(), Fate::Gone)]
    );
    let PingAction::Done(Outcome::Answered(answers)) = schedule.next(ms(310)) else {
        panic!("all is known")
    };
    // Each is timed by the request that it answered.
    let told = |answer: &InstanceReply| (answer.instance.id.clone(), answer.rtt);
    let expected = [("a", 1), ("b", 9), ("d", 1)].map(|(id, rtt)| (id.to_owned(), Some(ms(rtt))));
    assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_503_with_a_strange_subject_is_nobodys() {
    let mut schedule = two_missing();
    for token in ["", "2", "-1", "x", "99999999999999999999"] {
        schedule.no_responders(1, token);
    }
    assert!(schedule.absent().iter().all(|(_, fate)| *fate == Fate::NotAnswering));
}

#[test]
fn a_missing_instance_is_told_from_one_that_a_wildcard_subscriber_hides() {
    let asked = |nobody_told: bool| {
        let mut schedule = two_missing();
        schedule.no_responders(1, "0");
        if nobody_told {
            schedule.no_responders(1, UNUSED_ID);
        }
        // The server has dealt with all three: the question, the instances, and this.
        schedule.pinged(ms(302));
        (0..3).for_each(|_| schedule.pong());
        schedule.silence()
    };
    assert_eq!((asked(true), asked(false)), (Silence::Subscribed, Silence::Hidden));
    // The server has not said anything yet.
    assert_eq!(two_missing().silence(), Silence::Unknown);
}

#[test]
fn without_permission_the_missing_are_only_missing() {
    let mut schedule = two_missing();
    assert!(schedule.denied());
    assert!(matches!(schedule.next(ms(302)), PingAction::Done(Outcome::Answered(_))));
    assert!(schedule.absent().iter().all(|(_, fate)| *fate == Fate::NotAsked));
    let mut question = Schedule::new(plan(&[], true));
    question.asked(ms(0));
    assert!(!question.denied(), "the question itself");
}

#[test]
fn those_in_doubt_are_asked_again_whoever_took_their_places() {
    let with_doubt = || {
        let mut plan = plan(&["a", "b"], false);
        plan.previously_missing.insert("frozen".into());
        let mut schedule = Schedule::new(plan);
        schedule.asked(ms(0));
        hear(&mut schedule, 1, "a");
        hear(&mut schedule, 2, "b");
        schedule
    };
    assert_eq!(with_doubt().next(ms(2)), PingAction::AskEach(vec!["frozen".into()]));
    let mut replaced = with_doubt();
    hear(&mut replaced, 2, "new");
    assert_eq!(replaced.next(ms(2)), PingAction::AskEach(vec!["frozen".into()]));
}

#[test]
fn when_an_outage_ends_those_before_it_are_asked_for() {
    let mut plan = plan(&[], true);
    plan.before_outage = vec!["a".into(), "b".into()];
    let mut schedule = Schedule::new(plan);
    schedule.asked(ms(0));
    hear(&mut schedule, 1, "b");
    hear(&mut schedule, 2, "new");
    assert_eq!(schedule.next(ms(302)), PingAction::AskEach(vec!["a".into()]));
}

#[test]
fn nobody_known_asks_who_else_is_there() {
    let mut plan = plan(&[], true);
    (plan.discover, plan.confirm) = (true, ms(0));
    let mut schedule = Schedule::new(plan);
    schedule.asked(ms(0));
    schedule.no_responders(0, "");
    assert_eq!(schedule.others(), None);
    assert_eq!(schedule.next(ms(1)), PingAction::Discover);
    schedule.inquired(ms(1), vec![]);
    assert_eq!(schedule.so_far(), Some(Outcome::NoResponders));
    assert_eq!(schedule.reply(ms(10), 1, "", br#"{"name":"users","id":"A"}"#), None);
    assert_eq!(schedule.reply(ms(20), 1, "", br#"{"name":"users","id":"B"}"#), None);
    assert_eq!(schedule.reply(ms(30), 1, "", br#"{"name":"users","id":"B"}"#), None);
    assert_eq!(
        schedule.reply(ms(40), 1, "", br#"{"name":"bad|name","id":"B"}"#),
        Some(NotCounted::Foreign)
    );
    assert_eq!(schedule.next(ms(40)), PingAction::Listen(ms(320)));
    assert_eq!(schedule.next(ms(320)), PingAction::Done(Outcome::NoResponders));
    assert_eq!(schedule.others(), Some(vec![("users".to_owned(), 2)]));
}

#[test]
fn over_tls_pings_come_after_a_while_and_further_and_further_apart() {
    let mut plan = plan(&["a"], false);
    plan.first_ping_delay = Some(ms(25));
    let mut schedule = Schedule::new(plan);
    schedule.asked(ms(0));
    assert!(!schedule.server_answered(), "nothing was sent that it could answer");
    let mut pings = Vec::new();
    let mut now = ms(0);
    while now < ms(49) {
        match schedule.next(now) {
            PingAction::Listen(until) => now = until,
            PingAction::Ping => {
                schedule.pinged(now);
                pings.push(now.as_millis());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (pings, now),
        (vec![25], ms(50)),
        "the next asking is due before the next ping"
    );
    schedule.pong();
    assert!(schedule.server_answered());
    schedule.asked(ms(50));
    assert!(!schedule.server_answered());
    assert_eq!(schedule.next(ms(75)), PingAction::Ping);
    schedule.pinged(ms(75));
    assert_eq!(schedule.next(ms(75)), PingAction::Listen(ms(125)));
}

/// A service that is subscribed and silent, at the moment when that is looked into.
fn silent(known: &[&str], discover: bool) -> (Schedule, Duration) {
    let mut schedule = Schedule::new(PingPlan {
        discover,
        ..plan(known, false)
    });
    let mut now = Duration::ZERO;
    loop {
        match schedule.next(now) {
            PingAction::Ask => {
                schedule.asked(now);
                schedule.pong();
            }
            PingAction::Listen(until) => now = until,
            PingAction::LookInto { ids, discover } => {
                assert_eq!(ids, known);
                schedule.looked_into(now, ids, discover);
                schedule.pong();
                return (schedule, now);
            }
            next => panic!("{next:?}"),
        }
    }
}

#[test]
fn a_silence_is_looked_into_before_it_is_told() {
    const STATS_OF_A: &[u8] = br#"{"name":"orders","id":"a","type":"io.nats.micro.v1.stats_response","endpoints":[]}"#;
    let silence = |now: Duration| PingAction::Done(Outcome::Silent(now));

    // Nobody listens to whatever is asked, and nobody has the ids of before.
    let (mut schedule, now) = silent(&["a", "b"], false);
    let round = schedule.rounds();
    schedule.no_responders(round, "0");
    assert_eq!(schedule.next(now), PingAction::Listen(now + ms(300)));
    schedule.no_responders(round, "1");
    schedule.no_responders(round, UNUSED_ID);
    assert_eq!(schedule.next(now), silence(now));
    assert_eq!(schedule.silence(), Silence::Subscribed);
    assert_eq!(
        schedule.absent(),
        [("a".to_owned(), Fate::Gone), ("b".to_owned(), Fate::Gone)]
    );

    // Somebody listens to it.
    let (schedule, now) = silent(&["a"], false);
    assert_eq!(schedule.next(now + ms(299)), PingAction::Listen(now + ms(300)));
    assert_eq!(schedule.next(now + ms(300)), silence(now));
    assert_eq!(schedule.silence(), Silence::Hidden);

    // The server itself is slow.
    let (mut schedule, now) = silent(&["a"], false);
    schedule.pinged(now);
    assert_eq!(schedule.next(now + ms(300)), PingAction::Listen(now + ms(1200)));
    schedule.pong();
    assert_eq!(schedule.next(now + ms(400)), silence(now));

    // Whether somebody does may not be asked.
    let (mut schedule, now) = silent(&["a"], false);
    schedule.nobody_denied();
    assert!(schedule.denied(), "it was not the question itself");
    assert_eq!(schedule.next(now + ms(300)), silence(now));
    assert_eq!(schedule.silence(), Silence::Unknown);

    // In an open outage, those of before it.
    let mut schedule = Schedule::new(PingPlan {
        before_outage: vec!["a".into()],
        patience: ms(0),
        ..plan(&[], false)
    });
    for second in 0..10 {
        if schedule.next(ms(1000 * second)) == PingAction::Ask {
            schedule.asked(ms(1000 * second));
            schedule.pong();
        }
    }
    let looks = PingAction::LookInto {
        ids: vec!["a".into()],
        discover: false,
    };
    assert_eq!(schedule.next(ms(20_000)), looks);

    // An instance that answers other questions is alive.
    let (mut schedule, now) = silent(&["a", "b"], false);
    let round = schedule.rounds();
    schedule.no_responders(round, UNUSED_ID);
    assert_eq!(schedule.reply(now + ms(9), round, "0", STATS_OF_A), None);
    schedule.no_responders(round, "1");
    let outcome = match schedule.next(now + ms(9)) {
        PingAction::Done(outcome) => Some(outcome),
        next => panic!("{next:?}"),
    };
    assert_eq!(ids(outcome), ["a"]);
    assert!(schedule.without_ping());

    // But not one that answers for another, nor for an id that nobody has.
    let (mut schedule, now) = silent(&["a", "b"], false);
    let round = schedule.rounds();
    assert_eq!(
        schedule.reply(now + ms(1), round, "1", STATS_OF_A),
        Some(NotCounted::Broken)
    );
    assert_eq!(schedule.reply(now + ms(1), round, "0", STATS_OF_A), None);
    assert_eq!(
        schedule.reply(now + ms(2), round, UNUSED_ID, STATS_OF_A),
        Some(NotCounted::Broken)
    );
    assert_eq!(
        schedule.reply(now + ms(3), round, "0", STATS_OF_A),
        Some(NotCounted::Broken)
    );
    assert_eq!(schedule.next(now + ms(300)), silence(now));
    assert_eq!((schedule.silence(), schedule.without_ping()), (Silence::Hidden, false));
}

#[test]
fn a_silence_of_whom_nobody_has_seen_is_looked_into_and_around() {
    let (mut schedule, now) = silent(&[], true);
    let round = schedule.rounds();
    schedule.no_responders(round, UNUSED_ID);
    schedule.reply(now + ms(5), round, "", br#"{"name":"billing","id":"x"}"#);
    assert_eq!(schedule.next(now + ms(5)), PingAction::Listen(now + ms(305)));
    assert_eq!(schedule.next(now + ms(305)), PingAction::Done(Outcome::Silent(now)));
    assert_eq!(schedule.others(), Some(vec![("billing".to_owned(), 1)]));
    assert_eq!(schedule.silence(), Silence::Subscribed);
}

#[test]
fn statistics_are_waited_for_no_longer_than_for_an_answer() {
    let ping = |id: &str| format!(r#"{{"name":"orders","id":"{id}"}}"#).into_bytes();
    let with_stats = |known: &[&str]| {
        let mut schedule = Schedule::new(PingPlan {
            stats: true,
            ..plan(known, false)
        });
        schedule.asked(ms(0));
        schedule
    };
    let done = |next: PingAction| matches!(next, PingAction::Done(Outcome::Answered(_)));
    // They come before and after the answers.
    let mut schedule = with_stats(&["a", "b"]);
    schedule.reply(ms(1), 0, STATS, &ping("a"));
    schedule.reply(ms(2), 0, "", &ping("a"));
    schedule.reply(ms(3), 0, "", &ping("b"));
    assert_eq!(schedule.next(ms(3)), PingAction::Listen(ms(303)));
    schedule.reply(ms(4), 0, STATS, &ping("b"));
    assert!(done(schedule.next(ms(4))));
    assert_eq!(schedule.stats().len(), 2);
    // An instance never sends any; a stranger, and one twice, do not count for it.
    let mut schedule = with_stats(&["a"]);
    schedule.reply(ms(1), 0, "", &ping("a"));
    for id in ["x", "x"] {
        schedule.reply(ms(9), 0, STATS, &ping(id));
    }
    assert_eq!(schedule.next(ms(9)), PingAction::Listen(ms(309)));
    assert!(done(schedule.next(ms(309))));
    // They are not allowed: nobody waits.
    let mut schedule = with_stats(&["a"]);
    schedule.reply(ms(1), 0, "", &ping("a"));
    schedule.stats_denied();
    assert!(done(schedule.next(ms(1))));
    // They are no answer to the question.
    let mut schedule = with_stats(&["a"]);
    schedule.reply(ms(1), 0, STATS, &ping("a"));
    schedule.no_responders(0, "");
    assert_eq!(schedule.next(ms(2)), PingAction::Listen(ms(50)));
}
