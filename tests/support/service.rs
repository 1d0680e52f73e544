//! Real services, written with independent implementations of ADR-32.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{LIMIT, TempDir, fork_server, from_env, process, wait_for};

/// Options for starting a service; see [`Service::nats_py`] and [`Service::async_nats`].
pub struct Builder {
    program: PathBuf,
    args: Vec<String>,
    under: Vec<String>,
    /// By the fork server: the program is its own, and the first argument a script.
    forked: bool,
    /// Instances of all services.
    count: usize,
}

/// One process with (unless asked otherwise) one instance. Killed on drop.
pub struct Service {
    pid: u32,
    /// None if the fork server has started it.
    child: Option<Child>,
    ids: Vec<String>,
    /// Its stdout and stderr.
    dir: TempDir,
}

impl Service {
    /// With the official Python client. Reconnects 2 s after a connection is lost. `name` may be several, with commas between them: so it
    /// may with nats.js, nats.go 1.22 and async-nats.
    pub fn nats_py(url: &str, name: &str) -> Builder {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/nats_py_service.py");
        let args = vec![script.to_str().unwrap().to_string()];
        Builder {
            forked: true,
            ..Builder::new(from_env("NATS_PY_PYTHON").into(), args, url, name)
        }
    }

    /// With the official JavaScript client. Reconnects 2 s after a connection is lost.
    pub fn nats_js(url: &str, name: &str) -> Builder {
        Service::nats_js_of("3", url, name)
    }

    /// The same, and the client is the one before it: the package that is called `nats`.
    pub fn nats_js_2(url: &str, name: &str) -> Builder {
        Service::nats_js_of("2", url, name)
    }

    fn nats_js_of(version: &str, url: &str, name: &str) -> Builder {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/nats_js_service.mjs");
        let args = vec![
            script.to_str().unwrap().to_string(),
            from_env("NATS_JS"),
            version.to_string(),
        ];
        Builder::new("node".into(), args, url, name)
    }

    /// With the official Go client, an old one that knows no metadata. Reconnects 2 s after a connection is lost.
    pub fn nats_go(url: &str, name: &str) -> Builder {
        Builder::new(from_env("NATS_GO_SERVICE").into(), Vec::new(), url, name)
    }

    /// With the official Go client of today, which knows metadata.
    pub fn nats_go_1_41(url: &str, name: &str) -> Builder {
        let program = Path::new(&from_env("NATS_GO_1_41")).join("nats_go_1_41_service");
        Builder::new(program, Vec::new(), url, name)
    }

    /// With the community's Python library nats-micro, over the official client.
    pub fn nats_micro_py(url: &str, name: &str) -> Builder {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/nats_micro_service.py");
        let args = vec![script.to_str().unwrap().to_string()];
        Builder::new(from_env("NATS_MICRO_PYTHON").into(), args, url, name)
    }

    /// With the community's JavaScript library nats-micro, over the official client 2.x.
    pub fn nats_micro_js(url: &str, name: &str) -> Builder {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/nats_micro_service.mjs");
        let args = vec![script.to_str().unwrap().to_string(), from_env("NATS_MICRO_JS")];
        Builder::new("node".into(), args, url, name)
    }

    /// With the official Rust client. Reconnects within 0.1 s.
    pub fn async_nats(url: &str, name: &str) -> Builder {
        Builder::new(example("async_nats_service"), Vec::new(), url, name)
    }

    /// The one of the demo, with the blocking Rust client. Knows neither versions nor metadata nor more than one instance.
    pub fn demo(url: &str, name: &str) -> Builder {
        Builder::new(example("demo_service"), Vec::new(), url, name)
    }

    /// With what some client libraries do otherwise: the options are described in `tests/services/odd_service.py`. Given
    /// `ids`, it must be `count` of them.
    pub fn odd(url: &str, name: &str, count: usize, options: &[&str]) -> Builder {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/odd_service.py");
        let mut args = vec![
            script.to_str().unwrap().to_string(),
            url.to_string(),
            name.to_string(),
            count.to_string(),
        ];
        args.extend(options.iter().map(|option| option.to_string()));
        Builder {
            program: from_env("NATS_PY_PYTHON").into(),
            args,
            under: Vec::new(),
            forked: true,
            count,
        }
    }

    /// The id of its only instance.
    #[track_caller]
    pub fn id(&self) -> &str {
        assert_eq!(self.ids.len(), 1, "more than one instance: use ids()");
        &self.ids[0]
    }

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL. The server learns of it a moment later: [`super::Server::wait_for_instances`].
    pub fn kill(self) {}

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn stop(self) {
        process::signal(self.pid, libc::SIGTERM);
        assert!(process::ends(self.pid, LIMIT), "a service ends on SIGTERM");
    }

    /// It stays subscribed, but answers nothing.
    #[track_caller]
    pub fn freeze(&self) {
        self.assert_runs();
        process::freeze(self.pid);
    }

    #[track_caller]
    pub fn assert_runs(&self) {
        assert!(
            !self.has_ended(),
            "the service has ended by itself:\n{}",
            self.said("stderr")
        );
    }

    #[track_caller]
    pub fn thaw(&self) {
        process::thaw(self.pid);
    }

    fn has_ended(&self) -> bool {
        process::ends(self.pid, Duration::ZERO)
    }

    fn said(&self, stream: &str) -> String {
        fs::read_to_string(self.dir.join(stream)).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        process::signal(self.pid, libc::SIGKILL);
        process::ends(self.pid, LIMIT);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

impl Builder {
    fn new(program: PathBuf, args: Vec<String>, url: &str, name: &str) -> Builder {
        Builder {
            program,
            args,
            under: Vec::new(),
            forked: false,
            count: name.split(',').count(),
        }
        .arg("--url", url)
        .arg("--name", name)
    }

    fn arg(mut self, flag: &str, value: &str) -> Builder {
        self.args.extend([flag.to_string(), value.to_string()]);
        self
    }

    /// An option of [`Service::odd`].
    pub fn option(mut self, key: &str, value: &str) -> Builder {
        self.args.push(format!("{key}={value}"));
        self
    }

    /// 1.0.0 unless given.
    pub fn version(self, version: &str) -> Builder {
        self.arg("--version", version)
    }

    pub fn metadata(self, key: &str, value: &str) -> Builder {
        self.arg("--metadata", &format!("{key}={value}"))
    }

    /// A credentials file to log in with. [`Service::async_nats`] only.
    pub fn creds(self, path: &str) -> Builder {
        self.arg("--creds", path)
    }

    /// The authority of the server's certificate. The official clients only.
    pub fn tlsca(self, path: &str) -> Builder {
        self.arg("--tlsca", path)
    }

    /// A certificate of its own, and its key. [`Service::async_nats`] only.
    pub fn identity(self, cert: &str, key: &str) -> Builder {
        self.arg("--tlscert", cert).arg("--tlskey", key)
    }

    /// Runs it by another command, such as `["ip", "netns", "exec", "NAME"]`, which becomes it.
    pub fn under(mut self, words: &[&str]) -> Builder {
        self.under = words.iter().map(|word| word.to_string()).collect();
        self.forked = false;
        self
    }

    /// That many instances of each service in the one process, over a connection each.
    pub fn count(mut self, count: usize) -> Builder {
        self.count *= count;
        self.arg("--count", &count.to_string())
    }

    /// Returns once the server has all subscriptions of all instances.
    #[track_caller]
    pub fn start(self) -> Service {
        let dir = TempDir::new();
        let child = (!self.forked).then(|| self.spawn(&dir));
        let pid = match &child {
            Some(child) => child.id(),
            None => fork_server::spawn(dir.path(), &self.args),
        };
        // From here on a panic kills it.
        let mut service = Service {
            pid,
            child,
            ids: Vec::new(),
            dir,
        };
        service.ids = wait_for(&format!("ready: {} {:?}", self.program.display(), self.args), || {
            // The end first, then what it said: so that is complete.
            let ended = service.has_ended();
            let ready = service.said("stdout");
            let lines = ready.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let ids: Vec<_> = lines
                .map(|line| match line.strip_prefix("ready ") {
                    Some(id) => id.to_owned(),
                    None => panic!("a service said {line:?}"),
                })
                .collect();
            let stderr = || service.said("stderr");
            assert!(
                !ended,
                "ended: {} {:?}\n{}",
                self.program.display(),
                self.args,
                stderr()
            );
            (ids.len() >= self.count).then_some(ids)
        });
        service
    }

    fn spawn(&self, dir: &TempDir) -> Child {
        let mut words = self.under.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut command = process::command(words.next().expect("a program"));
        command
            .args(words)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap());
        process::spawn(command)
    }
}

/// The path of an example program, which cargo builds beside the tests.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_check_nats_service")).with_file_name(format!("examples/{name}"));
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --examples`, or tests/run.sh",
        program.display()
    );
    program
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Server, Version, raw, wait_for};
    use super::*;

    fn set(services: &[&Service]) -> BTreeSet<String> {
        services.iter().flat_map(|service| service.ids().to_vec()).collect()
    }

    fn talks_as_it_says(start: fn(&str, &str) -> Builder) {
        talks(start, serde_json::json!({"pod": "orders-0", "zone": "a"}), b"");
    }

    fn talks(start: fn(&str, &str) -> Builder, metadata: serde_json::Value, echo: &[u8]) {
        let mut server = Server::start(Version::Newest);
        let url = server.url();
        let ping = || raw::ping(&url, "orders", 10).unwrap();
        assert!(ping().is_empty());

        // No waiting after start(): the subscriptions are there.
        let one = start(&url, "orders")
            .version("1.2.3")
            .metadata("pod", "orders-0")
            .metadata("zone", "a")
            .start();
        let two = start(&url, "orders").count(2).start();
        assert_eq!(ping(), set(&[&one, &two]));
        let reply = raw::ask(&url, &format!("$SRV.PING.orders.{}", one.id()), 1)
            .unwrap()
            .remove(0);
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!(reply["version"], "1.2.3");
        match metadata.as_object() {
            // Some libraries add their own.
            Some(metadata) => metadata
                .iter()
                .for_each(|(key, value)| assert_eq!(&reply["metadata"][key], value)),
            None => assert_eq!(reply["metadata"], metadata),
        }
        assert_eq!(raw::ask(&url, "orders.echo", 1).unwrap(), [echo]);

        one.freeze();
        assert_eq!(ping(), set(&[&two]));
        one.thaw();
        server.wait_for_instances("orders", 3);
        assert_eq!(ping(), set(&[&one, &two]));

        // A restart of the server: the same instances come back by themselves.
        server.stop();
        server.start_again();
        server.wait_for_instances("orders", 3);
        assert_eq!(ping(), set(&[&one, &two]));

        two.kill();
        server.wait_for_instances("orders", 1);
        assert_eq!(ping(), set(&[&one]));
        one.stop();
        wait_for("no responders", || ping().is_empty().then_some(()));
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_py() {
        talks_as_it_says(Service::nats_py);
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_js() {
        talks_as_it_says(Service::nats_js);
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_js_2() {
        talks_as_it_says(Service::nats_js_2);
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_go() {
        // It knows no metadata.
        talks(Service::nats_go, serde_json::Value::Null, b"");
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_go_1_41() {
        talks_as_it_says(Service::nats_go_1_41);
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_micro_py() {
        talks_as_it_says(Service::nats_micro_py);
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn nats_micro_js() {
        // What it says is JSON.
        let metadata = serde_json::json!({"pod": "orders-0", "zone": "a"});
        talks(Service::nats_micro_js, metadata, b"\"\"");
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn async_nats() {
        talks_as_it_says(Service::async_nats);
    }

    #[test]
    fn one_that_cannot_start_shows_why() {
        let panic = std::panic::catch_unwind(|| Service::async_nats("nats://127.0.0.1:1", "orders").start())
            .err()
            .unwrap();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("refused"), "{text}");
    }
}
