//! When to ask, how long to listen, and when enough has been heard. Pure: it is given the time and told what was heard.
//!
//! All times are durations since the first asking.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::observation::{Answer, Ignored, Instance, NotCounted, Outcome, read_ping};

/// When to ask again if nobody answered: measured to outlast each condition in which a server's 503 is a false "down"
/// (a service that has just subscribed elsewhere in the cluster, a restarted node, hub or gateway). Beyond these the
/// gaps double.
const ASK_AGAIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1200),
    Duration::from_millis(2500),
];

/// More instances than this are not told apart. A service has some; only a flood has more.
const MOST_INSTANCES: usize = 100_000;

/// The rules of one probe.
#[derive(Clone, Debug)]
pub struct Plan {
    pub service: String,
    /// The ids of the instances that are expected; empty if that is not known.
    pub known: BTreeSet<String>,
    /// Whether to wait for instances that are not known, even when all known ones have answered.
    pub census: bool,
    /// How long to ask again when nobody answered. Zero: ask once.
    pub confirm: Duration,
    /// How long to wait for one more answer after the latest.
    pub stall: Duration,
    /// How long to wait for a first answer where somebody is subscribed: a slow reply is not an outage.
    pub patience: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask, with a fresh inbox.
    Ask,
    /// Only make sure that the server is still there.
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// Enough was heard.
    Done(Outcome),
}

/// One asking: a request, and what the server said to it.
#[derive(Clone, Debug, Default)]
struct Round {
    asked: Duration,
    no_responders: bool,
}

/// One probe in the making.
#[derive(Debug)]
pub struct Asking {
    plan: Plan,
    rounds: Vec<Round>,
    /// When the server was last sent something.
    last_sent: Duration,
    /// How many askings and pings were sent, and how many of them the server answered with a PONG.
    sent: usize,
    pongs: usize,
    answers: BTreeMap<String, (Instance, Duration)>,
    /// When the latest new instance answered.
    last_answer: Duration,
    /// When the latest request left that was answered.
    proven: Option<Duration>,
    /// How many of the known instances have not answered.
    missing: usize,
    ignored: Ignored,
}

impl Asking {
    pub fn new(plan: Plan) -> Asking {
        Asking {
            missing: plan.known.len(),
            plan,
            rounds: Vec::new(),
            last_sent: Duration::ZERO,
            sent: 0,
            pongs: 0,
            answers: BTreeMap::new(),
            last_answer: Duration::ZERO,
            proven: None,
            ignored: Ignored::default(),
        }
    }

    /// The service was asked, in a new round; a PING went behind the request.
    pub fn asked(&mut self, now: Duration) {
        self.rounds.push(Round {
            asked: now,
            no_responders: false,
        });
        self.pinged(now);
    }

    /// The request of this round really left at this time, a little after it was decided on.
    pub fn on_wire(&mut self, round: usize, at: Duration) {
        if let Some(round) = self.rounds.get_mut(round) {
            round.asked = at;
        }
    }

    /// Only a PING was sent.
    pub fn pinged(&mut self, now: Duration) {
        self.last_sent = now;
        self.sent += 1;
    }

    /// A PONG came: everything sent before its PING has been dealt with. PONGs come in the order of their PINGs.
    pub fn pong(&mut self) {
        self.pongs += 1;
    }

    /// Whether the server has answered everything sent to it.
    pub fn server_answered(&self) -> bool {
        self.pongs >= self.sent
    }

    /// A 503 came to the inbox of this round. After an answer it means nothing: any peer can send one.
    pub fn no_responders(&mut self, round: usize) {
        if let Some(round) = self.rounds.get_mut(round) {
            round.no_responders = true;
        }
    }

    /// A message came to the inbox of this round. Returns why it does not count, if it does not.
    pub fn reply(&mut self, now: Duration, round: usize, payload: &[u8]) -> Option<NotCounted> {
        let asked = self.rounds.get(round).map_or(Duration::ZERO, |round| round.asked);
        match read_ping(&self.plan.service, payload) {
            Ok(instance) => {
                self.proven = self.proven.max(Some(asked));
                if !self.answers.contains_key(&instance.id) && self.answers.len() < MOST_INSTANCES {
                    self.missing -= usize::from(self.plan.known.contains(&instance.id));
                    self.last_answer = now;
                    self.answers
                        .insert(instance.id.clone(), (instance, now.saturating_sub(asked)));
                }
                None
            }
            Err(kind) => {
                self.ignored.add(kind);
                Some(kind)
            }
        }
    }

    /// What to do at this time.
    pub fn next(&self, now: Duration) -> Next {
        let Some(latest) = self.rounds.last() else {
            return Next::Ask;
        };
        if !self.answers.is_empty() {
            let all_known = !self.plan.census && self.missing == 0;
            let until = self.last_answer + self.plan.stall;
            return if all_known || now >= until || self.answers.len() >= MOST_INSTANCES {
                Next::Done(self.answered())
            } else {
                Next::Listen(until)
            };
        }
        if let Some(time) = self.scheduled() {
            return if now >= time { Next::Ask } else { Next::Listen(time) };
        }
        if latest.no_responders {
            return Next::Done(Outcome::NoResponders);
        }
        self.next_in_silence(now)
    }

    /// Somebody is subscribed, and nobody has answered at any of the scheduled askings.
    ///
    /// A silence is believed only after a last asking, and only if the server itself still answers then: one that froze
    /// meanwhile must not make the service look hung.
    fn next_in_silence(&self, now: Duration) -> Next {
        let until = self.last_sent + self.plan.stall;
        if now < self.plan.patience {
            Next::Listen(self.plan.patience)
        } else if self.last_sent < self.plan.patience {
            match self.plan.confirm.is_zero() {
                true => Next::Ping,
                false => Next::Ask,
            }
        } else if !self.server_answered() {
            // The deadline of the run will end this.
            Next::Listen(Duration::MAX)
        } else if now < until {
            Next::Listen(until)
        } else {
            Next::Done(Outcome::Silent(now))
        }
    }

    /// When the next asking is due if nobody answers; `None` after the last.
    fn scheduled(&self) -> Option<Duration> {
        let first = self.rounds.first()?.asked;
        let nth = self.rounds.len() - 1;
        let offset = match ASK_AGAIN.get(nth) {
            Some(offset) => *offset,
            None => ASK_AGAIN[ASK_AGAIN.len() - 1] * 2_u32.saturating_pow((nth + 1 - ASK_AGAIN.len()).min(20) as u32),
        };
        (offset <= self.plan.confirm).then_some(first + offset)
    }

    /// Everybody who has answered so far, or `None`.
    pub fn so_far(&self) -> Option<Outcome> {
        (!self.answers.is_empty()).then(|| self.answered())
    }

    fn answered(&self) -> Outcome {
        let answers = self.answers.values().map(|(instance, rtt)| Answer {
            instance: instance.clone(),
            rtt: Some(*rtt),
        });
        Outcome::Answered(answers.collect())
    }

    /// The latest moment for which the answers prove that somebody was there: when the latest request left that was
    /// answered. The answer itself may have been on its way for long.
    pub fn proven(&self) -> Option<Duration> {
        self.proven
    }

    /// Whether the probe waited for unknown instances: it was to, or a known one did not answer.
    pub fn was_census(&self) -> bool {
        self.plan.census || self.missing > 0
    }

    pub fn askings(&self) -> usize {
        self.rounds.len()
    }

    pub fn ignored(&self) -> Ignored {
        self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn plan(known: &[&str], census: bool) -> Plan {
        Plan {
            service: "orders".into(),
            known: known.iter().map(|id| id.to_string()).collect(),
            census,
            confirm: ms(1500),
            stall: ms(300),
            patience: ms(5000),
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
    /// that to all further askings. Returns when each asking was, the end, and the outcome.
    fn simulate(plan: Plan, reactions: &[&[Event]]) -> (Vec<u64>, u64, Option<Outcome>) {
        let mut asking = Asking::new(plan);
        let (mut now, mut asked, mut queue) = (Duration::ZERO, Vec::new(), Vec::new());
        loop {
            match asking.next(now) {
                Next::Ask => {
                    asking.asked(now);
                    asked.push(now.as_millis() as u64);
                    let round = asking.askings() - 1;
                    for event in *reactions.get(round).or(reactions.last()).expect("a reaction") {
                        let after = if let Reply(after, _) = event { ms(*after) } else { ms(1) };
                        queue.push((now + after, round, event));
                    }
                }
                Next::Ping => {
                    asking.pinged(now);
                    queue.push((now + ms(1), 0, &Pong));
                }
                Next::Listen(until) => {
                    queue.sort_by_key(|(at, ..)| *at);
                    match queue.first() {
                        Some((at, ..)) if *at <= until => {
                            let (at, round, event) = queue.remove(0);
                            now = at;
                            match event {
                                Reply(_, id) => {
                                    let payload = format!(r#"{{"name":"orders","id":"{id}"}}"#);
                                    asking.reply(now, round, payload.as_bytes());
                                }
                                NoResponders => asking.no_responders(round),
                                Pong => asking.pong(),
                            }
                        }
                        _ if until == Duration::MAX => return (asked, now.as_millis() as u64, None),
                        _ => now = until,
                    }
                }
                Next::Done(outcome) => return (asked, now.as_millis() as u64, Some(outcome)),
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
        let mut asking = Asking::new(plan(&["a", "b"], false));
        asking.asked(ms(0));
        asking.reply(ms(1), 0, br#"{"name":"orders","id":"a"}"#);
        assert_eq!(asking.next(ms(1)), Next::Listen(ms(301)));
        assert!(asking.was_census());
        assert!(matches!(asking.next(ms(301)), Next::Done(Outcome::Answered(_))));
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
        assert_eq!(asked, [0, 50, 250, 1200]);
        assert_eq!((end, outcome), (1201, Some(Outcome::NoResponders)));
    }

    #[test]
    fn the_schedule_follows_confirm() {
        let cases: &[(u64, &[u64])] = &[
            (0, &[0]),
            (49, &[0]),
            (50, &[0, 50]),
            (300, &[0, 50, 250]),
            (3000, &[0, 50, 250, 1200, 2500]),
            (12_000, &[0, 50, 250, 1200, 2500, 5000, 10_000]),
        ];
        for (confirm, expected) in cases {
            let plan = Plan {
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
        let mut asking = Asking::new(plan(&[], true));
        asking.asked(ms(0));
        asking.reply(ms(1), 0, br#"{"name":"orders","id":"a"}"#);
        asking.no_responders(0);
        assert_eq!(asking.next(ms(2)), Next::Listen(ms(301)));
    }

    #[test]
    fn an_answer_to_an_earlier_asking_counts() {
        let (asked, _, outcome) = simulate(plan(&["a"], false), &[&[Pong, Reply(900, "a")], &[Pong]]);
        assert_eq!(asked, [0, 50, 250]);
        assert_eq!(ids(outcome), ["a"]);
    }

    #[test]
    fn an_answer_proves_no_more_than_when_it_was_asked_for() {
        let answer = br#"{"name":"orders","id":"a"}"#;
        let mut asking = Asking::new(plan(&["a"], true));
        asking.asked(ms(0));
        asking.on_wire(0, ms(3));
        asking.asked(ms(50));
        asking.reply(ms(60), 1, br#"{"name":"billing","id":"b"}"#);
        assert_eq!(asking.proven(), None);
        asking.reply(ms(900), 0, answer);
        assert_eq!(asking.proven(), Some(ms(3)));
        asking.reply(ms(901), 1, answer);
        asking.reply(ms(902), 0, answer);
        assert_eq!(asking.proven(), Some(ms(50)));
    }

    #[test]
    fn a_late_503_of_an_earlier_asking_is_not_taken_for_the_latest() {
        let mut asking = Asking::new(Plan {
            confirm: ms(50),
            ..plan(&[], true)
        });
        asking.asked(ms(0));
        asking.asked(ms(50));
        asking.no_responders(0);
        asking.pong();
        asking.pong();
        assert_eq!(asking.next(ms(60)), Next::Listen(ms(5000)));
    }

    #[test]
    fn silence_is_asked_again_and_believed_late() {
        let (asked, end, outcome) = simulate(plan(&["a"], false), &[&[Pong]]);
        assert_eq!(asked, [0, 50, 250, 1200, 5000]);
        assert_eq!((end, outcome), (5300, Some(Outcome::Silent(ms(5300)))));
    }

    #[test]
    fn silence_that_turns_into_503_is_down() {
        let (asked, end, outcome) = simulate(plan(&["a"], false), &[&[Pong], &[Pong], &[Pong], &[NoResponders, Pong]]);
        assert_eq!(asked, [0, 50, 250, 1200]);
        assert_eq!((end, outcome), (1201, Some(Outcome::NoResponders)));
        let (_, end, outcome) = simulate(
            plan(&["a"], false),
            &[&[Pong], &[Pong], &[Pong], &[Pong], &[NoResponders, Pong]],
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
        let plan = Plan {
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
        assert_eq!(asked, [0, 50, 250, 1200, 5000]);
        assert_eq!(outcome, None, "only the deadline ends it");
    }

    #[test]
    fn what_does_not_count_is_counted_apart() {
        let mut asking = Asking::new(plan(&[], true));
        asking.asked(ms(0));
        for payload in [
            &br#"{"name":"other","id":"a"}"#[..],
            br#"{"stream":"CAP","seq":1}"#,
            b"\xff",
            b"{",
        ] {
            assert!(asking.reply(ms(1), 0, payload).is_some());
        }
        let expected = Ignored {
            foreign: 1,
            acks: 1,
            broken: 2,
        };
        assert_eq!(asking.ignored(), expected);
        assert_eq!(asking.so_far(), None);
    }
}
