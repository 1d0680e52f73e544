//! Pieces of a page: text from anywhere, names in URLs, moments, lists and tables.

use std::fmt::Write;

use crate::values::dated;
use crate::values::status::Status;
use crate::values::timestamp::Timestamp;

/// Length of a word, in characters, beyond which a browser may break it behind its punctuation.
const LONG_WORD: usize = 16;

/// Text, as it stands in HTML and in the values of its attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut escaped, c));
    escaped
}

/// Text between tags. A long word in it, as are the names of pods and hosts, may be broken behind its punctuation, and nowhere else.
pub fn words(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for word in text.split_inclusive(' ') {
        let is_long = word.chars().nth(LONG_WORD).is_some();
        for c in word.chars() {
            push_escaped(&mut html, c);
            if is_long && matches!(c, '.' | '_' | '/' | ':' | '=' | ',' | '@' | '-') {
                html += "<wbr>";
            }
        }
    }
    html
}

fn push_escaped(html: &mut String, c: char) {
    match c {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' | '\'' => {
            let _ = write!(html, "&#{};", u32::from(c));
        }
        c => html.push(c),
    }
}

/// A name, as it stands in a URL.
pub fn in_url(name: &str) -> String {
    let mut url = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => url.push(char::from(byte)),
            byte => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

/// The name of the status in the style.
pub fn class(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Unknown => "unknown",
        Status::Critical => "critical",
    }
}

/// To the second, for people, without markup.
pub fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(..19).unwrap_or(&text).replace('T', " "))
}

/// The same with markup.
pub fn time(at: Timestamp) -> String {
    format!("<time datetime=\"{at}\">{}</time>", moment(at))
}

/// The moment and its age, which counts from the time of reading.
pub fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({} ago)", time(at), dated::age(at, now))
}

/// The age alone; its moment is shown where the mouse stays.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    format!(
        "<time datetime=\"{at}\" title=\"{}\">{} ago</time>",
        moment(at),
        dated::age(at, now)
    )
}

/// Facts, each with its name.
pub fn facts(facts: &[(&str, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let fact = |(name, value): &(&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    let facts: String = facts.iter().map(fact).collect();
    format!("<dl>\n{facts}</dl>\n")
}

/// A table of this class with these titles, in a frame that scrolls where it is too wide.
pub fn table<const N: usize>(class: &str, titles: [&str; N], rows: &str) -> String {
    let titles: String = titles
        .iter()
        .map(|title| format!("<th scope=\"col\">{title}</th>"))
        .collect();
    format!(
        "<div class=\"frame\">\n<table class=\"{class}\">\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

/// Number of those that are not shown.
pub fn more(number: usize) -> String {
    match number {
        0 => String::new(),
        more => format!("<p class=\"dim\">and {more} more</p>\n"),
    }
}
