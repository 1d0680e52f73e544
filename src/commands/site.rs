//! Which path has which page. Pure: a request, the last check and the time -> a response.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handover::Span;
use super::outcome::{Served, ServedResult, ServedTexts};
use crate::cli::Selector;
use crate::judge::pod::{PodProbe, ProbeKind, ProbeResult};
use crate::judge::status_file;
use crate::probe::plan::Wanted;
use crate::render::{html, prometheus};
use crate::serve::request::HttpRequest;
use crate::serve::response::{Content, HttpResponse, HttpStatus};
use crate::values::duration::age;
use crate::values::status::Status;
use crate::values::timestamp::Timestamp;

/// All pages. Serialized for the process that serves them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// The service; in words where it is every one.
    pub service: String,
    /// Set if all services are watched, and not one.
    pub is_of_many: bool,
    pub interval: Duration,
    /// A check that is older says nothing any more.
    pub max_age: Duration,
    /// Result of a probe when NATS cannot be asked, where the user says it.
    pub unreachable: Option<ProbeResult>,
    /// Which instance is the pod's own; without one, there are no probes.
    pub selector: Option<Selector>,
    /// When this server began.
    pub started: Timestamp,
    /// Number of checks that the process that serves has requested.
    pub check_requests: u64,
    /// The last check; `None` before the first one has ended.
    #[serde(skip)]
    pub served: Option<Served>,
}

const NO_PAGE: &str =
    "there is no such page; there are /, /livez, /readyz, /startupz, /healthz, /metrics and /status\n";

const NO_PAGE_OF_MANY: &str =
    "there is no such page; there are /, /service/NAME, /probe?service=NAME, /healthz, /metrics and /status\n";

const NO_NAME: &str = "which service? Say /probe?service=NAME\n";

const NO_SERVICE: &str = "there is no such service; / lists those that are watched\n";

const NO_POD: &str = "a probe is about one service: start watch with --name, and not with --all\n";

const NO_INSTANCE: &str = "which instance is this pod's? Start watch with --id, --id-file, --match or --match-env, or with \
                           --any-instance\n";

/// The parameter that decides over a probe where NATS cannot be asked.
pub const UNREACHABLE: &str = "unreachable";

const BAD_UNREACHABLE: &str = "unreachable is pass or fail, as in /livez?unreachable=fail\n";

const NO_CHECK: &str = "no check has ended yet";

fn not_found(text: &'static str) -> HttpResponse {
    HttpResponse::new(HttpStatus::NotFound, Content::Text, text)
}

impl Site {
    /// The page. `own`: which instance is this pod's, if that was said, or why there is none yet. `check_request`: a startup probe
    /// passes only by a check that began after this request for one; 0: by any.
    pub fn answer(
        &self,
        request: &HttpRequest<'_>,
        own: impl FnOnce() -> Option<Result<Wanted, String>>,
        check_request: u64,
        now: Timestamp,
    ) -> HttpResponse {
        let kind = match request.path {
            "/livez" => ProbeKind::Liveness,
            "/readyz" => ProbeKind::Readiness,
            "/startupz" => ProbeKind::Startup,
            "/" => return self.page(now),
            "/healthz" => return self.health(now),
            "/metrics" => return self.text(Content::Metrics, |texts| texts.metrics),
            "/status" => return self.text(Content::Json, |texts| texts.json),
            "/probe" if self.is_of_many => return self.probe_of_one(request.parameter("service")),
            path => {
                return match path.strip_prefix("/service/").filter(|_| self.is_of_many) {
                    Some(name) => self.page_of_one(name, now),
                    None => not_found(if self.is_of_many { NO_PAGE_OF_MANY } else { NO_PAGE }),
                };
            }
        };
        if self.is_of_many {
            return not_found(NO_POD);
        }
        let Some(own) = own() else {
            return not_found(NO_INSTANCE);
        };
        let unreachable = match request.parameter(UNREACHABLE).map(ProbeResult::parse) {
            None => self.unreachable,
            Some(Some(result)) => Some(result),
            Some(None) => return HttpResponse::new(HttpStatus::BadRequest, Content::Text, BAD_UNREACHABLE),
        };
        let question = |wanted| PodProbe {
            kind,
            service: self.service.clone(),
            wanted,
            unreachable,
        };
        let (answer, line) = match own {
            Ok(own) => self.probe(&question(own), check_request, now),
            Err(why) => question(Wanted::Any).say(ProbeResult::Fail, &why),
        };
        let status = match answer {
            ProbeResult::Pass => HttpStatus::Ok,
            ProbeResult::Fail => HttpStatus::Unavailable,
        };
        let more = if request.parameter("verbose").is_some() {
            self.more(now)
        } else {
            String::new()
        };
        HttpResponse::new(status, Content::Text, format!("{line}\n{more}"))
    }

    fn probe(&self, question: &PodProbe, check_request: u64, now: Timestamp) -> (ProbeResult, String) {
        match &self.served {
            Some(Served {
                result: ServedResult::One(served),
                check_requests,
                ..
            }) => {
                let source = status_file::Source::last_check(*check_requests >= check_request);
                status_file::answer(question, source, &served.check, self.max_age, now)
            }
            // Probes are for one service only.
            _ => question.no_check(NO_CHECK),
        }
    }

    /// Returns the further lines of the answer to a probe, for people.
    fn more(&self, now: Timestamp) -> String {
        let Some(ServedResult::One(served)) = self.served.as_ref().map(|served| &served.result) else {
            return format!("{NO_CHECK}\n");
        };
        format!(
            "{} {}: {}\nchecked {} ago, every {}; counts for {}\n",
            served.status.name(),
            served.check.reason,
            served.check.text,
            age(now.since(served.check.time)),
            age(self.interval),
            age(self.max_age),
        )
    }

    /// Returns the page about the watcher itself: it is fine if it checks, whatever the checks find.
    fn health(&self, now: Timestamp) -> HttpResponse {
        let last = self.served.as_ref().map(Served::time);
        let text = match last {
            Some(last) => format!("the last check is {} old", age(now.since(last))),
            None => NO_CHECK.to_owned(),
        };
        let (status, word) = match now.since(last.unwrap_or(self.started)) <= self.max_age {
            true => (HttpStatus::Ok, "ok"),
            false => (HttpStatus::Unavailable, "fail"),
        };
        let line = format!("{word}: {}: {text}, every {}\n", self.service, age(self.interval));
        HttpResponse::new(status, Content::Text, line)
    }

    fn text(&self, content: Content, text: impl FnOnce(&ServedTexts) -> Span) -> HttpResponse {
        match &self.served {
            Some(served) => HttpResponse::new(HttpStatus::Ok, content, served.text(text(served.texts()))),
            None => HttpResponse::new(HttpStatus::Unavailable, Content::Text, format!("{NO_CHECK}\n")),
        }
    }

    fn page(&self, now: Timestamp) -> HttpResponse {
        let served = self.served.as_ref();
        let text = served
            .map(|served| served.text(served.texts().html))
            .unwrap_or_default();
        let checked = served.map(|served| self.checked(served.status(), &text, served.time(), now));
        let subject = match self.is_of_many {
            true => html::Subject::All,
            false => html::Subject::Service(&self.service),
        };
        let page = html::page(subject, checked.as_ref(), self.interval, now);
        HttpResponse::html(HttpStatus::Ok, page, html::POLICY)
    }

    /// The page of one service among many.
    fn page_of_one(&self, name: &str, now: Timestamp) -> HttpResponse {
        let (served, status, html) = match self.one_of_many(name) {
            Ok(found) => found,
            Err(response) => return response,
        };
        let text = served.text(html);
        let checked = self.checked(status, &text, served.time(), now);
        let page = html::page(html::Subject::OneOfAll(name), Some(&checked), self.interval, now);
        HttpResponse::html(HttpStatus::Ok, page, html::POLICY)
    }

    /// The metrics of one service among many.
    fn probe_of_one(&self, name: Option<&str>) -> HttpResponse {
        let Some(name) = name else {
            return HttpResponse::new(HttpStatus::BadRequest, Content::Text, NO_NAME);
        };
        match self.one_of_many(name) {
            Ok((served, ..)) => {
                let all = served.text(served.texts().metrics);
                HttpResponse::new(HttpStatus::Ok, Content::Metrics, prometheus::of_service(&all, name))
            }
            Err(response) => response,
        }
    }

    /// The status of a service among many, and its page; or what is said where there is none.
    fn one_of_many(&self, name: &str) -> Result<(&Served, Status, Span), HttpResponse> {
        let Some((served, ServedResult::All(all))) = self.served.as_ref().map(|served| (served, &served.result)) else {
            let text = format!("{NO_CHECK}\n");
            return Err(HttpResponse::new(HttpStatus::Unavailable, Content::Text, text));
        };
        let service = all.services.get(name);
        let found = service.map(|(status, html)| (served, *status, *html));
        found.ok_or_else(|| not_found(NO_SERVICE))
    }

    fn checked<'t>(&self, status: Status, text: &'t str, time: Timestamp, now: Timestamp) -> html::Checked<'t> {
        html::Checked {
            status,
            at: time,
            is_stale: now.since(time) > self.max_age,
            text,
        }
    }
}

#[cfg(test)]
mod tests;
