//! The servers, the services and the network, and what breaks them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::hosts::Hosts;
use super::model::{Action, Dice, Model, Path};
use super::oracle::{History, Moment};
use crate::support::Net;
use crate::support::{Proxy, Server, Service, Version, is_root};

/// The servers, the services and the network between them.
pub struct World {
    net: Net,
    hosts: Option<Hosts>,
    services: BTreeMap<String, Service>,
    /// The way of those who ask from a distance.
    pub far: Proxy,
    model: Model,
    pub history: Arc<Mutex<History>>,
    dice: Dice,
    pub clock: Clock,
}

/// Tells times in seconds since the beginning.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn at(self, time: Instant) -> String {
        format!("{:8.3}", (time - self.0).as_secs_f64())
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let version = *dice.one_of(&Version::ALL);
        let size = *dice.one_of(&[1, 1, 3]);
        println!("seed {seed}:");
        World::of(version, size, dice)
    }

    pub fn of(version: Version, size: usize, dice: Dice) -> World {
        let hosts = is_root().then(|| Hosts::new(2));
        let address = hosts.as_ref().map_or("127.0.0.1".into(), Hosts::switch);
        let net = match size {
            1 => Net(vec![Server::on_host(&address, version, "")]),
            _ => Net::cluster_on(&address, version, size),
        };
        let loss = match &hosts {
            Some(hosts) if hosts.netem() => "netem",
            Some(_) => "no netem in this kernel: packets are lost by iptables, and delayed by a proxy only",
            None => "no hosts of their own",
        };
        println!("{size} servers, {version:?}; {loss}");
        let far = Proxy::to(format!("{address}:{}", net.0[0].port()).parse().expect("an address"));
        let model = Model::new(size, 2, hosts.is_some());
        let history = Arc::new(Mutex::new(History::default()));
        history.lock().expect("no panic").push(model.moment(Instant::now()));
        World {
            net,
            hosts,
            services: BTreeMap::new(),
            far,
            model,
            history,
            dice,
            clock: Clock(Instant::now()),
        }
    }

    /// All servers, in the order in which a monitor tries them.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.net.0.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// Does it, and notes what is true before, meanwhile and after.
    pub fn act(&mut self, action: &Action) {
        let before = self.model.moment(Instant::now());
        let now = Instant::now();
        let planned = self.model.after(action, now).moment(now);
        self.note(Moment::between(&before, &planned));
        self.perform(action);
        let now = Instant::now();
        println!("{} {action:?}", self.clock.at(now));
        self.model = self.model.after(action, now);
        self.note(self.model.moment(now));
    }

    fn note(&self, moment: Moment) {
        self.history.lock().expect("no panic").push(moment);
    }

    fn perform(&mut self, action: &Action) {
        match action {
            Action::Start { client, host, pod } => {
                let service = self.start(client, *host, pod);
                self.services.insert(pod.clone(), service);
            }
            Action::Kill(pod) => self.services.remove(pod).expect("it runs").kill(),
            Action::KillAll => std::mem::take(&mut self.services).into_values().for_each(Service::kill),
            Action::Freeze(pod) => self.services[pod].freeze(),
            Action::ThawAll => self.services.values().for_each(Service::thaw),
            Action::StopServer { server, hard: true } => self.net.0[*server].kill(),
            Action::StopServer { server, hard: false } => self.net.0[*server].stop(),
            Action::StartServer(server) => self.net.0[*server].start_again(),
            Action::FreezeServer(server) => self.net.0[*server].freeze(),
            Action::ThawServer(server) => self.net.0[*server].thaw(),
            Action::LinkDown(host) => self.hosts.as_ref().expect("links").link(*host, false),
            Action::LinkUp(host) => self.hosts.as_ref().expect("links").link(*host, true),
            Action::Loss { host, percent } => self.hosts.as_ref().expect("links").lose(*host, *percent),
            Action::Path(Path::Stuck) => self.far.stick(),
            Action::Path(Path::Cut) => self.far.cut(),
            Action::Path(Path::Whole) => {
                self.far.unstick();
                self.far.mend();
            }
            Action::Delay(each_way) => self.far.delay(*each_way),
            Action::Rest => {}
        }
    }

    fn start(&mut self, client: &str, host: usize, pod: &str) -> Service {
        let start = match client {
            "nats-py" => Service::nats_py,
            "nats.js 3" => Service::nats_js,
            "nats.js 2" => Service::nats_js_2,
            "nats.go 1.41" => Service::nats_go_1_41,
            "async-nats" => Service::async_nats,
            "nats-micro (PyPI)" => Service::nats_micro_py,
            "nats-micro (npm)" => Service::nats_micro_js,
            other => panic!("no client: {other}"),
        };
        let url = self.dice.one_of(&self.net.0).url();
        let (service, _) = pod.split_once('-').expect("the name of a service");
        let builder = start(&url, service).metadata("pod", pod);
        match &self.hosts {
            Some(hosts) => builder
                .under(&hosts.run_on(host).each_ref().map(String::as_str))
                .start(),
            None => builder.start(),
        }
    }

    pub fn start_one(&mut self, client: &'static str, pod: &str) {
        self.act(&Action::Start {
            client,
            host: 0,
            pod: pod.into(),
        });
    }

    /// Actions at random for as long, with pauses between them.
    pub fn rage(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let action = self.model.choose(&mut self.dice);
            self.act(&action);
            // Real time has to go by: runs are under way meanwhile.
            thread::sleep(Duration::from_millis(*self.dice.one_of(&[0, 50, 300, 1000, 3000])));
        }
    }

    pub fn mend(&mut self) {
        while let Some(action) = self.model.mend() {
            self.act(&action);
        }
    }
}
