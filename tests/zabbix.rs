//! The lines of the README and of packaging/zabbix behind a real Zabbix agent: what it answers, and that the template finds in it what it
//! looks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::check::BINARY;
use crate::support::{Check, Server, Service, TempDir, Version, from_env};

fn root(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The lines of a text that define items.
fn user_parameters(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("UserParameter=")).collect()
}

/// What the agent, with these items, answers for one of them.
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
    let readme = root("README.md");
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

/// What an import of Zabbix would refuse: a key or an id twice, a master or a key in a trigger that is not there.
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
