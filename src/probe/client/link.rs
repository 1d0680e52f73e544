//! One connection, as the probe sees it: what was published, for whom, and when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::worker::{self, ClientCommand, ClientEvent};
use crate::connect::request::{EndpointRequest, Subject};
use crate::connect::target::ServerUrl;
use crate::probe::clock::PingClock;
use crate::probe::schedules::Question;
use crate::values::timestamp::Timestamp;

/// Purpose of a published message.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Question(Question),
    /// Asks the instances for their endpoints, for the nth time.
    Info(usize),
    /// The request to an endpoint, sent for the nth time.
    Endpoint(usize),
}

/// A message that was published.
pub(super) struct Message {
    pub(super) purpose: Purpose,
    /// When it left, since the first request.
    pub(super) sent: Duration,
}

/// All messages that were published over a connection.
#[derive(Default)]
pub(super) struct Published {
    /// Each by its number.
    messages: Vec<Message>,
    /// The number of the latest message to each subject.
    latest: BTreeMap<String, usize>,
}

impl Published {
    /// These messages, too.
    pub(super) fn with(mut self, messages: Vec<(String, Purpose)>, sent: Duration) -> Published {
        self.add(messages, sent);
        self
    }

    fn add(&mut self, messages: Vec<(String, Purpose)>, sent: Duration) {
        for (subject, purpose) in messages {
            self.latest.insert(subject, self.messages.len());
            self.messages.push(Message { purpose, sent });
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<&Message> {
        self.messages.get(number)
    }

    /// The latest message to this subject.
    pub(super) fn latest_to(&self, subject: &str) -> Option<&Message> {
        self.get(*self.latest.get(subject)?)
    }

    /// So many messages, from this number on.
    pub(super) fn range(&mut self, first: usize, count: usize) -> impl Iterator<Item = &mut Message> {
        self.messages.iter_mut().skip(first).take(count)
    }
}

/// One connection, as the probe sees it.
pub(super) struct Link {
    pub(super) events: Receiver<ClientEvent>,
    pub(super) inbox: Receiver<worker::Message>,
    pub(super) commands: Sender<ClientCommand>,
    pub(super) server: ServerUrl,
    pub(super) secure: bool,
    /// Set if it goes through a relay.
    pub(super) relayed: bool,
    /// Time that the connection and the login took.
    pub(super) login: Duration,
    /// When the first request was about to leave.
    pub(super) began: (Instant, Timestamp),
    /// An id that no instance has.
    pub(super) unused_id: String,
    pub(super) clock: PingClock,
    pub(super) published: Published,
}

impl Link {
    /// Time since the first request.
    pub(super) fn now(&self) -> Duration {
        self.began.0.elapsed()
    }

    /// Publishes empty messages to these subjects, in one write.
    pub(super) fn publish(&mut self, now: Duration, messages: Vec<(String, Purpose)>) {
        let command = publish_command(self.published.messages.len(), &messages);
        self.send(now, messages, command);
    }

    /// Sends the request to an endpoint, for the nth time.
    pub(super) fn request(&mut self, now: Duration, nth: usize, subject: Subject, request: EndpointRequest) {
        let message = (subject.as_str().to_owned(), Purpose::Endpoint(nth));
        let number = self.published.messages.len();
        self.send(
            now,
            vec![message],
            ClientCommand::Request {
                number,
                subject,
                request,
            },
        );
    }

    fn send(&mut self, now: Duration, messages: Vec<(String, Purpose)>, command: ClientCommand) {
        self.published.add(messages, now);
        self.clock.request_sent(now);
        self.command(command);
    }

    fn command(&self, command: ClientCommand) {
        // A worker sends its reason before it ends.
        let _ = self.commands.send(command);
    }

    pub(super) fn ping(&mut self, now: Duration) {
        self.clock.ping_sent(now);
        self.command(ClientCommand::Ping);
    }
}

/// The command for these messages, which are numbered from `first` on.
pub(super) fn publish_command(first: usize, messages: &[(String, Purpose)]) -> ClientCommand {
    let subjects = messages.iter().map(|(subject, _)| subject.clone()).collect();
    ClientCommand::Publish { first, subjects }
}
