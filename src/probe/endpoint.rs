//! One request to an endpoint of the service: where it goes, when it may be sent again, and when enough was received. Pure: it is
//! given the time and told what was received.
//!
//! A request need not be idempotent: once it may have been received, it is never sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::connect::request::{Destination, EndpointRequest, Subject, shown};
use crate::probe::clock::PingClock;
use crate::probe::info::{self, Endpoint, Headers};
use crate::probe::observation::{EndpointEnd, EndpointReply, EndpointSeen, Failure};
use crate::values::text::{clean, count};

/// When to ask again after a 503: an instance may just be connecting again, and nobody has received the request. After
/// the last of these, nobody is there.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// Maximum time after a request in which a 503 of the server itself can come, over the longest of lines.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Of how many instances it is kept what they tell, how many subjects of one name from each, and how many other names in all.
const MAX_INFOS: usize = 256;
const MAX_SUBJECTS: usize = 8;
const MAX_NAMES: usize = 100;
const NAME_CHARS: usize = 64;

/// The rules of one request.
#[derive(Clone, Debug)]
pub struct EndpointPlan {
    /// The ids of the instances that answered a PING.
    pub instances: BTreeSet<String>,
    /// Set if the service belongs to another account, and is imported.
    pub imported: bool,
    /// When the wait for a reply ends, with time left to tell the verdict.
    pub end: Duration,
    /// Time without a message after which none is expected any more.
    pub patience: Duration,
    /// Time limit for one more instance to report its endpoints.
    pub stall: Duration,
}

/// The next action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointAction {
    /// Ask the instances for their endpoints, once more.
    AskInfo,
    /// Send the request to this subject.
    Request(Subject),
    /// Make sure that the server is still there.
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// Nothing came, and from the server neither.
    ServerHung,
    /// Enough was heard.
    Done,
}

/// One time that the request was sent.
#[derive(Clone, Debug, Default)]
struct SentRequest {
    sent: Duration,
    no_responders: bool,
}

/// One request to an endpoint under way.
#[derive(Clone, Debug)]
pub struct Call {
    service: String,
    request: EndpointRequest,
    /// The subject on which instances report their endpoints.
    info_subject: String,
    /// On which subjects the instances have the endpoint, by their ids.
    infos: BTreeMap<String, BTreeSet<String>>,
    /// Names of their other endpoints. Clean.
    names: BTreeSet<String>,
    /// Number of requests for the endpoints, and the time of the latest.
    info_rounds: usize,
    last_info_asked: Duration,
    /// The rounds in which nobody was subscribed.
    info_unheard: BTreeSet<usize>,
    latest_info: Duration,
    /// When the instances had answered, and the rules from then on.
    plan: Option<(Duration, EndpointPlan)>,
    /// Number of times that the instances were asked for their endpoints since the plan was made.
    info_again: usize,
    subject: Option<Subject>,
    doubt: String,
    attempts: Vec<SentRequest>,
    captured: bool,
    reply: Option<(Duration, EndpointReply)>,
    end: Option<EndpointEnd>,
}

impl Call {
    pub fn new(service: &str, info_subject: String, request: EndpointRequest) -> Call {
        Call {
            service: service.to_owned(),
            subject: match &request.to {
                Destination::Subject(subject) => Some(subject.clone()),
                Destination::Endpoint(_) => None,
            },
            request,
            info_subject,
            infos: BTreeMap::new(),
            names: BTreeSet::new(),
            info_rounds: 0,
            last_info_asked: Duration::ZERO,
            info_unheard: BTreeSet::new(),
            latest_info: Duration::ZERO,
            plan: None,
            info_again: 0,
            doubt: String::new(),
            attempts: Vec::new(),
            captured: false,
            reply: None,
            end: None,
        }
    }

    pub fn request(&self) -> &EndpointRequest {
        &self.request
    }

    /// The subject of the request itself, as far as it is known.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_ref().map(Subject::as_str)
    }

    /// The subject to ask for the endpoints of all instances, beside the question itself; `None` where it need not be.
    pub fn info_subject(&self) -> Option<&str> {
        self.subject.is_none().then_some(self.info_subject.as_str())
    }

    /// The instances were asked for their endpoints. Returns which asking that is, from 0 on.
    pub fn info_asked(&mut self, now: Duration) -> usize {
        if self.plan.is_some() {
            self.info_again += 1;
        }
        self.last_info_asked = now;
        self.info_rounds += 1;
        self.info_rounds - 1
    }

    /// An instance reported its endpoints, or somebody something else. Returns whether it counts.
    pub fn info(&mut self, now: Duration, payload: &[u8]) -> bool {
        if self.infos.len() >= MAX_INFOS {
            return false;
        }
        match info::read_info(&self.service, payload) {
            Some(info) if !self.infos.contains_key(&info.id) => {
                let mut subjects = BTreeSet::new();
                for Endpoint { name, subject } in info.endpoints {
                    if self.request.to != Destination::Endpoint(name.clone()) {
                        if self.names.len() < MAX_NAMES {
                            self.names.insert(clean(&name, NAME_CHARS));
                        }
                    } else if subjects.len() < MAX_SUBJECTS {
                        subjects.insert(subject);
                    }
                }
                self.infos.insert(info.id, subjects);
                self.latest_info = now;
                true
            }
            _ => false,
        }
    }

    /// Nobody was subscribed when the instances were asked for their endpoints this time.
    pub fn info_no_responders(&mut self, round: usize) {
        if round < self.info_rounds {
            self.info_unheard.insert(round);
        }
    }

    /// The server does not let us publish to this subject. Returns whether that was for this request.
    pub fn denied(&mut self, subject: &str, failure: &Failure) -> bool {
        let asked = self.subject.as_ref().filter(|_| !self.attempts.is_empty());
        let ours = match asked {
            Some(asked) => asked.as_str() == subject,
            None => self.info_rounds > 0 && subject == self.info_subject,
        };
        if ours {
            self.failed(failure.clone());
        }
        ours
    }

    /// The instances have answered: from now on, the request may be sent.
    pub fn begin(&mut self, now: Duration, plan: EndpointPlan) {
        self.plan = Some((now, plan));
    }

    /// Returns `true` once the instances have answered.
    pub fn has_begun(&self) -> bool {
        self.plan.is_some()
    }

    /// The request is being sent, again or for the first time. Returns which time that is, from 0 on.
    pub fn sent(&mut self, now: Duration) -> usize {
        self.attempts.push(SentRequest {
            sent: now,
            no_responders: false,
        });
        self.attempts.len() - 1
    }

    /// It really left at this time, a little after that was decided on.
    pub fn on_wire(&mut self, at: Duration) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.sent = at;
        }
    }

    /// A 503 came for the request when it was sent for the nth time. Any peer that has seen the request can send one; the
    /// server's own comes at once, and before the server has answered a PING behind the request. Returns whether it counts.
    pub fn no_responders(&mut self, now: Duration, nth: usize, server_answered: bool) -> bool {
        let latest = nth + 1 == self.attempts.len() && self.reply.is_none();
        match self.attempts.last_mut().filter(|_| latest && !server_answered) {
            Some(attempt) if now.saturating_sub(attempt.sent) < AT_ONCE => {
                attempt.no_responders = true;
                true
            }
            _ => false,
        }
    }

    /// A message came for the request when it was sent for the nth time. The first that counts is the reply. Returns whether
    /// it counts.
    pub fn reply(&mut self, now: Duration, nth: usize, headers: &Headers, payload: &[u8]) -> bool {
        // No reply to an earlier request can come: no instance has received it.
        if nth + 1 != self.attempts.len() || self.reply.is_some() || self.end.is_some() {
            return false;
        }
        let wanted = self.request.reply_contains.as_deref();
        let is_as_wanted = wanted.is_none_or(|text| info::contains(payload, text));
        if info::is_stream_ack(payload) && !(wanted.is_some() && is_as_wanted) {
            self.captured = true;
            return false;
        }
        let instances = self.plan.iter().flat_map(|(_, plan)| &plan.instances);
        self.reply = Some((
            now,
            EndpointReply {
                took: Duration::ZERO,
                size: payload.len(),
                error: info::error(headers),
                lacks: match wanted {
                    Some(text) if !is_as_wanted => clean(text, NAME_CHARS),
                    _ => String::new(),
                },
                excerpt: info::excerpt(payload),
                sender: info::sender(headers, instances).unwrap_or_default().to_owned(),
            },
        ));
        true
    }

    /// It ends like this, whatever may still come.
    pub fn ended(&mut self, end: EndpointEnd) {
        self.end.get_or_insert(end);
    }

    /// It failed, unless the reply came before.
    pub fn failed(&mut self, failure: Failure) {
        if self.reply.is_none() {
            self.ended(EndpointEnd::Failed(failure));
        }
    }

    /// Returns `true` if the request may have been received.
    pub fn is_under_way(&self) -> bool {
        self.attempts.iter().any(|attempt| !attempt.no_responders)
    }

    /// Returns the action at this time.
    pub fn next(&mut self, now: Duration, clock: &PingClock) -> EndpointAction {
        let Some((begun, plan)) = self.plan.clone() else {
            return EndpointAction::Listen(Duration::MAX);
        };
        if self.end.is_some() {
            return EndpointAction::Done;
        }
        match self.subject.clone() {
            None => self.next_of_info(now, begun, &plan, clock),
            Some(subject) => self.next_of_request(now, &plan, subject, clock),
        }
    }

    fn end_with(&mut self, end: EndpointEnd) -> EndpointAction {
        self.ended(end);
        EndpointAction::Done
    }

    fn next_of_info(
        &mut self,
        now: Duration,
        begun: Duration,
        plan: &EndpointPlan,
        clock: &PingClock,
    ) -> EndpointAction {
        if !self.infos.is_empty() {
            let told = plan.instances.iter().filter(|id| self.infos.contains_key(*id)).count();
            let complete = told >= plan.instances.len().min(MAX_INFOS);
            let until = self.latest_info.max(begun) + plan.stall;
            if !complete && now < until.min(plan.end) {
                return EndpointAction::Listen(until.min(plan.end));
            }
            return match self.choose(complete) {
                Some(subject) => self.next_of_request(now, plan, subject, clock),
                None => EndpointAction::Done,
            };
        }
        let nobody = self.info_unheard.len() >= self.info_rounds;
        let last = begun + (plan.end.saturating_sub(begun) / 2).max(plan.stall);
        let again = match (nobody, self.info_again) {
            (true, 0) => Some(begun),
            (true, nth) => ASK_AGAIN.get(nth - 1).map(|gap| begun + *gap),
            (false, 0) => Some((self.last_info_asked + plan.stall).max(begun)),
            (false, _) => None,
        };
        match again.filter(|_| now < plan.end) {
            Some(time) if now >= time => EndpointAction::AskInfo,
            Some(time) => EndpointAction::Listen(time.min(plan.end)),
            None if !nobody && now < last.min(plan.end) => EndpointAction::Listen(last.min(plan.end)),
            None => {
                let subject = shown(&self.info_subject);
                self.end_with(EndpointEnd::NoInfo {
                    subject,
                    no_responders: nobody,
                })
            }
        }
    }

    /// The subject of the endpoint: that which most instances tell, the first in order among equals. Without any, that is
    /// the end.
    fn choose(&mut self, complete: bool) -> Option<Subject> {
        let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
        for subject in self.infos.values().flatten() {
            *subjects.entry(subject).or_default() += 1;
        }
        if subjects.is_empty() {
            self.ended(EndpointEnd::Unknown {
                known: self.names.iter().cloned().collect(),
                complete,
            });
            return None;
        }
        let lacking = self.infos.values().filter(|own| own.is_empty()).count();
        let valid = subjects
            .iter()
            // A service must not make this program publish to NATS itself ($JS.API, $SYS), where its user may have wide
            // permissions.
            .filter(|(text, _)| !text.starts_with('$'))
            .filter_map(|(text, n)| Some((Subject::parse(text).ok()?, *n)));
        let chosen = valid.reduce(|best, other| if other.1 > best.1 { other } else { best });
        let mut doubts = Vec::new();
        if lacking > 0 {
            let all = count(self.infos.len(), "instance");
            doubts.push(format!("{lacking} of {all} do not have it"));
        }
        let is_chosen = |text: &str| chosen.as_ref().is_some_and(|(subject, _)| subject.as_str() == text);
        let others: Vec<String> = subjects
            .keys()
            .filter(|text| !is_chosen(text))
            .take(MAX_SUBJECTS)
            .map(|text| shown(text))
            .collect();
        if !others.is_empty() {
            doubts.push(format!("of the same name: {}", others.join(", ")));
        }
        self.subject = chosen.map(|(subject, _)| subject);
        if self.subject.is_none() {
            let told = subjects.keys().next().copied().map(shown).unwrap_or_default();
            self.ended(EndpointEnd::NotASubject { told });
        }
        self.doubt = doubts.join(", ");
        self.subject.clone()
    }

    fn next_of_request(
        &mut self,
        now: Duration,
        plan: &EndpointPlan,
        subject: Subject,
        clock: &PingClock,
    ) -> EndpointAction {
        let Some(last) = self.attempts.last().cloned() else {
            return match now + plan.patience / 16 > plan.end {
                true => self.end_with(EndpointEnd::NoTime),
                false => EndpointAction::Request(subject),
            };
        };
        if let Some((at, mut reply)) = self.reply.clone() {
            reply.took = at.saturating_sub(last.sent);
            return self.end_with(EndpointEnd::Replied(reply));
        }
        if last.no_responders {
            let first = self.attempts.first().map_or(last.sent, |attempt| attempt.sent);
            let again = ASK_AGAIN.get(self.attempts.len() - 1).map(|gap| first + *gap);
            return match again.filter(|time| *time < plan.end) {
                Some(time) if now >= time => EndpointAction::Request(subject),
                Some(time) => EndpointAction::Listen(time),
                None => {
                    let certain = !plan.imported || matches!(self.request.to, Destination::Subject(_));
                    self.end_with(EndpointEnd::NoResponders { certain })
                }
            };
        }
        let waited = now.saturating_sub(last.sent);
        // A frozen server must not make the endpoint look hung.
        let check = last.sent + plan.end.saturating_sub(last.sent) * 3 / 4;
        if now >= plan.end {
            match clock.server_answered() {
                true => self.end_with(EndpointEnd::NoReply {
                    waited,
                    enough: waited >= plan.patience,
                    captured: self.captured,
                }),
                false => EndpointAction::ServerHung,
            }
        } else if now < check {
            EndpointAction::Listen(check)
        } else if clock.last_ping() < check {
            EndpointAction::Ping
        } else {
            EndpointAction::Listen(plan.end)
        }
    }

    /// Returns the result of the request.
    pub fn seen(&self) -> EndpointSeen {
        EndpointSeen {
            endpoint: match &self.request.to {
                Destination::Endpoint(name) => clean(name, NAME_CHARS),
                Destination::Subject(_) => String::new(),
            },
            subject: self.subject.as_ref().map(Subject::shown).unwrap_or_default(),
            end: self.end.clone().unwrap_or(EndpointEnd::NoTime),
            doubt: self.doubt.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
