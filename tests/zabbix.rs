//! The lines of packaging/zabbix behind a real Zabbix agent: what it answers, and that the template finds in it what it
//! looks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::check::BINARY;
use crate::support::{Check, Server, Service, TempDir, Version, from_env};

fn root(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The lines of a text that define items.
fn user_parameters(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("UserParameter=")).collect()
}

/// Returns the value that the agent, with these items, gives for one of them.
fn item(server: &Server, dir: &TempDir, parameters: &[&str], key: &str) -> Value {
    let plugin = format!("{BINARY} -s {} --state-dir {}", server.url(), dir.join("state"));
    let list = format!("{BINARY} list -s {} --state-dir {}", server.url(), dir.join("state"));
    let mut config = "Server=127.0.0.1\nHostname=test\nLogType=console\nTimeout=15\n".to_owned();
    for parameter in parameters {
        let (key, command) = parameter.split_once(',').expect("a command");
        let (program, words) = command.split_once(' ').expect("arguments");
        assert!(program.ends_with("/check_nats_service"), "{parameter}");
        config += &match words.strip_prefix("list ") {
            Some(words) => format!("{key},{list} {words}\n"),
            None => format!("{key},{plugin} {words}\n"),
        };
    }
    fs::write(dir.join("agent.conf"), config).unwrap();
    let tree = from_env("ZABBIX_AGENT");
    let libraries = fs::read_dir(format!("{tree}/usr/lib")).unwrap();
    let libraries: Vec<_> = libraries
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    let agent = format!("{tree}/usr/sbin/zabbix_agentd");
    let out = Check::program(&agent, ["-c", &dir.join("agent.conf"), "-t", key])
        .env("LD_LIBRARY_PATH", libraries.join(":"))
        .run();
    let value = out
        .stdout
        .split_once("[t|")
        .and_then(|(_, rest)| rest.trim_end().strip_suffix(']'));
    serde_json::from_str(value.unwrap_or_else(|| panic!("{out:?}"))).unwrap()
}

#[test]
#[ignore = "needs nats-server"]
fn the_agent_gives_the_json_of_the_service_that_is_asked_for() {
    let server = Server::start(Version::Newest);
    let dir = TempDir::new();
    let readme = root("packaging/zabbix/README.md");
    let item = |key| item(&server, &dir, &user_parameters(&readme), key);
    let service = Service::async_nats(&server.url(), "orders").count(2).start();
    let up = item("nats.service[orders]");
    assert_eq!(
        (&up["service"], &up["status"], &up["instances"]),
        (&"orders".into(), &"OK".into(), &2.into())
    );
    service.kill();
    server.wait_for_instances("orders", 0);
    let down = item("nats.service[orders]");
    assert_eq!(
        (&down["status"], &down["instances"], &down["reason"]),
        (&"CRITICAL".into(), &0.into(), &"service_down".into())
    );
}

/// The template, whose parts are looked at one by one: there is no Zabbix server here that would import it.
fn template() -> Value {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/zabbix/template.yaml");
    let out = Check::program(&from_env("NATS_PY_PYTHON"), ["-c", script, path.to_str().unwrap()]).run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
    let export: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(export["zabbix_export"]["version"], "6.0");
    export["zabbix_export"]["templates"][0].clone()
}

fn list<'t>(value: &'t Value, key: &str) -> &'t [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the values that a path of the template finds in an answer: the paths are of three kinds.
fn find(path: &str, service: Option<&str>, answer: &Value) -> Value {
    if path == "$[1:]" {
        return answer.as_array().expect("an array")[1..].into();
    }
    let (object, field) = match path.strip_prefix("$[0].") {
        Some(field) => (&answer[0], field),
        None => {
            let field = path
                .strip_prefix("$[?(@.service==\"{#SERVICE}\")].")
                .and_then(|rest| rest.strip_suffix(".first()"));
            let mut objects = answer.as_array().expect("an array").iter();
            let object = objects.find(|object| object["service"] == service.expect("a service"));
            (object.expect("the service"), field.unwrap_or_else(|| panic!("{path}")))
        }
    };
    object
        .get(field)
        .unwrap_or_else(|| panic!("no {field} in {object}"))
        .clone()
}

/// The value of an item: what its first step of preprocessing finds.
fn value(item: &Value, service: Option<&str>, answer: &Value) -> Value {
    let step = &list(item, "preprocessing")[0];
    assert_eq!(step["type"], "JSONPATH", "{item}");
    find(step["parameters"][0].as_str().expect("a path"), service, answer)
}

#[test]
#[ignore = "needs nats-server"]
fn the_template_finds_every_service_in_what_the_agent_answers() {
    let template = template();
    let mut server = Server::start(Version::Newest);
    let dir = TempDir::new();
    let config = root("packaging/zabbix/check-nats-service.conf");
    let ask = || {
        let master = list(&template, "items")
            .iter()
            .find(|item| item["type"].is_null())
            .expect("an item of the agent");
        item(
            &server,
            &dir,
            &user_parameters(&config),
            master["key"].as_str().expect("a key"),
        )
    };
    let orders = Service::async_nats(&server.url(), "orders").count(2).start();
    let _mail = Service::nats_py(&server.url(), "mail").start();
    let rule = &list(&template, "discovery_rules")[0];
    let discovered = |answer: &Value| -> Vec<String> {
        let names = value(rule, None, answer);
        assert_eq!(
            rule["lld_macro_paths"],
            json!([{"lld_macro": "{#SERVICE}", "path": "$.service"}])
        );
        names
            .as_array()
            .expect("services")
            .iter()
            .map(|object| object["service"].as_str().expect("a name").to_owned())
            .collect()
    };
    let of = |key: &str, service: Option<&str>, answer: &Value| {
        let items = list(&template, "items").iter().chain(list(rule, "item_prototypes"));
        let item = items
            .clone()
            .find(|item| item["key"] == key)
            .unwrap_or_else(|| panic!("no {key}"));
        value(item, service, answer)
    };
    let answer = ask();
    assert_eq!(discovered(&answer), ["mail", "orders"]);
    assert_eq!(of("nats.services.status", None, &answer), "OK");
    assert_eq!(of("nats.services.count", None, &answer), 2);
    assert_eq!(of("nats.services.asked", None, &answer), true);
    assert_eq!(of("nats.service.instances[{#SERVICE}]", Some("orders"), &answer), 2);
    // Each of them finds something, for each service.
    for item in list(&template, "items")
        .iter()
        .filter(|item| item["type"] == "DEPENDENT")
    {
        assert_ne!(value(item, None, &answer), Value::Null, "{item}");
    }
    for item in list(rule, "item_prototypes") {
        for service in ["orders", "mail"] {
            assert_ne!(value(item, Some(service), &answer), Value::Null, "{item}");
        }
    }

    orders.kill();
    server.wait_for_instances("orders", 0);
    let answer = ask();
    assert_eq!(discovered(&answer), ["mail", "orders"], "what is down stays");
    assert_eq!(of("nats.services.status", None, &answer), "CRITICAL");
    assert_eq!(of("nats.services.down", None, &answer), 1);
    assert_eq!(
        of("nats.service.status[{#SERVICE}]", Some("orders"), &answer),
        "CRITICAL"
    );
    assert_eq!(of("nats.service.instances[{#SERVICE}]", Some("orders"), &answer), 0);
    assert_eq!(of("nats.service.status[{#SERVICE}]", Some("mail"), &answer), "OK");

    server.stop();
    let server = &server;
    let answer = item(server, &dir, &user_parameters(&config), "nats.services");
    assert_eq!(discovered(&answer), ["mail", "orders"], "what cannot be asked stays");
    assert_eq!(
        of("nats.services.status", None, &answer),
        "CRITICAL",
        "an outage is open"
    );
    assert_eq!(
        of("nats.services.asked", None, &answer),
        false,
        "the status does not tell"
    );
    assert_eq!(of("nats.service.status[{#SERVICE}]", Some("mail"), &answer), "UNKNOWN");
    assert_eq!(
        of("nats.service.instances[{#SERVICE}]", Some("mail"), &answer),
        Value::Null
    );
}

#[test]
#[ignore = "needs nats-server"]
fn the_agent_discovers_the_services() {
    let server = Server::start(Version::Newest);
    let dir = TempDir::new();
    let _services =
        [("orders", 2), ("mail", 1)].map(|(name, count)| Service::async_nats(&server.url(), name).count(count).start());
    let config = root("packaging/zabbix/check-nats-service.conf");
    let found = item(&server, &dir, &user_parameters(&config), "nats.services.discovery");
    assert_eq!(found, json!([{"{#SERVICE}": "mail"}, {"{#SERVICE}": "orders"}]));
    let one = item(&server, &dir, &user_parameters(&config), "nats.service[orders]");
    assert_eq!(one["instances"], 2);
}

/// An import of Zabbix would refuse the template for these errors: a key or an id twice, a master or a key in a trigger that is
/// not there.
#[test]
#[ignore = "needs nats-py"]
fn the_parts_of_the_template_fit_together() {
    let template = template();
    let rule = &list(&template, "discovery_rules")[0];
    let items = || list(&template, "items").iter().chain(list(rule, "item_prototypes"));
    let keys: Vec<&str> = items().map(|item| item["key"].as_str().expect("a key")).collect();
    let distinct: BTreeSet<&str> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    let agent: Vec<String> = items()
        .filter(|item| item["type"].is_null())
        .map(|item| format!("UserParameter={},", item["key"].as_str().expect("a key")))
        .collect();
    let config = root("packaging/zabbix/check-nats-service.conf");
    assert!(
        agent
            .iter()
            .all(|key| user_parameters(&config).iter().any(|line| line.starts_with(key))),
        "{agent:?}"
    );
    for item in items().chain([rule]).filter(|item| item["type"] == "DEPENDENT") {
        assert!(
            keys.contains(&item["master_item"]["key"].as_str().expect("a master")),
            "{item}"
        );
    }
    let triggers = items().flat_map(|item| list(item, "triggers").iter().chain(list(item, "trigger_prototypes")));
    let expressions: Vec<&str> = triggers
        .clone()
        .map(|trigger| trigger["expression"].as_str().expect("an expression"))
        .collect();
    assert!(expressions.len() >= 4, "{expressions:?}");
    // A dependency is named by the name and the expression of another trigger.
    let part = |trigger: &Value| (trigger["name"].clone(), trigger["expression"].clone());
    let parts: Vec<(Value, Value)> = triggers.clone().map(part).collect();
    let dependencies = triggers.clone().flat_map(|trigger| list(trigger, "dependencies"));
    assert!(dependencies.clone().count() == 2 && dependencies.map(part).all(|it| parts.contains(&it)));
    let name = template["template"].as_str().expect("a name");
    for expression in expressions {
        let (_, rest) = expression
            .split_once(&format!("(/{name}/"))
            .unwrap_or_else(|| panic!("{expression}"));
        let key = keys
            .iter()
            .find(|key| rest.starts_with(&format!("{key})")) || rest.starts_with(&format!("{key},")));
        assert!(key.is_some(), "{expression}");
    }
    let ids: Vec<&str> = items()
        .chain([rule, &template])
        .chain(triggers)
        .map(|part| part["uuid"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    // Random ones: version 4, variant 1.
    assert!(
        ids.iter()
            .all(|id| id.len() == 32 && &id[12..13] == "4" && "89ab".contains(&id[16..17])),
        "{ids:?}"
    );
}
