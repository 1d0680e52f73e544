//! The servers, the services and the network, and what breaks them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::action::{Action, Dice, End, Path};
use super::hosts::Hosts;
use super::model::Model;
use super::oracle::{From, History, Moment, Nats};
use super::topology::{Topology, with_the_other_account};
use crate::support::{Certs, Net, Proxy, Server, Service, Version, is_root};

/// The servers, the services and the network between them.
pub struct World {
    net: Net,
    topology: Topology,
    certs: Option<Certs>,
    hosts: Option<Hosts>,
    services: BTreeMap<String, Service>,
    /// The ways between the servers, where they may break.
    joint: Vec<Proxy>,
    /// The way of those who ask from a distance.
    far: Proxy,
    model: Model,
    pub history: Arc<Mutex<History>>,
    dice: Dice,
    pub clock: Clock,
}

/// Place that a monitor asks from, and its flags.
#[derive(Clone)]
pub struct Place {
    pub from: From,
    pub url: String,
    /// For the connection.
    pub flags: Vec<String>,
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
    /// The seed chooses the topology, if nobody else does.
    pub fn new(seed: u64, topology: Option<Topology>) -> World {
        let mut dice = Dice(seed);
        let version = *dice.one_of(&Version::ALL);
        let chosen = *dice.one_of(&Topology::ALL);
        println!("seed {seed}:");
        World::of(version, topology.unwrap_or(chosen), dice)
    }

    pub fn of(version: Version, topology: Topology, mut dice: Dice) -> World {
        let hosts = is_root().then(|| Hosts::new(2));
        let address = hosts.as_ref().map_or("127.0.0.1".into(), Hosts::switch);
        let certs = (topology == Topology::Tls).then(|| Certs::for_hosts(&[&address]));
        let size = *dice.one_of(topology.sizes());
        let (mut net, joint) = topology.start(&address, version, size, certs.as_ref());
        // Monitors ask the first one: of a leaf and its hub that may be either.
        let first = dice.below(size);
        net.0.rotate_left(first);
        let loss = match &hosts {
            Some(hosts) if hosts.netem() => "netem",
            Some(_) => "no netem in this kernel: packets are lost by iptables, and delayed by a proxy only",
            None => "no hosts of their own",
        };
        println!("{topology:?}, {size} servers, {version:?}, number {first} first; {loss}");
        let far = Proxy::to(format!("{address}:{}", net.0[0].port()).parse().expect("an address"));
        let model = Model::new(topology, size, 2, hosts.is_some());
        let history = Arc::new(Mutex::new(History::default()));
        history.lock().expect("no panic").push(model.moment(Instant::now()));
        World {
            net,
            topology,
            certs,
            hosts,
            services: BTreeMap::new(),
            joint,
            far,
            model,
            history,
            dice,
            clock: Clock(Instant::now()),
        }
    }

    /// A monitor that may ask all servers that it knows, and tries them in their order.
    pub fn nearby(&self) -> Place {
        let urls: Vec<_> = self.topology.known(&self.net.0).iter().map(Server::url).collect();
        self.place(From::Nearby, urls.join(","))
    }

    /// One that reaches the first server only, by a way that breaks.
    pub fn far(&self) -> Place {
        self.place(From::ADistance, self.far.url())
    }

    fn place(&self, from: From, url: String) -> Place {
        let (flags, clock) = (self.topology.flags(self.certs.as_ref()), self.clock);
        Place {
            from,
            url,
            flags,
            clock,
        }
    }

    /// Does it, and notes what is true before, meanwhile and after.
    pub fn act(&mut self, action: &Action) {
        let before = self.model.moment(Instant::now());
        let now = Instant::now();
        let mut planned = self.model.after(action, now + action.longest()).moment(now);
        if action.disturbs() {
            (planned.nats, planned.path) = (Nats::Disturbed, Nats::Disturbed);
        }
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
            Action::Start {
                client,
                host,
                server,
                pod,
            } => {
                self.history.lock().expect("no panic").start(pod);
                let service = self.start(client, *host, *server, pod);
                self.services.insert(pod.clone(), service);
            }
            Action::Kill(pod) => self.kill(pod),
            Action::KillAll => {
                let pods: Vec<_> = self.services.keys().cloned().collect();
                pods.iter().for_each(|pod| self.kill(pod));
            }
            Action::Freeze(pod) => self.services[pod].freeze(),
            Action::ThawAll => self.services.values().for_each(Service::thaw),
            Action::StopServer { server, end } => {
                let server = &mut self.net.0[*server];
                match end {
                    End::Stop => server.stop(),
                    End::Kill => server.kill(),
                    End::LameDuck => server.lame_duck(),
                }
            }
            Action::Reload { lets_go } => self.net.everywhere(|_, server| {
                server.reload(|config| match lets_go {
                    true => with_the_other_account(config),
                    false => config.to_owned(),
                });
            }),
            Action::StartServer(server) => self.net.0[*server].start_again(),
            Action::FreezeServer(server) => self.net.0[*server].freeze(),
            Action::ThawServer(server) => self.net.0[*server].thaw(),
            Action::LinkDown(host) => self.hosts.as_ref().expect("links").link(*host, false),
            Action::LinkUp(host) => self.hosts.as_ref().expect("links").link(*host, true),
            Action::Loss { host, percent } => self.hosts.as_ref().expect("links").lose(*host, *percent),
            Action::Path(path) => break_or_mend(&self.far, *path),
            Action::Joint(path) => self.joint.iter().for_each(|way| break_or_mend(way, *path)),
            Action::Delay(each_way) => self.far.delay(*each_way),
            Action::Rest => {}
        }
    }

    fn kill(&mut self, pod: &str) {
        self.history.lock().expect("no panic").kill(pod);
        let service = self.services.remove(pod).expect("it was started");
        // The model takes it for running: what it knew would be wrong.
        service.assert_runs();
        service.kill();
    }

    fn start(&self, client: &str, host: usize, server: usize, pod: &str) -> Service {
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
        let url = self.net.0[server].url();
        let (service, _) = pod.split_once('-').expect("the name of a service");
        let mut builder = start(&url, service).metadata("pod", pod);
        if let Some(certs) = &self.certs {
            builder = builder.tlsca(&certs.path("ca.pem"));
        }
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
            server: 0,
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
            thread::sleep(Duration::from_millis(*self.dice.one_of(&[0, 0, 50, 300, 1000, 2000])));
        }
    }

    pub fn mend(&mut self) {
        while let Some(action) = self.model.mend() {
            self.act(&action);
        }
    }
}

fn break_or_mend(way: &Proxy, path: Path) {
    match path {
        Path::Stuck => way.stick(),
        Path::Cut => way.cut(),
        Path::Whole => {
            way.unstick();
            way.mend();
        }
    }
}
