//! One connection, as the probe sees it: what was published, for whom, and when.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::worker::{ClientCommand, ClientEvent, Message};
use crate::connect::request::{EndpointRequest, Subject};
use crate::connect::target::ServerUrl;
use crate::probe::clock::PingClock;
use crate::probe::plan::Query;
use crate::values::timestamp::Timestamp;

/// Purpose of a published message.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Query(Query),
    /// Asks the instances for their endpoints, for the nth time.
    Info(usize),
    /// The request to an endpoint, sent for the nth time.
    Endpoint(usize),
}

/// A message that was published.
pub(super) struct Published {
    pub(super) subject: String,
    pub(super) purpose: Purpose,
    /// When it left, since the first request.
    pub(super) sent: Duration,
}

/// One connection, as the probe sees it.
pub(super) struct Link {
    pub(super) events: Receiver<ClientEvent>,
    pub(super) inbox: Receiver<Message>,
    pub(super) commands: Sender<ClientCommand>,
    pub(super) server: ServerUrl,
    pub(super) secure: bool,
    /// Set if it goes through a relay.
    pub(super) relayed: bool,
    /// When the first request was about to leave.
    pub(super) began: (Instant, Timestamp),
    /// An id that no instance has.
    pub(super) unused_id: String,
    pub(super) clock: PingClock,
    /// Each by its number.
    pub(super) published: Vec<Published>,
}

impl Link {
    /// Time since the first request.
    pub(super) fn now(&self) -> Duration {
        self.began.0.elapsed()
    }

    /// Publishes empty messages to these subjects, in one write.
    pub(super) fn publish(&mut self, now: Duration, messages: Vec<(String, Purpose)>) {
        let command = publish_command(self.published.len(), &messages);
        self.send(now, messages, command);
    }

    /// Sends the request to an endpoint, for the nth time.
    pub(super) fn request(&mut self, now: Duration, nth: usize, subject: Subject, request: EndpointRequest) {
        let message = (subject.as_str().to_owned(), Purpose::Endpoint(nth));
        let number = self.published.len();
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
        self.published.extend(published(messages, now));
        self.clock.request_sent(now);
        self.command(command);
    }

    fn command(&self, command: ClientCommand) {
        // A worker that is stuck, in the wait for a PONG say, has enough to do when its queue is full.
        let _ = self.commands.try_send(command);
    }

    pub(super) fn ping(&mut self, now: Duration) {
        self.clock.ping_sent(now);
        self.command(ClientCommand::Ping);
    }
}

/// These messages, sent at this time.
pub(super) fn published(messages: Vec<(String, Purpose)>, sent: Duration) -> impl Iterator<Item = Published> {
    messages
        .into_iter()
        .map(move |(subject, purpose)| Published { subject, purpose, sent })
}

/// The command for these messages, which are numbered from `first` on.
pub(super) fn publish_command(first: usize, messages: &[(String, Purpose)]) -> ClientCommand {
    let subjects = messages.iter().map(|(subject, _)| subject.clone()).collect();
    ClientCommand::Publish { first, subjects }
}
