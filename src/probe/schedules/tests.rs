use super::*;
use crate::probe::discovery::MAX_SERVICES;
use crate::probe::known::KnownInstances;
use crate::probe::observation::{Fate, Ignored};
use crate::probe::plan::{DiscoveryPlan, FIRST_RETRY, Wanted};
use crate::probe::reach::Unreached;
use crate::values::range::Range;
use crate::values::selection::{Glob, Selection};
use crate::values::status::Reason;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The plan of a service with these known instances.
fn service(name: &str, known: &[&str]) -> PingPlan {
    PingPlan {
        known: KnownInstances::Ids(known.iter().map(|id| id.to_string()).collect()),
        confirm_fewer: ms(5000),
        patience: ms(5000),
        ..PingPlan::new(name, Wanted::All, ms(5000), ms(300))
    }
}

/// The plan of a run for all services, of which these are known.
fn all(services: &[(&str, &[&str])]) -> ProbePlan {
    let services = services.iter().map(|(name, known)| service(name, known));
    ProbePlan {
        services: services.collect(),
        discovery: Some(DiscoveryPlan {
            newcomer: PingPlan {
                census: true,
                ..service("", &[])
            },
            selection: Selection::default(),
            census: false,
            stall: ms(300),
            least: ms(1000),
        }),
    }
}

fn census(mut plan: ProbePlan) -> ProbePlan {
    plan.discovery.as_mut().expect("a run for all services").census = true;
    plan
}

fn payload(service: &str, id: &str) -> Vec<u8> {
    format!(r#"{{"name":"{service}","id":"{id}"}}"#).into_bytes()
}

fn failure() -> Failure {
    Failure::new(Reason::PermissionDenied, "not allowed")
}

/// Message of the server, after so many milliseconds.
#[derive(Clone, Debug)]
enum Event {
    Reply(Question, Vec<u8>),
    NoResponders(Question),
    Denied(Question),
    Pong,
}

/// The services that are subscribed, with their instances, and after how many milliseconds each replies; `NEVER` does not.
struct World {
    services: BTreeMap<String, Vec<(String, u64)>>,
    /// The names whose PING is denied; the empty one is that of all services.
    denied: Vec<&'static str>,
    /// Through an import that lets one reply through.
    one_reply: bool,
}
const NEVER: u64 = u64::MAX;

impl World {
    fn new(services: &[(&str, &[(&str, u64)])]) -> World {
        let instances = |ids: &[(&str, u64)]| ids.iter().map(|(id, after)| (id.to_string(), *after)).collect();
        World {
            services: services
                .iter()
                .map(|(name, ids)| (name.to_string(), instances(ids)))
                .collect(),
            denied: Vec::new(),
            one_reply: false,
        }
    }

    /// Returns the replies to this question to `service`; `None`: to all.
    fn ask(&self, service: Option<&str>, question: &Question) -> Vec<(u64, Event)> {
        if self.denied.contains(&service.unwrap_or_default()) {
            return vec![(1, Event::Denied(question.clone()))];
        }
        let subscribed = |name: &str, id: &str| match &question.query {
            Query::Ping(_) | Query::Discovery => service.is_none_or(|service| service == name),
            Query::InstancePing(wanted) | Query::InstanceStatus(wanted) => service == Some(name) && wanted == id,
            _ => false,
        };
        let mut events = Vec::new();
        for (name, instances) in &self.services {
            for (id, after) in instances.iter().filter(|(id, _)| subscribed(name, id)) {
                events.push((*after, Event::Reply(question.clone(), payload(name, id))));
            }
        }
        match (events.is_empty(), self.one_reply) {
            (true, _) => return vec![(1, Event::NoResponders(question.clone()))],
            (false, true) => events.truncate(1),
            (false, false) => {}
        }
        events.retain(|(after, _)| *after != NEVER);
        events
    }
}

/// The end of a run in simulated time.
struct End {
    /// The later questions, each with its time and the name of its service; in one entry those of one write.
    asked: Vec<(u64, Vec<(String, Query)>)>,
    /// `None`: it would have waited for ever.
    ended: Option<u64>,
    seen: Seen,
    unreached: Option<Unreached<String>>,
}

impl End {
    fn outcome(&self, name: &str) -> &Outcome {
        &self
            .seen
            .services
            .get(name)
            .unwrap_or_else(|| panic!("{name} was not seen"))
            .outcome
    }

    fn ids(&self, name: &str) -> Vec<&str> {
        match self.outcome(name) {
            Outcome::Answered(replies) => replies.iter().map(|reply| reply.instance.id.as_str()).collect(),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.seen.services.keys().map(String::as_str).collect()
    }

    /// When the service with this name was asked, by a PING.
    fn pings(&self, name: &str) -> Vec<u64> {
        let is_ping = |(asked, query): &(String, Query)| asked == name && matches!(query, Query::Ping(_));
        let rounds = self.asked.iter().filter(|(_, questions)| questions.iter().any(is_ping));
        rounds.map(|(at, _)| *at).collect()
    }
}

fn simulate(plan: ProbePlan, world: &World) -> End {
    simulate_with(plan, |_, name, question| world.ask(name, question))
}

/// Runs a probe in simulated time. `ask` is told the time, the name of the service and the question.
fn simulate_with(plan: ProbePlan, ask: impl Fn(u64, Option<&str>, &Question) -> Vec<(u64, Event)>) -> End {
    let began = Timestamp::from_seconds(0);
    let mut queue: Vec<(Duration, Event)> = vec![(ms(1), Event::Pong)];
    for question in Question::first(&plan) {
        queue.extend(
            ask(0, None, &question)
                .into_iter()
                .map(|(after, event)| (ms(after), event)),
        );
    }
    let mut schedules = Schedules::new(plan, began);
    let mut clock = PingClock::new(false);
    clock.request_sent(ms(0));
    let (mut now, mut asked, mut sent) = (ms(0), Vec::new(), Vec::new());
    loop {
        match schedules.next(now, &clock) {
            Action::Send(questions) => {
                clock.request_sent(now);
                queue.push((now + ms(1), Event::Pong));
                let name = |question: &Question| question.service.map(|number| schedules.name(number).to_owned());
                for question in &questions {
                    let events = ask(now.as_millis() as u64, name(question).as_deref(), question);
                    queue.extend(events.into_iter().map(|(after, event)| (now + ms(after), event)));
                    sent.push((question.clone(), now));
                }
                let named = questions
                    .iter()
                    .map(|question| (name(question).unwrap_or_default(), question.query.clone()));
                asked.push((now.as_millis() as u64, named.collect()));
            }
            Action::Ping => {
                clock.ping_sent(now);
                queue.push((now + ms(1), Event::Pong));
            }
            Action::Listen(until) => {
                queue.sort_by_key(|(at, _)| *at);
                match queue.first() {
                    Some((at, _)) if *at <= until => {
                        let (at, event) = queue.remove(0);
                        now = at;
                        take(&mut schedules, &mut clock, now, event, &sent);
                    }
                    _ if until == Duration::MAX => {
                        let (ended, outcome) = (None, Outcome::Failed(failure()));
                        let seen = schedules.seen(began + now, outcome, &clock);
                        return End {
                            asked,
                            ended,
                            seen,
                            unreached: None,
                        };
                    }
                    _ => now = until,
                }
            }
            Action::Done => {
                let unreached = schedules.unreached().map(|unreached| match unreached {
                    Unreached::All => Unreached::All,
                    Unreached::Some(names) => Unreached::Some(names.into_iter().map(str::to_owned).collect()),
                });
                let seen = schedules.seen(began + now, Outcome::Answered(Vec::new()), &clock);
                return End {
                    asked,
                    ended: Some(now.as_millis() as u64),
                    seen,
                    unreached,
                };
            }
            Action::Flooded => panic!("a flood"),
        }
    }
}

fn take(schedules: &mut Schedules, clock: &mut PingClock, now: Duration, event: Event, sent: &[(Question, Duration)]) {
    match event {
        Event::Reply(question, payload) => {
            let sent = sent
                .iter()
                .rfind(|(sent, _)| *sent == question)
                .map_or(ms(0), |(_, at)| *at);
            schedules.reply(now, sent, &question, &payload);
        }
        Event::NoResponders(question) => {
            schedules.no_responders(&question);
        }
        Event::Denied(question) => assert!(schedules.denied(Some(&question), &failure().text)),
        Event::Pong => {
            clock.pong_received();
            schedules.pong(now, clock);
        }
    }
}

#[test]
fn a_usual_run_ends_with_the_last_known_reply_and_asks_once() {
    let plan = all(&[("billing", &["a", "b"]), ("orders", &["c"])]);
    let world = World::new(&[("billing", &[("a", 2), ("b", 7)]), ("orders", &[("c", 3)])]);
    let end = simulate(plan, &world);
    assert_eq!((end.ended, end.asked.len()), (Some(7), 0));
    assert_eq!((end.ids("billing"), end.ids("orders")), (vec!["a", "b"], vec!["c"]));
    // Each tells of the moment when the request left that its instances replied to.
    assert!(
        end.seen
            .services
            .values()
            .all(|seen| seen.at == Timestamp::from_seconds(0) && seen.rounds == 1)
    );
    assert!(!end.seen.common.census);
}

#[test]
fn only_those_that_are_down_are_asked_again_in_one_write_and_as_often_as_by_a_single_check() {
    let plan = all(&[("billing", &["a"]), ("mail", &["b"]), ("orders", &["c"])]);
    let end = simulate(plan, &World::new(&[("orders", &[("c", 3)])]));
    let rounds = [50, 250, 1200, 2500, 5000];
    assert_eq!(end.asked.iter().map(|(at, _)| *at).collect::<Vec<_>>(), rounds);
    for (_, questions) in &end.asked {
        let names: Vec<&str> = questions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["billing", "mail"]);
    }
    assert_eq!(end.ended, Some(5001));
    for down in ["billing", "mail"] {
        assert_eq!(*end.outcome(down), Outcome::NoResponders, "{down}");
        assert_eq!(end.seen.services[down].rounds, 6);
    }
    assert_eq!(end.ids("orders"), ["c"]);
    // All services are down, and the server says so of the query to all.
    let plan = all(&[("billing", &["a"]), ("mail", &["b"]), ("orders", &["c"])]);
    let end = simulate(plan, &World::new(&[]));
    assert_eq!((end.pings("orders"), end.asked.len()), (rounds.to_vec(), rounds.len()));
    assert!(
        end.seen
            .services
            .values()
            .all(|seen| seen.outcome == Outcome::NoResponders)
    );
}

#[test]
fn a_service_that_replies_late_is_up_and_one_that_never_replies_is_silent() {
    let plan = all(&[("hung", &["a"]), ("slow", &["b"])]);
    let end = simulate(plan, &World::new(&[("hung", &[("a", NEVER)]), ("slow", &[("b", 900)])]));
    assert_eq!(end.ids("slow"), ["b"]);
    assert!(
        matches!(end.outcome("hung"), Outcome::Silent(_)),
        "{:?}",
        end.outcome("hung")
    );
    assert_eq!(end.pings("slow"), [50, 250]);
}

#[test]
fn a_known_service_that_is_gone_is_asked_by_name_even_where_one_round_is_enough() {
    // Somebody is subscribed to the query to all services, so the want of a 503 says nothing of this one.
    let mut plan = all(&[("billing", &["a"]), ("orders", &["c"])]);
    plan.services[0].confirm = FIRST_RETRY;
    let end = simulate(plan, &World::new(&[("orders", &[("c", 3)])]));
    assert_eq!((end.pings("billing"), end.ended), (vec![50], Some(51)));
    assert_eq!(*end.outcome("billing"), Outcome::NoResponders);
}

#[test]
fn nobody_is_asked_by_name_while_replies_to_the_query_to_all_come_in() {
    let names: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    let known: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["a"][..])).collect();
    // One reply every 4 ms, and every 8 ms: longer than there is to wait.
    for (every, asked) in [(4, None), (8, Some(200))] {
        let instances: Vec<[(&str, u64); 1]> = (1..=40).map(|n| [("a", n * every)]).collect();
        let up: Vec<(&str, &[(&str, u64)])> = names
            .iter()
            .zip(&instances)
            .map(|(name, ids)| (name.as_str(), &ids[..]))
            .collect();
        let end = simulate(all(&known), &World::new(&up));
        assert_eq!(end.asked.first().map(|(at, _)| *at), asked, "{every}");
        assert!(end.names().into_iter().all(|name| end.ids(name) == ["a"]));
    }
}

#[test]
fn a_missing_instance_is_asked_for_itself() {
    let plan = all(&[("billing", &["a", "b"]), ("orders", &["c"])]);
    let end = simulate(plan, &World::new(&[("billing", &[("a", 2)]), ("orders", &[("c", 3)])]));
    let follow_up = [Query::InstancePing("b".into()), Query::UnusedId];
    let expected: Vec<_> = follow_up
        .into_iter()
        .map(|query| ("billing".to_owned(), query))
        .collect();
    assert_eq!(end.asked.last(), Some(&(end.ended.expect("an end") - 1, expected)));
    assert_eq!(end.ids("billing"), ["a"]);
    assert_eq!(end.seen.services["billing"].absent.len(), 1);
    assert!(end.seen.services["orders"].absent.is_empty());
}

#[test]
fn a_newcomer_is_taken_in_with_all_its_instances() {
    let world = World::new(&[
        ("new", &[("x", 4), ("y", 250)]),
        ("orders", &[("c", 3)]),
        ("slow", &[("s", 900)]),
        ("too-late", &[("z", 1300)]),
    ]);
    // It replies before the known one, or the run waits for it.
    let end = simulate(
        all(&[("orders", &["c"])]),
        &World::new(&[("new", &[("x", 2), ("y", 250)]), ("orders", &[("c", 3)])]),
    );
    assert_eq!((end.ids("new"), end.ended), (vec!["x", "y"], Some(550)));
    // It replies after it.
    let end = simulate(all(&[("orders", &["c"])]), &world);
    assert_eq!((end.names(), end.ended), (vec!["orders"], Some(3)));
    // A census waits for a second at least, and then for one more reply of anybody.
    let end = simulate(census(all(&[("orders", &["c"])])), &world);
    assert_eq!((end.names(), end.ended), (vec!["new", "orders", "slow"], Some(1200)));
    assert_eq!(end.ids("new"), ["x", "y"]);
    assert!(end.seen.common.census && end.seen.services["new"].census);
    // Nobody is known.
    let end = simulate(all(&[]), &world);
    assert_eq!((end.names(), end.ended), (vec!["new", "orders", "slow"], Some(1200)));
    // Only some are watched.
    let mut plan = all(&[]);
    plan.discovery.as_mut().expect("all").selection = Selection {
        only: vec![Glob::parse("o*").expect("a pattern")],
        exclude: Vec::new(),
    };
    assert_eq!(simulate(plan, &world).names(), ["orders"]);
}

#[test]
fn a_newcomer_that_replies_to_nothing_but_stats_is_none() {
    let mut plan = all(&[]);
    plan.discovery.as_mut().expect("all").newcomer.stats = true;
    let end = simulate_with(plan, |_, name, question| match (name, &question.query) {
        (None, Query::Stats) => vec![(2, Event::Reply(question.clone(), payload("odd", "x")))],
        _ => Vec::new(),
    });
    assert_eq!(end.names(), [""; 0]);
}

#[test]
fn statistics_reach_the_service_that_sent_them() {
    let mut plan = all(&[("billing", &["a"]), ("orders", &["b"])]);
    plan.discovery.as_mut().expect("all").newcomer.stats = true;
    plan.services.iter_mut().for_each(|plan| plan.stats = true);
    let end = simulate_with(plan, |_, _, question| {
        let reply = |after, name, id| (after, Event::Reply(question.clone(), payload(name, id)));
        vec![reply(2, "billing", "a"), reply(3, "orders", "b")]
    });
    assert_eq!((end.ended, end.asked.len()), (Some(3), 0));
    for (name, id) in [("billing", "a"), ("orders", "b")] {
        let stats = end.seen.services[name].stats.as_ref().expect("statistics");
        assert_eq!(stats.instances.keys().collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn no_service_replies_and_none_is_known() {
    let end = simulate(all(&[]), &World::new(&[]));
    assert_eq!((end.names().len(), end.ended), (0, Some(1)));
    assert!(end.seen.common.census);
    // The server has not dealt with the query, so nothing is known.
    let mut schedules = Schedules::new(all(&[]), Timestamp::from_seconds(0));
    let mut clock = PingClock::new(false);
    clock.request_sent(ms(0));
    assert_eq!(schedules.next(ms(4000), &clock), Action::Listen(Duration::MAX));
    // Somebody is subscribed: a slow reply is not an absence.
    clock.pong_received();
    schedules.pong(ms(4000), &clock);
    assert_eq!(schedules.next(ms(4000), &clock), Action::Listen(ms(5000)));
    assert_eq!(schedules.next(ms(5000), &clock), Action::Done);
    let mut schedules = Schedules::new(all(&[]), Timestamp::from_seconds(0));
    assert!(!schedules.out_of_time(ms(9000), &PingClock::new(false)));
    assert!(
        !schedules
            .seen(Timestamp::from_seconds(9), Outcome::NoResponders, &clock)
            .common
            .census
    );
}

#[test]
fn where_nobody_is_known_a_slow_reply_is_waited_for() {
    let end = simulate(all(&[]), &World::new(&[("slow", &[("a", 900), ("b", 1100)])]));
    assert_eq!((end.ids("slow"), end.ended), (vec!["a", "b"], Some(1400)));
}

#[test]
fn a_known_outcome_stays_as_it_is() {
    let question = |service, query| Question { service, query };
    let to_all = question(None, Query::Ping(0));
    let mut schedules = Schedules::new(
        all(&[("billing", &["a"]), ("orders", &["c"])]),
        Timestamp::from_seconds(0),
    );
    let clock = PingClock::new(false);
    let mut reply = |at, name, id| schedules.reply(ms(at), ms(0), &to_all, &payload(name, id));
    assert_eq!(reply(2, "orders", "c"), Taken::Counted);
    assert_eq!(reply(2, "orders", "d"), Taken::Counted);
    schedules.next(ms(2), &clock);
    let known = schedules.outcome(1).cloned().expect("a known outcome");
    assert_eq!(
        schedules.reply(ms(3), ms(0), &to_all, &payload("orders", "e")),
        Taken::Late
    );
    assert_eq!(schedules.no_responders(&question(Some(1), Query::Ping(1))), Taken::Late);
    let clock_moves_on = schedules.next(ms(700), &clock);
    assert!(matches!(clock_moves_on, Action::Send(_)), "{clock_moves_on:?}");
    assert_eq!(schedules.outcome(1), Some(&known));
    assert_eq!(schedules.outcome(0), None);
    // The time is up: what is known of the other one is not enough.
    assert!(!schedules.out_of_time(ms(800), &clock));
    let seen = schedules.seen(Timestamp::from_seconds(1), Outcome::Failed(failure()), &clock);
    assert_eq!(seen.services["orders"].outcome, known);
    assert_eq!(seen.services["billing"].outcome, Outcome::Failed(failure()));
    assert_eq!(seen.services["billing"].rounds, 2);
}

#[test]
fn answers_outlive_a_connection_that_breaks() {
    // One that has replied, one that is gone, and one that is not known yet.
    let known = |reason: &str| PingPlan {
        confirm: Duration::ZERO,
        ..service(reason, &["x"])
    };
    let mut plan = ProbePlan::from(known("gone"));
    plan.services
        .extend([service("up", &["c"]), service("unknown", &["u"])]);
    let mut schedules = Schedules::new(plan, Timestamp::from_seconds(0));
    let clock = PingClock::new(false);
    let ping = |number| Question {
        service: Some(number),
        query: Query::Ping(0),
    };
    assert_eq!(schedules.no_responders(&ping(0)), Taken::Counted);
    schedules.next(ms(1), &clock);
    assert_eq!(schedules.outcome(0), Some(&Outcome::NoResponders));
    assert!(!schedules.has_answers() && !schedules.is_done());
    schedules.reply(ms(2), ms(0), &ping(2), b"nonsense");
    assert_eq!(schedules.ignored(), 1);
    for id in ["c", "d"] {
        schedules.reply(ms(2), ms(0), &ping(1), &payload("up", id));
    }
    schedules.next(ms(2), &clock);
    assert!(schedules.has_answers() && !schedules.is_done());
    assert!(!schedules.out_of_time(ms(3), &clock), "of one nothing is known");
    assert!(schedules.is_done());
    assert_eq!(schedules.no_responders(&ping(2)), Taken::Late);
    schedules.keep_answers(&failure());
    let seen = schedules.seen(Timestamp::from_seconds(1), Outcome::Failed(failure()), &clock);
    assert_eq!(seen.replies(), 2);
    assert_eq!(seen.services["up"].outcome.answers().map(<[_]>::len), Some(2));
    for name in ["gone", "unknown"] {
        assert_eq!(seen.services[name].outcome, Outcome::Failed(failure()), "{name}");
    }
}

#[test]
fn silence_takes_a_ping_at_the_end() {
    let plan = ProbePlan::from(PingPlan {
        confirm: Duration::ZERO,
        patience: ms(500),
        ..service("orders", &["c"])
    });
    let mut schedules = Schedules::new(plan, Timestamp::from_seconds(0));
    let mut clock = PingClock::new(false);
    clock.request_sent(ms(0));
    assert_eq!(schedules.next(ms(0), &clock), Action::Listen(ms(500)));
    assert_eq!(schedules.next(ms(500), &clock), Action::Ping);
}

#[test]
fn a_503_to_all_counts_only_for_a_ping_and_before_any_reply() {
    let question = |query| Question { service: None, query };
    let to_all = || question(Query::Ping(0));
    let next = |replies: bool, no_responders: &[Query]| {
        let mut schedules = Schedules::new(
            all(&[("billing", &["a"]), ("orders", &["c"])]),
            Timestamp::from_seconds(0),
        );
        if replies {
            schedules.reply(ms(1), ms(0), &to_all(), &payload("orders", "c"));
        }
        for query in no_responders {
            assert_eq!(schedules.no_responders(&question(query.clone())), Taken::Counted);
        }
        let no_responders = schedules.services.iter().map(|service| match &*service.state {
            State::Asked(schedule) => format!("{schedule:?}").contains("no_responders: true"),
            State::Known(_) => false,
        });
        no_responders.collect::<Vec<_>>()
    };
    assert_eq!(next(false, &[Query::Ping(0)]), [true, true]);
    assert_eq!(next(false, &[Query::Stats]), [false, false]);
    assert_eq!(next(true, &[Query::Ping(0)]), [false, false]);
    assert_eq!(next(true, &[Query::Stats]), [false, false]);
}

#[test]
fn a_denial_of_what_is_asked_last_leaves_the_answers() {
    let plan = || ProbePlan::from(service("orders", &["c", "d", "e"]));
    let mut schedules = Schedules::new(plan(), Timestamp::from_seconds(0));
    let clock = PingClock::new(false);
    for id in ["c", "d"] {
        schedules.reply(ms(2), ms(0), &Question::first(&plan())[0], &payload("orders", id));
    }
    assert!(matches!(schedules.next(ms(302), &clock), Action::Send(_)));
    assert!(schedules.denied(None, "not allowed"));
    schedules.next(ms(303), &clock);
    assert!(schedules.is_done());
    assert!(!schedules.denied(None, "not allowed"), "the run is over");
}

#[test]
fn what_is_known_when_the_time_is_up_may_be_enough() {
    let mut schedules = Schedules::new(
        ProbePlan::from(service("orders", &["c", "d"])),
        Timestamp::from_seconds(0),
    );
    let clock = PingClock::new(false);
    let ping = Question::first(&ProbePlan::from(service("orders", &[])));
    schedules.reply(ms(2), ms(0), &ping[0], &payload("orders", "c"));
    assert!(schedules.out_of_time(ms(3), &clock));
}

#[test]
fn a_forged_503_ends_nothing() {
    let forged = |after: u64| {
        move |now: u64, name: Option<&str>, question: &Question| {
            let world = World::new(&[("new", &[("x", 5)]), ("orders", &[("c", 60)])]);
            let mut events = world.ask(name, question);
            if now == 0 {
                events.push((after, Event::NoResponders(question.clone())));
            }
            events
        }
    };
    // Before the replies, and after the first of them.
    for after in [1, 6] {
        let end = simulate_with(census(all(&[("orders", &["c"])])), forged(after));
        assert_eq!((end.ids("orders"), end.ids("new")), (vec!["c"], vec!["x"]), "{after}");
    }
}

#[test]
fn where_asking_all_is_denied_the_known_are_asked_by_name_at_once() {
    let world = World {
        denied: vec![""],
        ..World::new(&[("new", &[("x", 2)]), ("orders", &[("c", 3)])])
    };
    let end = simulate(census(all(&[("billing", &["a"]), ("orders", &["c"])])), &world);
    assert_eq!(end.pings("orders"), [1]);
    assert_eq!(end.pings("billing"), [1, 50, 250, 1200, 2500, 5000]);
    assert_eq!(end.names(), ["billing", "orders"]);
    assert_eq!(
        (end.ids("orders"), end.outcome("billing")),
        (vec!["c"], &Outcome::NoResponders)
    );
    assert_eq!(end.seen.services["orders"].rounds, 1);
    let common = &end.seen.common;
    assert_eq!((common.denied.as_str(), common.census), ("not allowed", false));
    // Nobody is known: nothing can be asked.
    let mut schedules = Schedules::new(all(&[]), Timestamp::from_seconds(0));
    let question = Question {
        service: None,
        query: Query::Ping(0),
    };
    assert!(!schedules.denied(Some(&question), "not allowed"));
}

/// A user who may not ask all services at once may still ask each by its name.
#[test]
fn a_denial_of_all_queries_to_all_denies_none_by_name() {
    let mut plan = all(&[("orders", &["c"])]);
    plan.services[0].stats = true;
    let mut schedules = Schedules::new(plan, Timestamp::from_seconds(0));
    let question = |service, query| Question { service, query };
    for query in [Query::Ping(0), Query::Stats] {
        assert!(schedules.denied(Some(&question(None, query)), "not allowed"));
    }
    let by_name = [Query::Ping(1), Query::Stats].map(|query| question(Some(0), query));
    assert_eq!(
        schedules.next(ms(1), &PingClock::new(false)),
        Action::Send(by_name.into())
    );
}

#[test]
fn run_fails_if_no_reply_can_arrive() {
    for known in [all(&[]), all(&[("orders", &["c"])])] {
        let mut schedules = Schedules::new(known, Timestamp::from_seconds(0));
        assert!(!schedules.denied(None, "may not subscribe"));
    }
}

#[test]
fn a_service_that_replied_to_the_query_to_all_is_up_whatever_is_denied_by_name() {
    // All its instances were replaced. The second one of them replies after the denial.
    let world = World {
        denied: vec!["billing", "mail", "slow"],
        ..World::new(&[
            ("billing", &[("x", 2), ("y", 140)]),
            ("mail", &[("m", 2)]),
            ("slow", &[("s", 200)]),
        ])
    };
    let mut plan = all(&[("billing", &["a", "b"]), ("mail", &["b", "m"]), ("slow", &["s"])]);
    let end = simulate(plan.clone(), &world);
    assert_eq!(
        (end.ids("billing"), end.ids("mail"), end.ids("slow")),
        (vec!["x", "y"], vec!["m"], vec!["s"])
    );
    for name in ["billing", "mail"] {
        let seen = &end.seen.services[name];
        assert_eq!(seen.denied, "not allowed", "{name}");
        assert!(!seen.absent.is_empty() && seen.absent.iter().all(|(_, fate)| *fate == Fate::NotAsked));
    }
    assert_eq!(
        (&end.unreached, end.seen.services["slow"].denied.as_str()),
        (&None, "not allowed")
    );
    // But too few of them are not told without asking again, which is denied.
    plan.services[1].thresholds = vec![Range::parse("2:").expect("a range")];
    assert_eq!(*simulate(plan, &world).outcome("mail"), Outcome::Failed(failure()));
}

#[test]
fn a_service_that_may_not_be_asked_fails_alone() {
    let world = World {
        denied: vec!["billing"],
        ..World::new(&[("orders", &[("c", 3)])])
    };
    let end = simulate(
        all(&[("billing", &["a"]), ("mail", &["b"]), ("orders", &["c"])]),
        &world,
    );
    assert_eq!(*end.outcome("billing"), Outcome::Failed(failure()));
    assert_eq!(
        (end.outcome("mail"), end.ids("orders")),
        (&Outcome::NoResponders, vec!["c"])
    );
    assert!(end.seen.common.denied.is_empty());
}

#[test]
fn denied_statistics_are_not_waited_for() {
    let mut plan = all(&[("orders", &["c"])]);
    plan.discovery.as_mut().expect("all").newcomer.stats = true;
    plan.services[0].stats = true;
    let world = World::new(&[("new", &[("x", 2)]), ("orders", &[("c", 3)])]);
    let end = simulate_with(plan, |_, name, question| match question.query {
        Query::Stats => vec![(1, Event::Denied(question.clone()))],
        _ => world.ask(name, question),
    });
    for name in ["new", "orders"] {
        let stats = end.seen.services[name].stats.as_ref().expect("statistics");
        assert_eq!(stats.denied, "not allowed", "{name}");
    }
    assert!(end.seen.common.denied.is_empty());
}

#[test]
fn an_import_that_lets_one_reply_through_hides_no_known_service() {
    let world = World {
        one_reply: true,
        ..World::new(&[("billing", &[("a", 2)]), ("mail", &[("b", 2)]), ("orders", &[("c", 3)])])
    };
    let end = simulate(
        all(&[("billing", &["a"]), ("mail", &["b"]), ("orders", &["c"])]),
        &world,
    );
    assert_eq!(
        (end.ids("billing"), end.ids("mail"), end.ids("orders")),
        (vec!["a"], vec!["b"], vec!["c"])
    );
    // New ones may be hidden, and that is told.
    let unreached = Unreached::Some(vec!["mail".to_owned(), "orders".to_owned()]);
    assert_eq!(end.unreached, Some(unreached));
    let names = end.asked[1].1.iter().map(|(name, _)| name.as_str());
    assert_eq!(
        (names.collect::<Vec<_>>(), end.asked[1].0),
        (vec!["", "mail", "orders", "billing"], 53)
    );
    assert_eq!((end.asked.len(), end.ended), (2, Some(53 + 3 + 300 + 3 * 3)));
    // The only one that is known is hidden by a new one.
    let end = simulate(all(&[("orders", &["c"])]), &world);
    assert_eq!(end.unreached, Some(Unreached::Some(vec!["orders".to_owned()])));
    assert_eq!(end.names(), ["billing", "orders"]);
}

#[test]
fn late_messages_of_earlier_questions_say_nothing_of_the_reach() {
    let world = World {
        one_reply: true,
        ..World::new(&[("new", &[("x", 2)]), ("orders", &[("c", 3)])])
    };
    // A second reply to the PING by name, and none to the last question; a 503 for the first query to all.
    for (is_silent, is_forged, unreached) in [
        (true, false, None),
        (false, true, Some(Unreached::Some(vec!["orders".to_owned()]))),
    ] {
        let end = simulate_with(all(&[("orders", &["c"])]), |_, name, question| {
            let mut events = world.ask(name, question);
            match (name, &question.query) {
                (Some(_), Query::Discovery) if is_silent => events.clear(),
                (Some(_), Query::Ping(_)) => events.push((255, Event::Reply(question.clone(), payload("orders", "c")))),
                (None, Query::Ping(_)) if is_forged => events.push((305, Event::NoResponders(question.clone()))),
                _ => {}
            }
            events
        });
        let last = end.asked.last().expect("the last questions");
        assert_eq!((end.unreached, last.0, last.1.len()), (unreached, 302, 2));
    }
}

#[test]
fn nobody_is_subscribed_to_the_query_to_all() {
    let world = World::new(&[("billing", &[("a", 2)]), ("orders", &[("c", 3)])]);
    let end = simulate_with(
        all(&[("billing", &["a"]), ("orders", &["c"])]),
        |_, name, question| match name {
            None => vec![(1, Event::NoResponders(question.clone()))],
            Some(_) => world.ask(name, question),
        },
    );
    assert_eq!((end.ids("billing"), end.ids("orders")), (vec!["a"], vec!["c"]));
    assert_eq!((&end.unreached, end.ended), (&Some(Unreached::All), Some(56)));
}

/// None of them is hidden from the query to all.
#[test]
fn a_service_that_came_back_or_is_slow_or_went_away_is_reached() {
    let known = || all(&[("billing", &["a"]), ("orders", &["c"])]);
    let up = World::new(&[("billing", &[("a", 2)]), ("new", &[("x", 9)]), ("orders", &[("c", 3)])]);
    let without_billing = World::new(&[("orders", &[("c", 3)])]);
    let nobody = World::new(&[]);
    // NATS was restarted: all of them, or one, come back later. Then the second query sees a new one, too.
    for before in [&nobody, &without_billing] {
        let end = simulate_with(census(known()), |now, name, question| match now {
            0..1000 => before.ask(name, question),
            _ => up.ask(name, question),
        });
        assert_eq!((&end.unreached, end.ids("billing")), (&None, vec!["a"]));
        assert_eq!(end.names(), ["billing", "new", "orders"]);
    }
    // It comes back, and is slower than the others.
    let slow = World::new(&[("billing", &[("a", 700)]), ("orders", &[("c", 3)])]);
    let end = simulate_with(known(), |now, name, question| match now {
        0..1000 => without_billing.ask(name, question),
        _ => slow.ask(name, question),
    });
    assert_eq!((&end.unreached, end.ids("billing")), (&None, vec!["a"]));
    // It is slow all the time, by name too, or only when all are asked.
    let end = simulate(known(), &slow);
    assert_eq!((&end.unreached, end.ids("billing")), (&None, vec!["a"]));
    let end = simulate_with(known(), |_, name, question| match name {
        None => World::new(&[("billing", &[("a", 300)]), ("orders", &[("c", 3)])]).ask(name, question),
        Some(_) => up.ask(name, question),
    });
    assert_eq!((&end.unreached, end.ids("billing")), (&None, vec!["a"]));
    // It goes away right after its reply, and all its instances are new ones.
    for (gone_at, id) in [(52, "a"), (u64::MAX, "z")] {
        let replies = World::new(&[("billing", &[(id, 2)])]);
        let end = simulate_with(known(), |now, name, question| match name {
            Some("billing") if now < gone_at => replies.ask(name, question),
            _ => without_billing.ask(name, question),
        });
        assert_eq!((&end.unreached, end.ids("billing")), (&None, vec![id]));
    }
}

#[test]
fn replies_of_no_service_are_counted_for_the_run() {
    let end = simulate_with(census(all(&[("orders", &["c"])])), |_, name, question| {
        let reply = |after, payload: &[u8]| (after, Event::Reply(question.clone(), payload.to_vec()));
        match name {
            None => vec![
                reply(1, br#"{"stream":"CAP","seq":1}"#),
                reply(1, b"nonsense"),
                reply(2, &payload("orders", "c")),
            ],
            Some(_) => Vec::new(),
        }
    });
    let ignored = &end.seen.common.ignored;
    assert_eq!((ignored.acks, ignored.broken, end.ids("orders")), (1, 1, vec!["c"]));
    assert_eq!(end.seen.services["orders"].ignored, Ignored::default());
    // While it runs, too.
    let mut schedules = Schedules::new(all(&[("orders", &["c"])]), Timestamp::from_seconds(0));
    let to_all = Question {
        service: None,
        query: Query::Ping(0),
    };
    for number in 0..3 {
        assert_eq!(schedules.ignored(), number);
        schedules.reply(ms(1), ms(0), &to_all, b"nonsense");
    }
}

#[test]
fn a_single_check_is_the_case_of_one() {
    let plan = || ProbePlan::from(service("orders", &["c"]));
    let first = Question::first(&plan());
    assert_eq!(
        first,
        [Question {
            service: Some(0),
            query: Query::Ping(0)
        }]
    );
    let denied = || {
        let mut schedules = Schedules::new(plan(), Timestamp::from_seconds(0));
        schedules.denied(Some(&first[0]), "not allowed")
    };
    assert!(!denied(), "the run ends with it");
    let mut schedules = Schedules::new(plan(), Timestamp::from_seconds(0));
    schedules.reply(ms(2), ms(0), &first[0], &payload("orders", "c"));
    assert_eq!(schedules.next(ms(2), &PingClock::new(false)), Action::Done);
    assert_eq!(
        schedules.reply(ms(2), ms(0), &first[0], &payload("orders", "d")),
        Taken::Late
    );
}

#[test]
fn names_without_end_are_taken_in_up_to_a_limit() {
    let mut schedules = Schedules::new(all(&[("orders", &["c"])]), Timestamp::from_seconds(0));
    let to_all = Question {
        service: None,
        query: Query::Ping(0),
    };
    for _ in 0..2 {
        for n in 0..MAX_SERVICES + 5 {
            schedules.reply(ms(1), ms(0), &to_all, &payload(&format!("s{n}"), "x"));
        }
    }
    // One that is known has its place.
    assert_eq!(
        schedules.reply(ms(2), ms(0), &to_all, &payload("orders", "c")),
        Taken::Counted
    );
    let clock = PingClock::new(false);
    assert_eq!(schedules.next(ms(302), &clock), Action::Done);
    let seen = schedules.seen(Timestamp::from_seconds(1), Outcome::Answered(Vec::new()), &clock);
    assert_eq!((seen.services.len(), seen.too_many), (MAX_SERVICES + 1, 5));
}

#[test]
fn instances_without_end_are_a_flood_of_whatever_services() {
    let mut schedules = Schedules::new(all(&[]), Timestamp::from_seconds(0));
    let to_all = Question {
        service: None,
        query: Query::Ping(0),
    };
    let clock = PingClock::new(false);
    for n in 0..MAX_INSTANCES {
        assert_ne!(schedules.instances, MAX_INSTANCES);
        schedules.reply(
            ms(1),
            ms(0),
            &to_all,
            &payload(&format!("s{}", n % 7), &format!("x{n}")),
        );
    }
    assert_eq!(schedules.next(ms(1), &clock), Action::Flooded);
    // That a service shares its connection with no other one makes no difference.
    let mut schedules = Schedules::new(ProbePlan::from(service("orders", &[])), Timestamp::from_seconds(0));
    let ping = Question {
        service: Some(0),
        ..to_all
    };
    for n in 0..MAX_INSTANCES {
        schedules.reply(ms(1), ms(0), &ping, &payload("orders", &format!("x{n}")));
    }
    assert_eq!(schedules.next(ms(1), &clock), Action::Flooded);
}

/// After a restart of NATS with many services, the run takes as long as with one.
#[test]
fn many_services_act_together() {
    let names: Vec<String> = (0..1000).map(|n| format!("s{n:03}")).collect();
    let ids: Vec<String> = (0..10).map(|n| format!("i{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let known: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), ids.as_slice())).collect();
    let instances: Vec<(&str, u64)> = ids.iter().map(|id| (*id, 2)).collect();
    let up: Vec<(&str, &[(&str, u64)])> = names[100..]
        .iter()
        .map(|name| (name.as_str(), instances.as_slice()))
        .collect();
    let world = World::new(&up);
    // By name, the world is looked through: only the first question is put to all of it.
    let end = simulate_with(all(&known), |_, name, question| match name {
        None => world.ask(None, question),
        Some(_) => vec![(1, Event::NoResponders(question.clone()))],
    });
    assert_eq!(end.ended, Some(5001));
    assert_eq!(
        end.asked
            .iter()
            .map(|(_, questions)| questions.len())
            .collect::<Vec<_>>(),
        [100; 5]
    );
    let down = end
        .seen
        .services
        .values()
        .filter(|seen| seen.outcome == Outcome::NoResponders);
    assert_eq!((down.count(), end.seen.services.len()), (100, 1000));
}
