//! Output of `state list`, and the names of other states for `state show`.

use std::path::Path;

use serde_json::{Value, json};

use crate::state::account::AccountKey;
use crate::state::key::StateKey;
use crate::state::store::Listed;
use crate::values::duration::age;
use crate::values::text::{clean, count};
use crate::values::timestamp::Timestamp;

/// Maximum number of other states that are named in one line.
const MAX_NAMED: usize = 10;

/// Maximum number of characters of a name, of the servers or of a user.
const MAX_CHARS: usize = 200;

/// One line for each state: service, servers, user, last answer, outage.
pub fn text(dir: &Path, states: &[Listed], now: Timestamp) -> String {
    let mut lines: Vec<String> = states.iter().map(|state| line(state, now)).collect();
    if lines.is_empty() {
        lines.push(format!("no state in {}", clean(&dir.to_string_lossy(), MAX_CHARS)));
    }
    lines.join("\n") + "\n"
}

fn line(state: &Listed, now: Timestamp) -> String {
    let loaded = match &state.loaded {
        Ok(loaded) => loaded,
        Err(why) => return format!("{}: {}", clean(&state.name, MAX_CHARS), clean(why, MAX_CHARS)),
    };
    let memory = &loaded.memory;
    let ago = |at: Timestamp| format!("{} ago", age(now.since(at)));
    let epoch = match &memory.epoch {
        Some(epoch) => format!("{} {}", count(epoch.count, "instance"), ago(epoch.at)),
        None => "no answer yet".into(),
    };
    let outage = match &memory.outage {
        Some(outage) => format!(
            "down since {}, {} before",
            outage.first_missed,
            count(outage.last_seen.count, "instance")
        ),
        None => "no outage".into(),
    };
    format!("{}: {epoch}, {outage}", described(&loaded.key))
}

/// The same for programs: an object with the folder and a list of states.
pub fn json(dir: &Path, states: &[Listed]) -> String {
    let states: Vec<Value> = states.iter().map(state_json).collect();
    let list = json!({ "folder": dir.to_string_lossy(), "states": states });
    format!("{list}\n")
}

fn state_json(state: &Listed) -> Value {
    let loaded = match &state.loaded {
        Ok(loaded) => loaded,
        Err(why) => return json!({ "file": state.name, "problem": why }),
    };
    let (key, memory) = (&loaded.key, &loaded.memory);
    let outage = memory.outage.as_ref().map(|outage| {
        json!({
            "first_missed": outage.first_missed.to_string(),
            "last_seen": outage.last_seen.at.to_string(),
            "instances_before": outage.last_seen.count,
        })
    });
    json!({
        "file": state.name,
        "service": key.service,
        "prefix": key.prefix,
        "servers": key.servers,
        "user": key.user,
        "status": memory.status.map(|status| status.name()),
        "epoch": memory.epoch.as_ref().map(|epoch| json!({ "at": epoch.at.to_string(), "instances": epoch.count })),
        "outage": outage,
    })
}

/// One line for a state that is not there, which names the others of the same service.
pub fn no_such_state(key: &StateKey, others: &[StateKey]) -> String {
    missing(described(key), others.iter().map(described))
}

/// One line for the state of an account that is not there, which names the other accounts.
pub fn no_such_account(key: &AccountKey, others: &[AccountKey]) -> String {
    missing(
        format!("all services {}", of_account(key)),
        others.iter().map(of_account),
    )
}

fn missing(what: String, others: impl ExactSizeIterator<Item = String>) -> String {
    let more = match others.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let named: Vec<String> = others.take(MAX_NAMED).collect();
    format!(
        "there is no state of {what}, but of {}{more}: give its --server and login",
        named.join(", of ")
    )
}

/// `orders at h1:4222, h2:4222 as user mon`
fn described(key: &StateKey) -> String {
    format!(
        "{} {}",
        clean(&key.service, MAX_CHARS),
        of_account(&AccountKey::from(key))
    )
}

/// `at h1:4222, h2:4222 as user mon`
fn of_account(key: &AccountKey) -> String {
    let clean = |text: &str| clean(text, MAX_CHARS);
    let servers: Vec<String> = key.servers.iter().map(|server| clean(server)).collect();
    let mut text = format!("at {}", servers.join(", "));
    text += &clean(&key.login());
    if key.prefix != "$SRV" {
        text += &format!(" (--srv-prefix {})", clean(&key.prefix));
    }
    text
}
