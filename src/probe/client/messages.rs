//! The messages of a probe: their subjects, and how the trace calls them.

use super::link::Purpose;
use super::probe::Probe;
use crate::connect::request::Destination;
use crate::probe::plan::{PingPlan, Query, Wanted};
use crate::probe::schedules::{Question, Schedules};

impl Probe<'_> {
    /// The first messages over a connection.
    pub(super) fn first_messages(&self) -> Vec<(String, Purpose)> {
        let plan = &self.request.plan;
        let name = |number: usize| plan.services[number].service.as_str();
        let mut messages = self.messages(Question::first(plan), name, "");
        let request = self.request.target.request.as_ref();
        if let Some(plan) = plan.single()
            && request.is_some_and(|request| matches!(request.to, Destination::Endpoint(_)))
        {
            messages.push((self.info_subject(plan), Purpose::Info(0)));
        }
        messages
    }

    /// The subject on which the instances report their endpoints.
    pub(super) fn info_subject(&self, plan: &PingPlan) -> String {
        self.request.target.subject("INFO", &plan.service)
    }

    /// The messages that ask these questions, given the names of the services.
    pub(super) fn messages<'n>(
        &self,
        questions: Vec<Question>,
        name: impl Fn(usize) -> &'n str,
        unused_id: &str,
    ) -> Vec<(String, Purpose)> {
        let target = self.request.target;
        let mut messages = Vec::with_capacity(questions.len());
        for question in questions {
            let of = |verb: &str| match question.service {
                Some(number) => target.subject(verb, name(number)),
                None => target.discovery_subject(verb),
            };
            let subject = match (&question.query, self.request.plan.single().map(|plan| &plan.wanted)) {
                (Query::Ping(_), Some(Wanted::Id(id))) => format!("{}.{id}", of("PING")),
                (Query::Discovery, Some(_)) => target.discovery_subject("PING"),
                (Query::Ping(_) | Query::Discovery, _) => of("PING"),
                (Query::Stats, _) => of("STATS"),
                (Query::InstancePing(id), _) => format!("{}.{id}", of("PING")),
                (Query::InstanceStatus(id), _) => {
                    messages.push((format!("{}.{id}", of("STATS")), Purpose::Question(question.clone())));
                    format!("{}.{id}", of("INFO"))
                }
                (Query::UnusedId, _) => format!("{}.{unused_id}", of("PING")),
            };
            messages.push((subject, Purpose::Question(question)));
        }
        messages
    }

    pub(super) fn asking(&mut self, messages: &[(String, Purpose)]) {
        let others = match messages.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        self.step(format_args!("asking {}{others}", messages[0].0));
    }

    /// The step of the trace for these questions, which the messages ask.
    pub(super) fn asking_again(
        &mut self,
        questions: &[Question],
        schedules: &Schedules,
        messages: &[(String, Purpose)],
    ) {
        let services = questions.chunk_by(|one, other| one.service == other.service).count();
        let whose = match (self.request.plan.single(), questions[0].service) {
            (_, None) => return self.asking(messages),
            _ if services > 1 => return self.step(format_args!("asking {services} services again")),
            (None, Some(number)) => format!("{}: ", schedules.name(number)),
            _ => String::new(),
        };
        let pings = questions
            .iter()
            .filter(|question| matches!(question.query, Query::Ping(_)));
        // Ids come from the service, so subjects are printed without them.
        match &questions[0].query {
            Query::Ping(_) if pings.count() == 1 => self.step(format_args!("{whose}asking again")),
            Query::Ping(_) | Query::Stats | Query::Discovery => self.asking(messages),
            Query::InstancePing(_) => {
                let instances = questions.len() - 1;
                self.step(format_args!("{whose}asking {instances} instances one by one"));
            }
            Query::InstanceStatus(_) | Query::UnusedId => {
                self.step(format_args!("{whose}looking into the silence"));
            }
        }
    }
}
