//! The line of the README behind a real Zabbix agent: an item for each service, from which others are taken by JSONPath.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::check::BINARY;
use crate::support::{Check, Server, Service, TempDir, Version, from_env};

/// What the agent, configured as the README says, answers for an item.
fn item(server: &Server, dir: &TempDir, key: &str) -> Value {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let parameter = readme.lines().find(|line| line.starts_with("UserParameter=")).unwrap();
    let plugin = format!("{BINARY} -s {} --state-dir {}", server.url(), dir.join("state"));
    let parameter = parameter.replace("/usr/lib/nagios/plugins/check_nats_service", &plugin);
    let config = format!("Server=127.0.0.1\nHostname=test\nLogType=console\nTimeout=15\n{parameter}\n");
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
    let service = Service::async_nats(&server.url(), "orders").count(2).start();
    let up = item(&server, &dir, "nats.service[orders]");
    assert_eq!(
        (&up["service"], &up["status"], &up["instances"]),
        (&"orders".into(), &"OK".into(), &2.into())
    );
    service.kill();
    server.wait_for_instances("orders", 0);
    let down = item(&server, &dir, "nats.service[orders]");
    assert_eq!(
        (&down["status"], &down["instances"], &down["reason"]),
        (&"CRITICAL".into(), &0.into(), &"service_down".into())
    );
}
