//! The verdict on a page: its status and its findings.

use super::markup::{class, words};
use crate::judge::verdict::{Finding, Verdict};
use crate::values::status::Status;

/// The verdict, and its findings. `since`: since when it is so, in HTML; empty if the page tells it elsewhere.
pub fn findings(of: &Verdict, since: &str) -> String {
    let findings = of.findings();
    let lead = findings.first().map_or("", |finding| finding.dated.as_str());
    let mut text = verdict(of.status(), lead, since);
    if let Some(rest) = findings.get(1..).filter(|rest| !rest.is_empty()) {
        text += "<ul>\n";
        rest.iter().for_each(|other| text += &finding(other));
        text += "</ul>\n";
    }
    text
}

/// A box with a status and a text.
pub fn verdict(status: Status, text: &str, since: &str) -> String {
    let (class, name, text) = (class(status), status.name(), words(text));
    let since = match since {
        "" => String::new(),
        since => format!("<p class=\"dim\">{since}</p>\n"),
    };
    format!("<section class=\"verdict {class}\">\n<strong>{name}</strong>\n<p>{text}</p>\n{since}</section>\n")
}

fn finding(finding: &Finding) -> String {
    let (class, name, text) = (class(finding.status), finding.status.name(), words(&finding.dated));
    format!("<li class=\"{class}\"><b>{name}</b> {text}</li>\n")
}
