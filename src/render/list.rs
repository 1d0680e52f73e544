//! Output of `list`: the services that answer, and those that are remembered and do not.

use serde_json::{Map, Value, json};

use crate::connect::target::ServiceName;
use crate::probe::observation::{Instance, InstanceReply, Observation, Outcome, names_a_place, versions};
use crate::render::table;
use crate::state::memory::Memory;
use crate::values::duration::age;
use crate::values::text::{clean, count, shorten, some_of};
use crate::values::timestamp::Timestamp;

/// Maximum number of versions, and of places, that the table names of a service.
const MAX_NAMED: usize = 3;

/// Maximum number of places of a service in JSON.
const MAX_PLACES: usize = 1000;

/// Maximum length of a name in the table, in characters.
const MAX_NAME: usize = 100;

/// Maximum length of the name of a template, in characters.
const MAX_TEMPLATE: usize = 200;

/// Default of `--use`: the template that the package's examples for Nagios and Icinga define.
pub const DEFAULT_TEMPLATE: &str = "nats-service";

/// A service of the list.
#[derive(Clone, Copy, Debug)]
pub struct ListEntry<'a> {
    pub service: &'a str,
    /// Observation of the service; `None` or without answers if it does not answer.
    pub seen: Option<&'a Observation>,
    /// Memory of the service before this run.
    pub memory: Option<&'a Memory>,
}

impl<'a> ListEntry<'a> {
    /// The instances that answer.
    fn answers(&self) -> &'a [InstanceReply] {
        self.seen.and_then(|seen| seen.outcome.answers()).unwrap_or_default()
    }

    /// Number of instances; `None` if it could not be asked.
    fn instances(&self) -> Option<usize> {
        Some(self.seen?.outcome.answers()?.len())
    }

    /// When an instance answered last, before this run.
    fn last_seen(&self) -> Option<(Timestamp, usize)> {
        let epoch = self.memory?.last_seen()?;
        Some((epoch.at, epoch.count))
    }

    fn versions(&self) -> Vec<&'a str> {
        let versions = versions(self.answers()).into_keys();
        versions.filter(|version| !version.is_empty()).collect()
    }

    /// The pods, hosts or nodes of the instances, each once.
    fn places(&self) -> Vec<&'a str> {
        let answers = self.answers().iter();
        let mut places: Vec<&str> = answers.filter_map(|answer| place(&answer.instance)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn state(&self) -> State {
        match self.seen.map(|seen| &seen.outcome) {
            Some(Outcome::Answered(_)) => State::Up,
            Some(Outcome::Failed(_)) => State::NotAsked,
            _ if self.last_seen().is_some() => State::Missing,
            _ => State::NeverSeen,
        }
    }
}

/// Presence of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// It is remembered, and does not answer.
    Missing,
    /// It is expected, and has never answered.
    NeverSeen,
    /// We may not ask it.
    NotAsked,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Missing => "missing",
            State::NeverSeen => "never seen",
            State::NotAsked => "not asked",
        }
    }
}

fn place(instance: &Instance) -> Option<&str> {
    let place = instance.metadata.iter().find(|(key, _)| names_a_place(key));
    place.map(|(_, value)| value.as_str())
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// A table for people.
    #[default]
    Text,
    Json,
    /// Low-level discovery of Zabbix: `[{"{#SERVICE}":"orders"}]`.
    Zabbix,
    /// Service definitions for Nagios.
    Nagios,
    /// Service definitions for Icinga 2.
    Icinga,
    /// Targets for Prometheus (`file_sd_configs`, `http_sd_configs`).
    PrometheusSd,
}

/// Options of the formats besides the services.
#[derive(Clone, Copy, Debug)]
pub struct ListStyle<'a> {
    pub format: ListFormat,
    /// The template that service definitions use; it names the host (`--use`).
    pub template: &'a str,
    /// The label `nats` of this NATS system; `None` without one.
    pub nats: Option<&'a str>,
    pub now: Timestamp,
}

/// Returns the whole output.
pub fn render(entries: &[ListEntry<'_>], style: &ListStyle<'_>) -> String {
    // Other names cannot be queried, and could contain configuration syntax.
    let names = entries.iter().map(|entry| entry.service);
    let names: Vec<&str> = names.filter(|name| ServiceName::parse(name).is_ok()).collect();
    let template = clean(style.template, MAX_TEMPLATE);
    match style.format {
        ListFormat::Text => text(entries, style.now),
        ListFormat::Json => {
            let services: Vec<String> = entries.iter().map(|entry| object(entry).to_string()).collect();
            format!("[{}]\n", services.join(",\n"))
        }
        ListFormat::Zabbix => {
            let services = names.iter().map(|name| json!({ "{#SERVICE}": name }));
            format!("{}\n", services.collect::<Value>())
        }
        ListFormat::Nagios => {
            let head = "# For each service that answers, or has answered: its check, with the command of check-nats-service.cfg.\n\
                        # The template says on which host or hosts: host_name or hostgroup_name.\n";
            let service = |name: &&str| nagios(name, &template);
            head.to_owned() + &names.iter().map(service).collect::<String>()
        }
        ListFormat::Icinga => {
            let head = "// For each service that answers, or has answered: its check, with the command of nats-service.conf.\n\
                        // The template says on which host: host_name.\n";
            let service = |name: &&str| icinga(name, &template);
            head.to_owned() + &names.iter().map(service).collect::<String>()
        }
        ListFormat::PrometheusSd => {
            let labels: Map<String, Value> = style.nats.iter().map(|nats| ("nats".into(), (*nats).into())).collect();
            format!("{}\n", json!([{ "targets": names, "labels": labels }]))
        }
    }
}

fn nagios(name: &str, template: &str) -> String {
    format!(
        "\ndefine service {{\n    use                  {template}\n    service_description  nats-{name}\n    \
         check_command        check_nats_service!{name}\n}}\n"
    )
}

fn icinga(name: &str, template: &str) -> String {
    format!(
        "\nobject Service \"nats-{name}\" {{\n\timport \"{template}\"\n\tcheck_command = \"nats_service\"\n\
         \tvars.nats_service_name = \"{name}\"\n}}\n"
    )
}

/// A table for people.
fn text(entries: &[ListEntry<'_>], now: Timestamp) -> String {
    let titles = ["SERVICE", "INSTANCES", "VERSIONS", "WHERE", "STATE"].map(str::to_owned);
    let row = |entry: &ListEntry<'_>| {
        let (versions, places) = (entry.versions(), entry.places());
        let state = match (entry.state(), entry.last_seen()) {
            (State::Missing, Some((at, number))) => {
                let ago = age(now.since(at));
                format!("missing, {} until {ago} ago", count(number, "instance"))
            }
            (state, _) => state.name().to_owned(),
        };
        [
            shorten(entry.service, MAX_NAME),
            entry.instances().map_or("-".into(), |number| number.to_string()),
            some_of(&versions, MAX_NAMED, versions.len()),
            some_of(&places, MAX_NAMED, places.len()),
            state,
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(titles).chain(entries.iter().map(row)).collect();
    match entries {
        [] => "no service answers here, and none is remembered\n".into(),
        _ => table::render(&rows),
    }
}

fn object(entry: &ListEntry<'_>) -> Value {
    let last_seen = match entry.state() {
        State::Up => entry.seen.map(|seen| seen.at),
        _ => entry.last_seen().map(|(at, _)| at),
    };
    json!({
        "service": entry.service,
        "state": entry.state().name().replace(' ', "_"),
        "instances": entry.instances(),
        "versions": entry.versions(),
        "places": entry.places().into_iter().take(MAX_PLACES).collect::<Vec<_>>(),
        "last_seen": last_seen.map(|at| at.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::observation::Failure;
    use crate::render::sample_reports::{answered, assert_snapshot, at, run, saw};
    use crate::values::status::Reason;

    /// The list of a service that is up, one that is missing, one that is expected, one that may not be asked, and one whose name
    /// is none.
    fn output(format: ListFormat, nats: Option<&str>) -> String {
        let mut memory = Memory::default();
        run(&mut memory, saw(0, answered(0..3)));
        run(&mut memory, saw(60, Outcome::NoResponders));
        let denied = Failure::new(Reason::PermissionDenied, "not allowed");
        let seen = [
            saw(120, answered(0..5)),
            saw(120, Outcome::NoResponders),
            saw(120, Outcome::Failed(denied)),
        ];
        let entries = [
            ("billing", &seen[0], None),
            ("evil\"}\n!;x", &seen[0], None),
            ("mail", &seen[1], None),
            ("orders", &seen[1], Some(&memory)),
            ("secret-v2", &seen[2], None),
        ];
        let entries = entries.map(|(service, seen, memory)| ListEntry {
            service,
            seen: Some(seen),
            memory,
        });
        let style = ListStyle {
            format,
            template: DEFAULT_TEMPLATE,
            nats,
            now: at(121),
        };
        render(&entries, &style)
    }

    #[test]
    fn each_format_has_its_output() {
        let formats = [
            ("list.txt", ListFormat::Text),
            ("list.json", ListFormat::Json),
            ("list.cfg", ListFormat::Nagios),
            ("list.conf", ListFormat::Icinga),
        ];
        for (name, format) in formats {
            assert_snapshot(name, &output(format, Some("prod")));
        }
        assert_eq!(
            output(ListFormat::Zabbix, None),
            "[{\"{#SERVICE}\":\"billing\"},{\"{#SERVICE}\":\"mail\"},{\"{#SERVICE}\":\"orders\"},{\"{#SERVICE}\":\"secret-v2\"}]\n"
        );
        for (nats, labels) in [(Some("a\"b"), "{\"nats\":\"a\\\"b\"}"), (None, "{}")] {
            assert_eq!(
                output(ListFormat::PrometheusSd, nats),
                format!("[{{\"labels\":{labels},\"targets\":[\"billing\",\"mail\",\"orders\",\"secret-v2\"]}}]\n")
            );
        }
    }

    #[test]
    fn list_without_services_is_a_valid_output() {
        let empty = |format| {
            let style = ListStyle {
                format,
                template: DEFAULT_TEMPLATE,
                nats: None,
                now: at(0),
            };
            render(&[], &style)
        };
        assert_eq!(
            empty(ListFormat::Text),
            "no service answers here, and none is remembered\n"
        );
        assert_eq!(empty(ListFormat::Json), "[]\n");
        assert_eq!(empty(ListFormat::Zabbix), "[]\n");
        assert_eq!(empty(ListFormat::PrometheusSd), "[{\"labels\":{},\"targets\":[]}]\n");
        let is_comment = |line: &str| line.starts_with('#') || line.starts_with("//");
        assert!(empty(ListFormat::Nagios).lines().all(is_comment));
        assert!(empty(ListFormat::Icinga).lines().all(is_comment));
    }

    #[test]
    fn template_cannot_be_more_than_a_name() {
        for (definition, line) in [
            (nagios as fn(&str, &str) -> String, "use                  a??b??"),
            (icinga, "import \"a??b??\""),
        ] {
            let text = definition("orders", &clean("a\"\nb\\$", MAX_TEMPLATE));
            assert!(text.contains(line), "{text}");
        }
    }
}
