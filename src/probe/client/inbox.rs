//! The events and messages of a connection, each handed to its receiver.

use std::collections::BTreeMap;
use std::time::Instant;

use super::dialogue::Dialogue;
use super::link::Purpose;
use super::probe::{Probe, Stop};
use super::worker::{ClientEvent, INBOX_SIZE, Message, headers, introduce, is_changed};
use crate::probe::diagnosis;
use crate::probe::endpoint::Call;
use crate::probe::info::is_of_the_server;
use crate::probe::observation::NotCounted;
use crate::probe::reply::{ALIVE, Reply};
use crate::probe::schedules::Taken;
use crate::values::status::Reason;

/// Maximum number of instances that are reported for their unreadable headers.
const MAX_UNREADABLE: usize = 10;

impl Probe<'_> {
    /// Waits until this time for what comes, and takes it.
    pub(super) fn receive(&mut self, dialogue: &mut Dialogue, until: Instant) -> Result<(), Stop> {
        let event = self.wait(&dialogue.link.events, Some(&dialogue.link.inbox), until)?;
        // Events are read before the inbox: messages that came before an event are then in the inbox.
        let events = event.into_iter().chain(dialogue.link.events.try_iter());
        let (sent, events): (Vec<ClientEvent>, Vec<ClientEvent>) =
            events.partition(|event| matches!(event, ClientEvent::Sent { .. }));
        for event in sent {
            self.handle(dialogue, event)?;
        }
        self.empty_inbox(dialogue);
        for event in events {
            let is_end_alone = matches!(event, ClientEvent::Disconnected);
            if let Err(stop) = self.handle(dialogue, event) {
                let (true, Stop::Lost(failure) | Stop::Final(failure)) = (dialogue.schedules.is_done(), &stop) else {
                    return Err(stop);
                };
                dialogue.broken = true;
                // The request is not repeated over another connection, since an instance may have received it.
                if let Some(call) = &mut dialogue.call {
                    let is_doubtful = is_end_alone && call.is_under_way();
                    call.failed(diagnosis::lost_with_request(failure.clone(), is_doubtful));
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, dialogue: &mut Dialogue, event: ClientEvent) -> Result<(), Stop> {
        let link = &mut dialogue.link;
        match event {
            ClientEvent::Sent { at, first, count } => {
                let at = at.saturating_duration_since(link.began.0);
                for published in link.published.range(first, count) {
                    published.sent = at;
                    if let (Purpose::Endpoint(_), Some(call)) = (&published.purpose, &mut dialogue.call) {
                        call.on_wire(at);
                    }
                }
            }
            ClientEvent::NotSent(end) => {
                if let Some(call) = &mut dialogue.call {
                    call.ended(end);
                }
            }
            ClientEvent::Pong { rtt, commands } => {
                (0..commands).for_each(|_| link.clock.pong_received());
                dialogue.schedules.pong(link.now(), &link.clock);
                if let Some(server) = &mut self.server {
                    server.rtt = Some(server.rtt.map_or(rtt, |best| best.min(rtt)));
                }
                self.step("PONG: the server has processed everything so far");
            }
            ClientEvent::ServerError(text) => return self.server_error(dialogue, &text),
            ClientEvent::Disconnected => return Err(Stop::Lost(diagnosis::connection_broke(&link.server.address()))),
            ClientEvent::Resolved(_) | ClientEvent::Connected(_) | ClientEvent::NotConnected(_) => {}
        }
        Ok(())
    }

    fn server_error(&mut self, dialogue: &mut Dialogue, text: &str) -> Result<(), Stop> {
        let Dialogue {
            link, schedules, call, ..
        } = dialogue;
        let request = call.as_ref().and_then(Call::subject);
        let failure = diagnosis::server_said(&self.peer(&link.server, link.server.address(), request), text);
        if failure.reason == Reason::PermissionDenied {
            let subject = diagnosis::denied_subject(text);
            let published = subject.and_then(|subject| link.published.latest_to(subject));
            let question = published.and_then(|published| match &published.purpose {
                Purpose::Question(question) => Some(question),
                Purpose::Info(_) | Purpose::Endpoint(_) => None,
            });
            let is_of_call = match (call, subject) {
                (Some(call), Some(subject)) if question.is_none() => call.denied(subject, &failure),
                _ => false,
            };
            if is_of_call || schedules.denied(question, &failure.text) {
                self.step(format_args!("denied: {}", failure.text));
                return Ok(());
            }
        }
        Err(match failure.reason {
            Reason::NatsUnreachable => Stop::Lost(failure),
            _ => Stop::Final(failure),
        })
    }

    fn empty_inbox(&mut self, dialogue: &mut Dialogue) {
        // In a run for all services there are too many for a step each.
        let mut many: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        // Bounded, however fast messages come.
        for _ in 0..INBOX_SIZE {
            let Ok(message) = dialogue.link.inbox.try_recv() else {
                break;
            };
            if let Some(server) = self.server.as_mut().filter(|server| server.id.is_empty()) {
                introduce(&message, dialogue.link.secure, server);
            }
            // The relay had to change its headers.
            if is_changed(&message) && self.unreadable.len() < MAX_UNREADABLE {
                self.unreadable.insert(self.sender(&message));
            }
            let (what, size) = (self.take(dialogue, &message), message.data.len());
            if self.request.plan.single().is_some() {
                self.step(format_args!("{what}, {size} bytes"));
            } else {
                let (times, bytes) = many.entry(what).or_default();
                (*times, *bytes) = (*times + 1, *bytes + size);
            }
        }
        for (what, (times, bytes)) in many {
            self.step(format_args!("{times} times {what}, {bytes} bytes"));
        }
    }

    /// The names of the service and the instance that sent this message, as far as it tells.
    fn sender(&self, message: &Message) -> (String, String) {
        let reply = Reply::parse(&message.data, ALIVE);
        let reply = match self.request.plan.single() {
            Some(plan) => reply.and_then(|reply| reply.of(&plan.service)),
            None => reply,
        };
        reply.map_or((String::new(), "?".to_owned()), |reply| (reply.service, reply.id))
    }

    /// Hands a message to the one whose request it is a reply to. Returns what it is.
    fn take(&mut self, dialogue: &mut Dialogue, message: &Message) -> &'static str {
        let Dialogue {
            link, schedules, call, ..
        } = dialogue;
        let now = link.now();
        let number = message.subject.rsplit('.').next();
        let number = number.and_then(|token| token.parse::<usize>().ok());
        let Some(published) = number.and_then(|number| link.published.get(number)) else {
            return "a message that answers no request";
        };
        let is_503 = message.is_no_responders() && !is_changed(message);
        match (&published.purpose, call) {
            (Purpose::Question(question), _) if is_503 => match schedules.no_responders(question) {
                Taken::Late => "a reply that comes too late",
                _ => "503: no responders",
            },
            (Purpose::Question(question), _) => match schedules.reply(now, published.sent, question, &message.data) {
                Taken::Counted => "a reply",
                Taken::Late => "a reply that comes too late",
                Taken::NotWatched => "a reply of a service that is not selected",
                Taken::NotCounted(NotCounted::Foreign) => "a reply that does not count (Foreign)",
                Taken::NotCounted(NotCounted::Ack) => "a reply that does not count (Ack)",
                Taken::NotCounted(NotCounted::Broken) => "a reply that does not count (Broken)",
                Taken::NotCounted(NotCounted::Sibling) => "a reply that does not count (Sibling)",
            },
            (Purpose::Info(nth), Some(call)) if is_503 && is_of_the_server(&headers(message)) => {
                call.info_no_responders(*nth);
                "503: nobody replies with endpoints"
            }
            (Purpose::Info(_), Some(call)) => match call.info(now, &message.data) {
                true => "endpoints of an instance",
                false => "a message without endpoints, or none that is new",
            },
            (Purpose::Endpoint(nth), Some(call)) if is_503 && is_of_the_server(&headers(message)) => {
                // Over TLS there is no PING behind the request.
                let answered = !link.secure && link.clock.server_answered();
                match call.no_responders(now, *nth, answered) {
                    true => "503: no responders for the request",
                    false => "a 503 that is not the server's own, or comes too late",
                }
            }
            (Purpose::Endpoint(nth), Some(call)) => match call.reply(now, *nth, &headers(message), &message.data) {
                true => "the reply to the request",
                false => "a message that is no reply to the request, or a further one",
            },
            (Purpose::Info(_) | Purpose::Endpoint(_), None) => "a message that answers no request",
        }
    }
}
