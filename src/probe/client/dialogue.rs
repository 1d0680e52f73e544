//! The dialogue over one connection: sends what the schedules want, and hands them what came; then the same for the request to an
//! endpoint.

use std::time::Duration;

use super::link::{Link, Purpose};
use super::probe::{Probe, Stop};
use crate::probe::diagnosis::{self, Stage};
use crate::probe::endpoint::{Call, EndpointAction, EndpointPlan};
use crate::probe::observation::Outcome;
use crate::probe::plan::{DiscoveryPlan, FIRST_RETRY, PingPlan, ProbePlan, Query, Wanted};
use crate::probe::schedules::{Action, Schedules};
use crate::values::duration::latency;

/// Minimum time of the last retry, where the user allows it, before a service is down.
const MIN_CONFIRM: Duration = Duration::from_millis(250);

/// Rejected replies beyond this count are treated as a flood.
const FLOOD: u32 = 32;

/// Time of a long run that is reserved for the verdict when an endpoint does not reply.
const VERDICT_RESERVE: Duration = Duration::from_millis(500);

/// The requests over one connection, and their results.
pub(super) struct Dialogue {
    pub(super) link: Link,
    pub(super) schedules: Schedules,
    /// The request to an endpoint, where one is to be sent.
    pub(super) call: Option<Call>,
    /// When to stop waiting for the PONG that tells the round trip.
    round_trip_end: Option<Duration>,
    /// Set when the connection broke after everything was known.
    pub(super) broken: bool,
}

/// The next action.
enum Step {
    /// Something was sent or decided: ask again what to do.
    Again,
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// All is known that was to be asked.
    Done,
}

impl Probe<'_> {
    /// A dialogue whose first messages have left.
    pub(super) fn begin(&mut self, link: Link) -> Dialogue {
        let plan = &self.request.plan;
        let fitted = ProbePlan {
            services: plan.services.iter().map(|plan| self.fitted(plan)).collect(),
            discovery: plan.discovery.as_ref().map(|discovery| DiscoveryPlan {
                newcomer: self.fitted(&discovery.newcomer),
                least: discovery.least.min((self.request.deadline - self.request.start) / 4),
                ..discovery.clone()
            }),
        };
        let mut call = plan.single().and_then(|plan| {
            let wanted = self.request.target.request.clone()?;
            Some(Call::new(&plan.service, self.info_subject(plan), wanted))
        });
        if let Some(call) = call.as_mut().filter(|call| call.info_subject().is_some()) {
            call.info_asked(Duration::ZERO);
        }
        let mut messages = self.first_messages();
        messages.retain(|(_, purpose)| matches!(purpose, Purpose::Question(_)));
        if !messages.is_empty() {
            self.asking(&messages);
        }
        Dialogue {
            schedules: Schedules::new(fitted, link.began.1),
            link,
            call,
            round_trip_end: None,
            broken: false,
        }
    }

    /// The plan within what is left: another server may have taken much of the time. But where NATS has just broken a connection, the
    /// services may have lost theirs: they get all the time that they need, or the run ends without a result.
    fn fitted(&self, plan: &PingPlan) -> PingPlan {
        let is_single = self.request.plan.single().is_some();
        // Silence after the query to all services is no evidence about a single service: each has to be asked.
        let confirm = if is_single {
            plan.confirm
        } else {
            plan.confirm.max(FIRST_RETRY)
        };
        let budget = self.request.deadline - self.request.start;
        let time = if self.lost { budget } else { self.left() };
        let min_confirm = confirm.min(budget * 3 / 4).min(MIN_CONFIRM);
        // Silence counts once the last round has had its full time.
        let room = (time * 9 / 10).saturating_sub(plan.stall);
        PingPlan {
            // If there is no time for a retry, the run ends without a result instead of a hasty one.
            confirm: confirm.min(time * 3 / 4).max(min_confirm),
            // Missing instances are then asked one by one.
            confirm_fewer: confirm.min(room.saturating_sub(plan.stall)),
            patience: confirm.max(budget / 2).min(time * 3 / 4).min(room),
            // A run for all services sees them anyway.
            discover: plan.discover && is_single,
            ..plan.clone()
        }
    }

    /// Sends and receives until all is known that was to be asked, or until the deadline.
    pub(super) fn converse(&mut self, dialogue: &mut Dialogue) -> Result<(), Stop> {
        let end = self.request.deadline.saturating_duration_since(dialogue.link.began.0);
        loop {
            let now = dialogue.link.now();
            let mut until = match self.next(dialogue, now)? {
                Step::Again => continue,
                Step::Ping => {
                    dialogue.link.ping(now);
                    continue;
                }
                Step::Listen(until) => until.min(end),
                Step::Done => return Ok(()),
            };
            if now >= end && !dialogue.schedules.is_done() {
                self.out_of_time(dialogue, now)?;
                continue;
            }
            if let Some(due) = dialogue.link.clock.ping_due() {
                if now >= due {
                    dialogue.link.ping(now);
                    continue;
                }
                until = until.min(due);
            }
            match self.receive(dialogue, dialogue.link.began.0 + until) {
                // Whatever happens while the round trip is measured, the replies count.
                Err(_) if dialogue.schedules.is_done() && dialogue.call.is_none() => dialogue.broken = true,
                received => received?,
            }
        }
    }

    fn next(&mut self, dialogue: &mut Dialogue, now: Duration) -> Result<Step, Stop> {
        match &dialogue.call {
            _ if !dialogue.schedules.is_done() => self.next_of_schedules(dialogue, now),
            Some(call) if call.has_begun() => Ok(self.next_of_call(dialogue, now)),
            _ => Ok(self.next_of_round_trip(dialogue, now)),
        }
    }

    fn next_of_schedules(&mut self, dialogue: &mut Dialogue, now: Duration) -> Result<Step, Stop> {
        let Dialogue {
            link, schedules, call, ..
        } = dialogue;
        let questions = match schedules.next(now, &link.clock) {
            Action::Send(questions) => questions,
            Action::Ping => return Ok(Step::Ping),
            Action::Listen(until) => return Ok(Step::Listen(until)),
            Action::Flooded => return Err(Stop::Final(diagnosis::flooded(&link.server.address()))),
            Action::Done => {
                self.begin_call(dialogue, now);
                return Ok(Step::Again);
            }
        };
        let pings = questions
            .iter()
            .filter(|question| matches!(question.query, Query::Ping(_)));
        let is_round = pings.count() == 1;
        let mut messages = self.messages(questions.clone(), |number| schedules.name(number), &link.unused_id);
        self.asking_again(&questions, schedules, &messages);
        // The instances are asked for their endpoints in the same write.
        if let (Some(call), true) = (call, is_round)
            && let Some(subject) = call.info_subject().map(str::to_owned)
        {
            messages.push((subject, Purpose::Info(call.info_asked(now))));
        }
        link.publish(now, messages);
        Ok(Step::Again)
    }

    /// The instances are known. Then the request to an endpoint may be sent.
    fn begin_call(&mut self, dialogue: &mut Dialogue, now: Duration) {
        if let (Some(Outcome::Answered(replies)), Some(call)) = (dialogue.schedules.outcome(0), &mut dialogue.call) {
            let request = self.request;
            let budget = request.deadline - request.start;
            let end = request.deadline - (budget / 10).min(VERDICT_RESERVE);
            let plan = EndpointPlan {
                instances: replies.iter().map(|reply| reply.instance.id.clone()).collect(),
                imported: request.target.prefix.is_imported(),
                end: end.saturating_duration_since(dialogue.link.began.0),
                patience: budget / 4,
                stall: request.plan.stall(),
            };
            call.begin(now, plan);
            if self.headerless {
                call.failed(diagnosis::unreadable_headers(&dialogue.link.server.address()));
            }
        }
    }

    fn next_of_call(&mut self, dialogue: &mut Dialogue, now: Duration) -> Step {
        let (link, Some(call), Some(plan)) = (&mut dialogue.link, &mut dialogue.call, self.request.plan.single())
        else {
            return Step::Again;
        };
        match call.next(now, &link.clock) {
            EndpointAction::Ping => return Step::Ping,
            EndpointAction::Listen(until) => return Step::Listen(until),
            EndpointAction::Done => return Step::Done,
            EndpointAction::AskInfo => {
                self.step("asking for the endpoints again");
                let subject = self.info_subject(plan);
                link.publish(now, vec![(subject, Purpose::Info(call.info_asked(now)))]);
            }
            EndpointAction::Request(subject) => {
                self.step(format_args!("sending the request to {}", subject.shown()));
                link.request(now, call.sent(now), subject, call.request().clone());
            }
            EndpointAction::ServerHung => {
                let waited = latency(self.request.start.elapsed());
                call.failed(diagnosis::timed_out(&link.server.address(), Stage::Answering, &waited));
            }
        }
        Step::Again
    }

    /// Waits for the PONG that tells the round trip, where the replies were faster: no longer than for one more reply.
    fn next_of_round_trip(&self, dialogue: &mut Dialogue, now: Duration) -> Step {
        let plan = &self.request.plan;
        let is_measured = self.server.as_ref().is_some_and(|server| server.rtt.is_some());
        let is_wanted = plan.single().is_none_or(|plan| plan.wanted == Wanted::All) && dialogue.call.is_none();
        match dialogue.round_trip_end {
            _ if is_measured || !is_wanted || dialogue.broken => Step::Done,
            None => {
                dialogue.round_trip_end = Some(now + plan.stall());
                // Over TLS no PING follows a request.
                if dialogue.link.secure { Step::Ping } else { Step::Again }
            }
            Some(until) if now < until && self.left() > Duration::ZERO => Step::Listen(until),
            Some(_) => Step::Done,
        }
    }

    /// The time is up, and what is known so far has to do.
    fn out_of_time(&mut self, dialogue: &mut Dialogue, now: Duration) -> Result<(), Stop> {
        let Dialogue { link, schedules, .. } = dialogue;
        if schedules.out_of_time(now, &link.clock) {
            self.begin_call(dialogue, now);
            return Ok(());
        }
        let address = link.server.address();
        let waited = latency(self.request.start.elapsed());
        Err(Stop::Final(match link.clock.server_answered() {
            // The service keeps replying, but its replies are invalid.
            false if schedules.ignored() > FLOOD => diagnosis::flooded(&address),
            false if !diagnosis::is_far(link.login, now.saturating_sub(link.clock.last_sent())) => {
                diagnosis::timed_out(&address, Stage::Answering, &waited)
            }
            true if self.lost => diagnosis::lost_late(&address),
            _ => diagnosis::too_slow(&address, link.login, &waited),
        }))
    }
}
