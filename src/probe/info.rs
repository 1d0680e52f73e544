//! Replies to `$SRV.INFO.<service>` (ADR-32), and those of endpoints: what counts, and what is kept. Everything in them is
//! hostile.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::connect::request::MAX_SUBJECT_BYTES;
use crate::probe::observation::ServiceError;
use crate::probe::reply::{INFO, Reply};
use crate::values::text::clean;

/// Maximum length of the name of an endpoint, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The name of the only endpoint of a service whose library had no names for them yet; later ones call it so, too.
const DEFAULT_ENDPOINT: &str = "default";

/// Maximum length of a service's error that is kept, in characters.
const ERROR_CHARS: usize = 120;
const CODE_CHARS: usize = 16;

/// Maximum length of a reply that is kept, in characters.
const EXCERPT_CHARS: usize = 80;

/// The headers of an error (ADR-32), in lower case.
const ERROR: &str = "nats-service-error";
const ERROR_CODE: &str = "nats-service-error-code";

/// Header in which the client keeps the first line, `NATS/1.0 503 No Responders`.
const STATUS: &str = "status";
const DESCRIPTION: &str = "description";

/// Fields of an instance's INFO reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: String,
    pub endpoints: Vec<Endpoint>,
}

/// Where a part of a service is asked. Both texts as the service wrote them, and no longer than a sane one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub subject: String,
}

/// Reads a reply to `$SRV.INFO.<service>`; `None` if it is none.
pub fn read_info(service: &str, payload: &[u8]) -> Option<Info> {
    let Reply { id, fields, .. } = Reply::parse(payload, INFO).ok()?.of(service).ok()?;
    let endpoints = match (&fields["endpoints"], &fields["subject"]) {
        (Value::Array(endpoints), _) => endpoints
            .iter()
            .filter_map(|endpoint| read_endpoint(endpoint["name"].as_str()?, &endpoint["subject"]))
            .collect(),
        // The first libraries supported only one endpoint.
        (_, subject) => read_endpoint(DEFAULT_ENDPOINT, subject).into_iter().collect(),
    };
    Some(Info { id, endpoints })
}

fn read_endpoint(name: &str, subject: &Value) -> Option<Endpoint> {
    let subject = subject.as_str()?;
    let sane = name.len() <= MAX_NAME_BYTES && subject.len() <= MAX_SUBJECT_BYTES && !subject.is_empty();
    sane.then(|| Endpoint {
        name: name.to_owned(),
        subject: subject.to_owned(),
    })
}

/// The headers of a reply: each name, as it was sent, with its values. Of several values the first in order is taken.
pub type Headers = BTreeMap<String, Vec<String>>;

fn header<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    let values = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values.flat_map(|(_, values)| values).map(String::as_str).min()
}

/// The error that the headers of a reply tell of: those of ADR-32, whichever of the two is there, or a status as HTTP has it,
/// which NATS itself and some services use.
pub fn error(headers: &Headers) -> Option<ServiceError> {
    let status = header(headers, STATUS).filter(|status| status.starts_with(['4', '5']) && status.len() == 3);
    let (code, text) = match (header(headers, ERROR_CODE), header(headers, ERROR), status) {
        (None, None, None) => return None,
        (None, None, status) => (status, header(headers, DESCRIPTION)),
        (code, text, _) => (code, text),
    };
    Some(ServiceError {
        code: clean(code.unwrap_or_default(), CODE_CHARS),
        text: clean(text.unwrap_or_default(), ERROR_CHARS),
    })
}

/// Returns `true` if a 503 may be the server's own. A service may send that status, too, and then it has received the request.
pub fn is_of_the_server(headers: &Headers) -> bool {
    let known = [STATUS, DESCRIPTION, "nats-subject"];
    headers
        .keys()
        .all(|key| known.iter().any(|name| key.eq_ignore_ascii_case(name)))
}

/// Which of these instances a reply is of, where a header of it has the id for its value. ADR-32 knows no such header, and
/// no library sends one by itself; a service may.
pub fn sender<'i>(headers: &Headers, ids: impl IntoIterator<Item = &'i String>) -> Option<&'i str> {
    let values: Vec<&String> = headers.values().flatten().collect();
    ids.into_iter().find(|id| values.contains(id)).map(String::as_str)
}

/// Returns `true` for the acknowledgement of a JetStream stream that captures the request: it is no reply of an endpoint.
pub fn is_stream_ack(payload: &[u8]) -> bool {
    // It has a handful of short fields.
    if payload.len() > 1024 {
        return false;
    }
    let reply: Value = serde_json::from_slice(payload).unwrap_or_default();
    let known = ["stream", "seq", "duplicate", "domain"];
    let only_known = |object: &serde_json::Map<String, Value>| object.keys().all(|key| known.contains(&key.as_str()));
    reply["stream"].is_string() && reply["seq"].is_u64() && reply.as_object().is_some_and(only_known)
}

/// Returns `true` if the payload contains the text.
pub fn contains(payload: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    text.is_empty() || payload.windows(text.len()).any(|window| window == text)
}

/// Returns the beginning of a reply, clean.
pub fn excerpt(payload: &[u8]) -> String {
    // A character has at most four bytes.
    let beginning = &payload[..payload.len().min(EXCERPT_CHARS * 4 + 4)];
    clean(&String::from_utf8_lossy(beginning), EXCERPT_CHARS)
}

#[cfg(test)]
mod tests;
