//! A monitoring system that watches all services of an account, and fifty real services.

use std::ffi::OsStr;
use std::thread;

use serde_json::Value;

use super::check::binary;
use super::service::Builder;
use super::{Check, Output, Server, Service, TempDir, raw, wait_for};

/// Checks all services, and single ones of them, with one folder of states.
pub struct AllMonitor {
    server: String,
    login: Vec<String>,
    pub home: TempDir,
}

impl AllMonitor {
    pub fn new(server: impl Into<String>) -> AllMonitor {
        AllMonitor {
            server: server.into(),
            login: Vec::new(),
            home: TempDir::new(),
        }
    }

    /// With these flags in every run.
    pub fn login(mut self, flags: &[&str]) -> AllMonitor {
        self.login = flags.iter().map(|flag| flag.to_string()).collect();
        self
    }

    /// A check of all services.
    pub fn all(&self, flags: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        self.run(&["--all"]).args(flags)
    }

    /// A check of one service.
    pub fn one(&self, name: &str, flags: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        self.run(&["-n", name]).args(flags)
    }

    /// Any command.
    pub fn run(&self, words: &[&str]) -> Check {
        let check = Check::new(words).args(["-s", &self.server]).args(&self.login);
        check.args(["--state-dir", &self.home.join("state")]).home(&self.home)
    }

    /// Returns the verdict of a check of all services, from JSON.
    #[track_caller]
    pub fn json(&self, code: i32) -> Findings {
        Findings::read(&self.all(["--format", "json"]).run(), code)
    }

    /// The words of a release build's run whose cost is measured.
    pub fn words(&self, flags: &[&str]) -> Vec<String> {
        let state = self.home.join("state");
        let words = [binary(), "--all", "-s", &self.server, "--state-dir", &state];
        words.iter().chain(flags).map(|word| word.to_string()).collect()
    }
}

/// The JSON of a check of all services.
#[derive(Debug)]
pub struct Findings {
    /// Over all services.
    pub all: Value,
    pub services: Vec<Value>,
}

impl Findings {
    #[track_caller]
    pub fn read(out: &Output, code: i32) -> Findings {
        assert_eq!((out.code, out.stderr.as_str()), (Some(code), ""), "{out:?}");
        let mut objects: Vec<Value> = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        let all = objects.remove(0);
        assert_eq!(
            (&all["service"], &all["exit_code"]),
            (&Value::Null, &code.into()),
            "{out:?}"
        );
        Findings { all, services: objects }
    }

    /// Returns the verdict on a service.
    #[track_caller]
    pub fn of(&self, name: &str) -> &Value {
        let found = self.services.iter().find(|object| object["service"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {:?}", self.names()))
    }

    /// The services, in their order.
    pub fn names(&self) -> Vec<&str> {
        let names = self
            .services
            .iter()
            .map(|object| object["service"].as_str().expect("a name"));
        names.collect()
    }

    /// Those with this status.
    pub fn with_status(&self, status: &str) -> Vec<&str> {
        let services = self.services.iter().filter(|object| object["status"] == status);
        services
            .map(|object| object["service"].as_str().expect("a name"))
            .collect()
    }
}

/// Fifty services with four client libraries, in a few processes: `orders` with three instances, nine with one, which end together, and
/// forty more with one.
pub struct Fifty {
    url: String,
    pub orders: Option<Service>,
    nine: Vec<Service>,
    forty: Vec<Service>,
}

/// Instances of all of them.
pub const INSTANCES: usize = 52;

/// Names with a number behind them, and commas between them.
fn names(kind: &str, count: usize) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("{kind}-{number}")).collect();
    names.join(",")
}

/// Starts several processes at once.
#[track_caller]
fn start<const N: usize>(builders: [Builder; N]) -> Vec<Service> {
    thread::scope(|scope| {
        let starts = builders.map(|builder| scope.spawn(|| builder.start()));
        starts
            .into_iter()
            .map(|start| start.join().expect("it starts"))
            .collect()
    })
}

impl Fifty {
    #[track_caller]
    pub fn start(server: &Server) -> Fifty {
        let mut fifty = Fifty {
            url: server.url(),
            orders: None,
            nine: Vec::new(),
            forty: Vec::new(),
        };
        fifty.start_all();
        fifty
    }

    /// Starts those that do not run.
    #[track_caller]
    pub fn start_all(&mut self) {
        let url = self.url.clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                if self.orders.is_none() {
                    self.orders = Some(Service::async_nats(&url, "orders").count(3).start());
                }
            });
            scope.spawn(|| {
                if self.nine.is_empty() {
                    self.nine = start([
                        Service::nats_js(&url, &names("mail", 5)),
                        Service::nats_go(&url, &names("bill", 4)),
                    ]);
                }
            });
            scope.spawn(|| {
                if self.forty.is_empty() {
                    self.forty = start([
                        Service::nats_py(&url, &names("py", 12)),
                        Service::nats_js(&url, &names("js", 9)),
                        Service::nats_go(&url, &names("go", 9)),
                        Service::async_nats(&url, &names("rs", 10)),
                    ]);
                }
            });
        });
        self.wait_for(INSTANCES);
    }

    pub fn kill_orders(&mut self) {
        self.orders.take().expect("it runs").kill();
        self.wait_until_gone("orders");
    }

    /// With `orders`, ten are down.
    pub fn kill_nine(&mut self) {
        std::mem::take(&mut self.nine).into_iter().for_each(Service::kill);
        for name in ["mail-0", "mail-4", "bill-0", "bill-3"] {
            self.wait_until_gone(name);
        }
    }

    pub fn kill_all(&mut self) {
        let services = [std::mem::take(&mut self.nine), std::mem::take(&mut self.forty)];
        let services = services.into_iter().flatten().chain(self.orders.take());
        services.for_each(Service::kill);
        wait_for("none is there", || {
            raw::ask(&self.url, "$SRV.PING", 1).ok()?.is_empty().then_some(())
        });
    }

    /// Waits until that many instances answer to a request for all.
    #[track_caller]
    pub fn wait_for(&self, instances: usize) {
        wait_for("the services answer", || {
            (raw::ask(&self.url, "$SRV.PING", instances).ok()?.len() == instances).then_some(())
        });
    }

    fn wait_until_gone(&self, name: &str) {
        wait_for("it is gone", || {
            raw::ping(&self.url, name, 1).ok()?.is_empty().then_some(())
        });
    }
}
