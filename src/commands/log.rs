//! The log of a command that keeps running: one line for each event on stderr, as text or as JSON.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::outcome::ShortVerdict;
use crate::cli::LogFormat;
use crate::serve::response::HttpStatus;
use crate::values::status::Status;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Maximum number of characters of a message: a pipe that takes anything takes 4096 bytes without a wait (`PIPE_BUF`).
const MAX_CHARS: usize = 900;

/// Lines of this process that nobody took.
static LOST: AtomicUsize = AtomicUsize::new(0);

fn stderr_takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    // Where that cannot be asked, the write tells.
    !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0))
}

/// The log of `watch`. Serialized for the process that answers over HTTP.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Log {
    pub format: LogFormat,
    /// The service that is watched; `None` where all are.
    pub service: Option<String>,
}

/// Urgency of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

impl From<Status> for Level {
    fn from(status: Status) -> Level {
        match status {
            Status::Ok => Level::Info,
            Status::Warning => Level::Warning,
            Status::Unknown | Status::Critical => Level::Error,
        }
    }
}

/// One line of the log.
struct Event<'e> {
    level: Level,
    /// Stands before the message in a line of text; in JSON the fields have it.
    lead: String,
    message: &'e str,
    fields: Vec<(&'static str, Value)>,
}

impl Log {
    /// Logs something that happened as it should.
    pub fn info(&self, message: &str) {
        self.message(Level::Info, message);
    }

    /// Logs something that failed, and is dealt with.
    pub fn error(&self, message: &str) {
        self.message(Level::Error, message);
    }

    /// Logs the start of the program.
    pub fn start(&self, message: &str) {
        let version = env!("CARGO_PKG_VERSION");
        self.write(&Event {
            level: Level::Info,
            lead: format!("{} {version} ", env!("CARGO_PKG_NAME")),
            message,
            fields: vec![("version", version.into())],
        });
    }

    /// Logs a verdict that has changed. `service`: `None` where it is that over all services.
    pub fn verdict(&self, service: Option<&str>, verdict: &ShortVerdict) {
        let ShortVerdict { status, reason, text } = verdict;
        let name = service.unwrap_or("all services");
        let mut fields = vec![("status", status.name().into()), ("reason", reason.name().into())];
        fields.extend(service.map(|service| ("service", service.into())));
        self.write(&Event {
            level: (*status).into(),
            lead: format!("{name} {} {}: ", status.name(), reason.name()),
            message: text,
            fields,
        });
    }

    /// Logs a probe that is answered in another way than before. `path`: with its query.
    pub fn probe(&self, path: &str, status: HttpStatus, line: &str) {
        self.write(&Event {
            level: match status {
                HttpStatus::Ok => Level::Info,
                _ => Level::Warning,
            },
            lead: format!("{path} {}: ", status.line()),
            message: line,
            fields: vec![("probe", path.into()), ("http_status", status.code().into())],
        });
    }

    fn message(&self, level: Level, message: &str) {
        self.write(&Event {
            level,
            lead: String::new(),
            message,
            fields: Vec::new(),
        });
    }

    fn write(&self, event: &Event<'_>) {
        // Whoever reads the log may have stopped: neither checks nor probes wait for that.
        if !stderr_takes_a_line() {
            LOST.fetch_add(1, Relaxed);
            return;
        }
        let now = Timestamp::now();
        let lost = match LOST.swap(0, Relaxed) {
            0 => String::new(),
            lost => self.line(
                &Event {
                    level: Level::Error,
                    lead: String::new(),
                    message: &format!("{} lost: nobody read the log", count(lost, "line")),
                    fields: Vec::new(),
                },
                now,
            ),
        };
        let lines = lost + &self.line(event, now);
        // One write call: two processes share stderr.
        let _ = io::stderr().write_all(lines.as_bytes());
    }

    fn line(&self, event: &Event<'_>, now: Timestamp) -> String {
        let clean = |text: &str| {
            let clean = |c: char| if c.is_control() { '?' } else { c };
            text.chars().take(MAX_CHARS).map(clean).collect::<String>()
        };
        let (time, message) = (now.to_millis(), clean(event.message));
        match self.format {
            LogFormat::Text => format!("{time} {}{message}\n", clean(&event.lead)),
            LogFormat::Json => {
                let mut object = Map::new();
                object.extend(self.service.as_deref().map(|name| ("service".to_owned(), name.into())));
                for (key, value) in [
                    ("time", time.into()),
                    ("level", event.level.name().into()),
                    ("msg", message.into()),
                ]
                .into_iter()
                .chain(event.fields.iter().cloned())
                {
                    object.insert(key.to_owned(), value);
                }
                format!("{}\n", Value::Object(object))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn log_event_is_one_line() {
        let event = Event {
            level: Status::Critical.into(),
            lead: "orders CRITICAL service_down: ".into(),
            message: "down\n\u{1b}[2J \"until\" 62s ago",
            fields: vec![("status", "CRITICAL".into()), ("reason", "service_down".into())],
        };
        let log = |format| Log {
            format,
            service: Some("orders".into()),
        };
        let line = |format| log(format).line(&event, Timestamp::from_micros(1_500_000));
        assert_eq!(
            line(LogFormat::Text),
            "1970-01-01T00:00:01.500Z orders CRITICAL service_down: down??[2J \"until\" 62s ago\n"
        );
        let json_line = line(LogFormat::Json);
        assert_eq!(json_line.matches('\n').count(), 1, "{json_line}");
        assert_eq!(
            serde_json::from_str::<Value>(&json_line).ok(),
            Some(json!({
                "time": "1970-01-01T00:00:01.500Z",
                "level": "error",
                "msg": "down??[2J \"until\" 62s ago",
                "service": "orders",
                "status": "CRITICAL",
                "reason": "service_down",
            }))
        );
    }
}
