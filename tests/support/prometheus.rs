//! A real Prometheus with our rules, and promtool.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use super::server::free_port;
use super::{Check, TempDir, from_env, http, process, wait_for};

/// `promtool check metrics` reads stdin.
pub fn assert_clean(text: &str) {
    let dir = TempDir::new();
    fs::write(dir.join("metrics"), text).unwrap();
    let script = format!("{} check metrics <metrics", from_env("PROMTOOL"));
    Check::program("sh", ["-c", &script])
        .cwd(dir.path())
        .run()
        .assert(0, "");
}

/// A Prometheus that scrapes an exporter at this port each second, as a pod named watcher and with honorLabels, with our rules in seconds
/// instead of minutes. Killed on drop.
pub struct Prometheus {
    child: Child,
    pub port: u16,
    _dir: TempDir,
}

impl Prometheus {
    pub fn start(exporter: u16) -> Prometheus {
        let dir = TempDir::new();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/nats-service.rules.yml");
        let mut rules = fs::read_to_string(rules).unwrap();
        for (slow, quick) in [
            ("for: 1m", "for: 1s"),
            ("for: 2m", "for: 1s"),
            ("for: 5m", "for: 1s"),
            ("for: 10m", "for: 1s"),
            ("> 3600", "> 2"),
            ("> 300", "> 6"),
            ("[5m]", "[4s]"),
            ("[16m]", "[3s]"),
            ("offset 16m", "offset 3s"),
        ] {
            assert!(rules.contains(slow), "{slow}");
            rules = rules.replace(slow, quick);
        }
        fs::write(dir.join("rules.yml"), rules).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n\
             - job_name: node\n  honor_labels: true\n  static_configs: [{{targets: [\"127.0.0.1:{exporter}\"], labels: {{pod: watcher}}}}]\n"
        );
        fs::write(dir.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let mut command = process::command(from_env("PROMETHEUS"));
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let prometheus = Prometheus {
            child: process::spawn(command),
            port,
            _dir: dir,
        };
        wait_for("Prometheus is ready", || http::get(port, "/-/ready").ok());
        prometheus
    }

    /// The result of a query, as JSON.
    pub fn query(&self, query: &str) -> String {
        http::get(self.port, &format!("/api/v1/query?query={query}")).unwrap_or_default()
    }

    /// The alerts that fire.
    pub fn firing(&self) -> BTreeSet<String> {
        let text = http::get(self.port, "/api/v1/alerts").expect("alerts");
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let alerts = answer["data"]["alerts"].as_array().expect("alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing
            .map(|alert| alert["labels"]["alertname"].as_str().expect("a name").to_owned())
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}
