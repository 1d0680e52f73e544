//! The options of a request to an endpoint (`--request` and its kin). Headers and payload may be secrets: no message shows them.

use std::path::Path;

use super::flag_values::{ConfigError, FlagValues};
use crate::connect::request::{Destination, EndpointRequest, Payload, Subject};
use crate::files::read::{read_bytes, shown};
use crate::judge::RequestLimits;
use crate::values::secret::Secret;
use crate::values::text::clean;

/// The largest payload that is read from a file, in bytes; a server takes 1 MiB unless told otherwise.
const MAX_PAYLOAD_BYTES: u64 = 8 * 1024 * 1024;

/// Maximum length of a text in a reply, and of all headers together, in bytes.
const MAX_TEXT_BYTES: usize = 1000;
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The flags that mean nothing without a request.
const NEEDING: [&str; 6] = [
    "payload",
    "payload-file",
    "header",
    "reply-contains",
    "request-warning",
    "request-critical",
];

/// The request that the user wants to be sent, with the bytes of its file.
pub(super) fn read(values: &FlagValues<'_>) -> Result<Option<EndpointRequest>, ConfigError> {
    let Some(to) = destination(values)? else {
        return Ok(None);
    };
    Ok(Some(EndpointRequest {
        to,
        payload: payload(values)?,
        headers: headers(values)?,
        reply_contains: values.read("reply-contains", reply_contains)?,
    }))
}

/// Returns the time limits for the reply; `None` if there is no request.
pub(super) fn limits(values: &FlagValues<'_>) -> Result<Option<RequestLimits>, String> {
    Ok(match destination(values)? {
        Some(_) => Some(RequestLimits {
            warning: values.duration("request-warning")?,
            critical: values.duration("request-critical")?,
        }),
        None => None,
    })
}

fn destination(values: &FlagValues<'_>) -> Result<Option<Destination>, String> {
    let endpoint = values.read("request", endpoint_name)?.map(Destination::Endpoint);
    let to = endpoint.or(values.read("subject", Subject::parse)?.map(Destination::Subject));
    match NEEDING.into_iter().find(|flag| values.raw(flag).is_some()) {
        Some(flag) if to.is_none() => Err(format!(
            "--{flag} needs a request: give --request ENDPOINT, or --subject SUBJECT"
        )),
        _ => Ok(to),
    }
}

fn endpoint_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match text {
        "" => Err("the name of the endpoint is empty".into()),
        _ if text.len() <= 255 && text.chars().all(good) => Ok(text.to_owned()),
        _ => Err(format!(
            "'{}' is no name of an endpoint: it has letters, digits, '-' and '_' only (ADR-32), give a subject with --subject",
            clean(text, 80)
        )),
    }
}

fn payload(values: &FlagValues<'_>) -> Result<Payload, ConfigError> {
    if let Some(text) = values.text("payload")? {
        return Ok(Payload::new(text.as_bytes()));
    }
    let Some(path) = values.path("payload-file")? else {
        return Ok(Payload::default());
    };
    let path: &Path = &path;
    let bytes = read_bytes(path, MAX_PAYLOAD_BYTES, values.deadline);
    let bytes = bytes.map_err(|why| ConfigError::File(format!("--payload-file {}: {why}", shown(path))))?;
    Ok(Payload::new(bytes))
}

/// A line break in a header would be another header, or the end of them all.
fn headers(values: &FlagValues<'_>) -> Result<Vec<(String, Secret)>, String> {
    let mut headers = Vec::new();
    let mut size = 0;
    for word in values.words("header")? {
        let Some((key, value)) = word.split_once(':') else {
            return Err("--header: a header is KEY:VALUE".into());
        };
        let value = value.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err("--header: the part before the colon must be a name of ASCII characters without blanks".into());
        }
        if value.chars().any(char::is_control) {
            return Err(format!(
                "--header {}: its value has a line break or another control character",
                clean(key, 80)
            ));
        }
        size += key.len() + value.len() + 3;
        headers.push((key.to_owned(), Secret::new(value)));
    }
    match size > MAX_HEADER_BYTES {
        true => Err(format!(
            "--header: all together have {size} bytes, more than {MAX_HEADER_BYTES}"
        )),
        false => Ok(headers),
    }
}

fn reply_contains(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("the text is empty, which every reply contains".into()),
        length if length > MAX_TEXT_BYTES => Err(format!("the text has {length} bytes, more than {MAX_TEXT_BYTES}")),
        _ => Ok(text.to_owned()),
    }
}
