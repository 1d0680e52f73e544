//! A page for a person: the verdict, since when, who is there, and how many there were. Without a script; all is escaped.

mod history;
mod list;
mod markup;
mod service;
mod verdict;

use std::time::Duration;

pub use self::list::checked_all;
use self::markup::{escape, in_url, moment, time, words};
pub use self::service::checked;
use self::verdict::verdict;
use crate::values::dated;
use crate::values::duration::age;
use crate::values::status::Status;
use crate::values::timestamp::Timestamp;

const STYLE: &str = include_str!("page.css");

/// Content-Security-Policy of the page: nothing is allowed but its own style (that with this digest) and its icon.
pub const POLICY: &str = "style-src 'sha256-95sqTQH+ENf2371HynoC3ASFU+eudf8OEgUQU44qEGw='; img-src data:";

/// Result of the last check, for the page.
pub struct Checked<'t> {
    pub status: Status,
    /// When it was.
    pub at: Timestamp,
    /// Set if that is too long ago to be reported as current.
    pub is_stale: bool,
    /// Of [`checked`] or [`checked_all`].
    pub text: &'t str,
}

/// The subject of a page.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'t> {
    /// The one service that is watched.
    Service(&'t str),
    /// One of the services that are watched.
    OneOfAll(&'t str),
    /// All of them.
    All,
}

/// The whole page, as it is at `now`: its ages count from then. `checked` is `None` before a check has ended.
pub fn page(subject: Subject<'_>, checked: Option<&Checked<'_>>, interval: Duration, now: Timestamp) -> String {
    let status = match checked {
        Some(checked) if !checked.is_stale => checked.status,
        _ => Status::Unknown,
    };
    let (kind, name) = match subject {
        Subject::Service(name) => ("NATS service", name),
        Subject::All => ("NATS", "All services"),
        Subject::OneOfAll(name) => ("<a href=\"/\">All services</a>", name),
    };
    let class = match (checked.is_some_and(|checked| checked.is_stale), subject) {
        (true, Subject::All) => "stale all",
        (false, Subject::All) => "fresh all",
        (true, _) => "stale",
        (false, _) => "fresh",
    };
    let every = age(interval);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{refresh}\">\n\
         <title>{status} - {title}</title>\n<link rel=\"icon\" href=\"{icon}\">\n<style>{STYLE}</style>\n</head>\n\
         <body class=\"{class}\">\n<main>\n<p class=\"kind\">{kind}</p>\n<h1>{heading}</h1>\n",
        refresh = refresh(interval),
        status = status.name(),
        title = escape(name),
        icon = icon(status),
        heading = words(name),
    );
    match checked {
        None => page += &verdict(Status::Unknown, "no check has ended yet", ""),
        Some(Checked { at, is_stale, text, .. }) => {
            let old = age(now.since(*at));
            page += &format!(
                "<p class=\"dim\">Checked {old} ago, at {}, every {every}</p>\n",
                time(*at)
            );
            if *is_stale {
                let warning = format!("The last check is {old} old. What it found may not be so any more:");
                page += &verdict(Status::Unknown, &warning, "");
            }
            page += "<div class=\"checked\">\n";
            dated::append(&mut page, text, now);
            page += "</div>\n";
        }
    }
    page += &format!(
        "<footer>\n<p>{links}</p>\n<p>check_nats_service {version}. Page of {now}, reloads every {refresh}s.</p>\n\
         </footer>\n</main>\n</body>\n</html>\n",
        links = links(subject),
        version = env!("CARGO_PKG_VERSION"),
        now = moment(now),
        refresh = refresh(interval),
    );
    page
}

/// After how many seconds a browser loads the page again.
fn refresh(interval: Duration) -> u64 {
    interval.as_secs().clamp(5, 300)
}

fn links(subject: Subject<'_>) -> String {
    match subject {
        Subject::Service(_) | Subject::All => {
            "<a href=\"/status\">JSON</a> <a href=\"/metrics\">Metrics</a>".to_owned()
        }
        Subject::OneOfAll(name) => format!(
            "<a href=\"/\">All services</a> <a href=\"/probe?service={}\">Metrics</a>",
            in_url(name)
        ),
    }
}

/// A sign for the tab of the browser: its shape tells the status as well as its colour, which is seen on light and on dark.
fn icon(status: Status) -> String {
    let (colour, path) = match status {
        Status::Ok => ("2da44e", "M0 4a4 4 0 0 1 8 0a4 4 0 0 1-8 0"),
        Status::Warning => ("d29922", "M4 0l4 8h-8z"),
        Status::Unknown => ("8957e5", "M4 0l4 4l-4 4l-4-4z"),
        Status::Critical => ("e5343d", "M0 0h8v8h-8z"),
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Cpath d='{path}' \
         fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

#[cfg(test)]
mod tests;
