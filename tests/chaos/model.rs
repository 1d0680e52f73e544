//! The state of the world, as far as the driver knows: the actions that are possible in it, and the state after each. Pure,
//! except for the seed.

use std::time::{Duration, Instant};

use super::action::{Action, Dice, End, Path};
use super::oracle::{Moment, Nats, Spot};
use super::topology::Topology;

/// Maximum time until an instance replies again (`facts/wire.md`): one that has started or gone on, the server having waited for
/// it;
const GO_ON: Duration = Duration::from_secs(1);
/// and one that has to connect again, which takes clients 2 to 3 s, while a run gives them the 5 s of `--confirm`.
const RECONNECT: Duration = Duration::from_millis(4500);
/// Where packets are lost, the first of a connection is sent again after 1 s and 3 s.
const LOSSY: Duration = Duration::from_secs(4);

/// The clients that services are written with. Not nats.go 1.22, whose services cannot say which pod they are in.
/// The official ones first.
pub const CLIENTS: [&str; 7] = [
    "nats-py",
    "nats.js 3",
    "nats.js 2",
    "nats.go 1.41",
    "async-nats",
    "nats-micro (PyPI)",
    "nats-micro (npm)",
];

/// The services that there are. Most monitors ask for the first one, and some for all of them.
pub const SERVICES: [&str; 3] = ["orders", "billing", "mail"];

/// Instances that a service has at most.
fn most(service: &str) -> usize {
    if service == SERVICES[0] { 4 } else { 2 }
}

/// Returns `true` if the instance belongs to this service: the name of its pod shows it.
pub fn is_of(service: &str, pod: &str) -> bool {
    pod.strip_prefix(service).is_some_and(|rest| rest.starts_with('-'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Up,
    Frozen,
    Stopped,
}

/// Where instances run: in a network namespace of its own, where that may be made.
#[derive(Clone, Debug)]
pub struct Host {
    pub down_since: Option<Instant>,
    /// Lost packets, in percent.
    pub loss: usize,
}

#[derive(Clone, Debug)]
pub struct Instance {
    /// Begins with the name of its service.
    pub pod: String,
    pub host: usize,
    /// The server that it was started with.
    pub server: usize,
    pub frozen: bool,
    /// Its server went away while it could not notice, or it was connecting when it froze: it has to connect again when it can.
    pub stale: bool,
    /// It may believe for minutes that it is connected: its server went away behind a broken link.
    pub lost: bool,
    /// When it is heard again at the latest.
    pub settled: Instant,
}

#[derive(Clone, Debug)]
pub struct Model {
    topology: Topology,
    pub servers: Vec<Server>,
    pub hosts: Vec<Host>,
    /// Set if links can break, and lose packets.
    pub links: bool,
    pub instances: Vec<Instance>,
    /// The way between the servers of a leaf or a gateway.
    joint: Path,
    /// When these have found each other again at the latest.
    joined: Option<Instant>,
    pub path: Path,
    pub pods: usize,
}

impl Model {
    pub fn new(topology: Topology, servers: usize, hosts: usize, links: bool) -> Model {
        let host = Host {
            down_since: None,
            loss: 0,
        };
        Model {
            topology,
            servers: vec![Server::Up; servers],
            hosts: vec![host; hosts],
            links,
            instances: Vec::new(),
            joined: None,
            joint: Path::Whole,
            path: Path::Whole,
            pods: 0,
        }
    }

    /// Chooses the next action.
    pub fn choose(&self, dice: &mut Dice) -> Action {
        let weights = [
            (18, "start"),
            (8, "kill"),
            (9, "kill all"),
            (7, "freeze"),
            (10, "thaw"),
            (16, "server stops"),
            (5, "server freezes"),
            (5, "reload"),
            (10, "link"),
            (5, "loss"),
            (10, "path"),
            (8, "joint"),
            (5, "delay"),
            (6, "rest"),
        ];
        // What is out of order does not last, nor does an outage: there would be little else to be seen.
        if dice.below(2) == 0
            && let Some(action) = self.mend_network()
        {
            return action;
        }
        if dice.below(2) == 0
            && let Some(service) = SERVICES.into_iter().find(|service| self.count(service) == 0)
            && let Some(action) = self.choose_start(service, dice)
        {
            return action;
        }
        let mut roll = dice.below(weights.iter().map(|(weight, _)| weight).sum());
        let (_, what) = weights
            .into_iter()
            .find(|(weight, _)| roll.checked_sub(*weight).map(|left| roll = left).is_none())
            .expect("a roll below the sum");
        self.choose_one(what, dice).unwrap_or(Action::Rest)
    }

    fn count(&self, service: &str) -> usize {
        self.instances.iter().filter(|one| is_of(service, &one.pod)).count()
    }

    fn choose_start(&self, service: &str, dice: &mut Dice) -> Option<Action> {
        let well = self.servers.iter().all(|server| *server == Server::Up);
        let host = dice.below(self.hosts.len());
        let may = well && self.hosts[host].down_since.is_none() && self.count(service) < most(service);
        may.then(|| Action::Start {
            client: self.topology.clients()[dice.below(self.topology.clients().len())],
            host,
            server: dice.below(self.servers.len()),
            pod: format!("{service}-{}", self.pods),
        })
    }

    fn choose_one(&self, what: &str, dice: &mut Dice) -> Option<Action> {
        let well = self.servers.iter().all(|server| *server == Server::Up);
        let host = dice.below(self.hosts.len());
        let server = dice.below(self.servers.len());
        let frozen = self.instances.iter().filter(|instance| instance.frozen).count();
        let instance = (!self.instances.is_empty()).then(|| dice.one_of(&self.instances));
        let action = match what {
            // Half of them are of the first service.
            "start" => {
                let service = [SERVICES[0], SERVICES[0], SERVICES[1], SERVICES[2]][dice.below(4)];
                return self.choose_start(service, dice);
            }
            "kill" => Action::Kill(instance?.pod.clone()),
            "kill all" if instance.is_some() => Action::KillAll,
            "freeze" if !instance?.frozen => Action::Freeze(instance?.pod.clone()),
            "thaw" if frozen > 0 => Action::ThawAll,
            "server stops" if well => Action::StopServer {
                server,
                end: *dice.one_of(&[End::Stop, End::Stop, End::Kill, End::Kill, End::LameDuck]),
            },
            "reload" if well => Action::Reload {
                lets_go: self.topology.has_accounts() && dice.below(2) == 0,
            },
            "server freezes" if well => Action::FreezeServer(server),
            "link" if self.links && self.hosts[host].down_since.is_some() => Action::LinkUp(host),
            "link" if self.links => Action::LinkDown(host),
            "loss" if self.links => Action::Loss {
                host,
                percent: *dice.one_of(&[0, 0, 1, 2]),
            },
            "path" if self.path == Path::Whole => Action::Path(*dice.one_of(&[Path::Stuck, Path::Cut])),
            "path" => Action::Path(Path::Whole),
            "joint" if self.topology.is_one_cluster() || !well => return None,
            "joint" if self.joint == Path::Whole => Action::Joint(*dice.one_of(&[Path::Stuck, Path::Cut])),
            "joint" => Action::Joint(Path::Whole),
            "delay" => Action::Delay(Duration::from_millis(*dice.one_of(&[0, 1, 5, 20, 50]))),
            _ => return None,
        };
        Some(action)
    }

    /// Returns the action that brings all servers back, if one is needed.
    pub fn mend_server(&self) -> Option<Action> {
        let ill = self.servers.iter().position(|server| *server != Server::Up)?;
        Some(match self.servers[ill] {
            Server::Frozen => Action::ThawServer(ill),
            _ => Action::StartServer(ill),
        })
    }

    /// Returns the action that makes the servers reachable for all, if one is needed.
    fn mend_network(&self) -> Option<Action> {
        let broken = self.hosts.iter().position(|host| host.down_since.is_some());
        self.mend_server()
            .or_else(|| broken.map(Action::LinkUp))
            .or_else(|| (self.path != Path::Whole).then_some(Action::Path(Path::Whole)))
            .or_else(|| (self.joint != Path::Whole).then_some(Action::Joint(Path::Whole)))
    }

    /// Returns the action that makes all well, except for instances that are gone.
    pub fn mend(&self) -> Option<Action> {
        let frozen = self.instances.iter().any(|instance| instance.frozen);
        self.mend_network().or_else(|| frozen.then_some(Action::ThawAll))
    }

    /// Returns the state after an action that ended at this time.
    pub fn after(&self, action: &Action, now: Instant) -> Model {
        let mut next = self.clone();
        match action {
            Action::Start { host, server, pod, .. } => {
                next.pods += 1;
                next.instances.push(Instance {
                    pod: pod.clone(),
                    host: *host,
                    server: *server,
                    frozen: false,
                    stale: false,
                    lost: false,
                    settled: match self.joined {
                        Some(joined) if *server != 0 => joined.max(now + GO_ON),
                        _ => now + GO_ON,
                    },
                });
            }
            Action::Kill(pod) => next.instances.retain(|instance| instance.pod != *pod),
            Action::KillAll => next.instances.clear(),
            Action::Freeze(pod) => {
                let chosen = next.instances.iter_mut().find(|instance| instance.pod == *pod);
                let chosen = chosen.expect("one that there is");
                chosen.frozen = true;
                chosen.stale |= now < chosen.settled;
            }
            Action::ThawAll => next.thaw(now),
            Action::StopServer { server, .. } => {
                next.servers[*server] = Server::Stopped;
                next.lose_connections(Some(*server), now);
            }
            Action::StartServer(server) => {
                next.servers[*server] = Server::Up;
                if next.servers.len() == 1 || !self.topology.is_one_cluster() {
                    next.lose_connections(Some(*server), now);
                }
                next.join(now);
            }
            Action::Reload { lets_go: true } => next.lose_connections(None, now),
            Action::FreezeServer(server) => {
                next.servers[*server] = Server::Frozen;
                next.disturb_logins(now);
            }
            Action::ThawServer(server) => {
                next.servers[*server] = Server::Up;
                next.disturb_logins(now);
                for instance in &mut next.instances {
                    instance.settled = instance.settled.max(now + GO_ON);
                }
            }
            Action::LinkDown(host) => next.hosts[*host].down_since = Some(now),
            Action::LinkUp(host) => {
                let since = next.hosts[*host].down_since.take();
                // What is sent again is sent after twice the time each time.
                let down = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
                for instance in next.instances.iter_mut().filter(|instance| instance.host == *host) {
                    instance.settled = instance.settled.max(now + down + RECONNECT);
                }
            }
            Action::Loss { host, percent } => next.hosts[*host].loss = *percent,
            Action::Path(path) => next.path = *path,
            Action::Joint(path) => {
                next.joint = *path;
                next.join(now);
            }
            Action::Reload { lets_go: false } | Action::Delay(_) | Action::Rest => {}
        }
        next
    }

    fn thaw(&mut self, now: Instant) {
        for instance in self.instances.iter_mut().filter(|instance| instance.frozen) {
            instance.frozen = false;
            let needs = if instance.stale { RECONNECT } else { GO_ON };
            instance.stale = false;
            instance.settled = instance.settled.max(now + needs + self.hosts[instance.host].extra());
        }
    }

    /// The servers of a leaf or a gateway find each other: those behind the other one are heard again.
    fn join(&mut self, now: Instant) {
        if !self.topology.is_one_cluster() {
            self.joined = Some(now + RECONNECT);
            for instance in self.instances.iter_mut().filter(|instance| instance.server != 0) {
                instance.settled = instance.settled.max(now + RECONNECT);
            }
        }
    }

    /// Whoever is connecting has to begin once more.
    fn disturb_logins(&mut self, now: Instant) {
        if self.joined.is_some_and(|joined| now < joined) {
            self.join(now);
        }
        for instance in self.instances.iter_mut().filter(|instance| now < instance.settled) {
            instance.settled = now + RECONNECT + self.hosts[instance.host].extra();
        }
    }

    /// A server went away or came back, or all of them let their clients go: whoever may have been connected has to connect again.
    fn lose_connections(&mut self, server: Option<usize>, now: Instant) {
        for instance in &mut self.instances {
            let host = &self.hosts[instance.host];
            let connected = self.topology.is_one_cluster() || server.is_none_or(|server| server == instance.server);
            instance.stale |= connected && instance.frozen;
            instance.lost |= connected && host.down_since.is_some();
            if connected {
                instance.settled = now + RECONNECT + host.extra();
            }
        }
    }

    /// Returns the truth from now on.
    pub fn moment(&self, now: Instant) -> Moment {
        let any = |state| self.topology.known(&self.servers).contains(&state);
        let nats = match (any(Server::Up), any(Server::Frozen) || any(Server::Stopped)) {
            (true, false) => Nats::Fine,
            (true, true) => Nats::Disturbed,
            (false, _) => Nats::Away,
        };
        // From a distance only the first server is asked.
        let path = match (self.path, self.servers[0]) {
            (Path::Whole, Server::Up) => Nats::Fine,
            _ => Nats::Away,
        };
        let active = || self.instances.iter().filter(|instance| !instance.frozen);
        let served = |server: usize| {
            let well = self.servers[server] == Server::Up && (server == 0 || self.joint == Path::Whole);
            nats != Nats::Away && (well || self.topology.is_one_cluster())
        };
        let reached = |(host, server): &Spot| self.hosts[*host].down_since.is_none() && served(*server);
        let spot = |instance: &Instance| (instance.host, instance.server);
        // In a cluster it cannot be known whose server is frozen.
        let answering = |instance: &&Instance| reached(&spot(instance)) && !instance.lost && !any(Server::Frozen);
        Moment {
            from: now,
            can: active()
                .filter(answering)
                .map(|instance| (instance.pod.clone(), instance.settled))
                .collect(),
            may: active()
                .map(|instance| (instance.pod.clone(), spot(instance)))
                .collect(),
            reached: (0..self.hosts.len())
                .flat_map(|host| (0..self.servers.len()).map(move |server| (host, server)))
                .filter(reached)
                .collect(),
            nats,
            path,
        }
    }
}

impl Host {
    fn extra(&self) -> Duration {
        if self.loss > 0 { LOSSY } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(pod: &str, host: usize) -> Action {
        Action::Start {
            client: "nats-py",
            host,
            server: 0,
            pod: pod.into(),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_actions() {
        let run = |seed| {
            let (mut dice, mut model, now) = (Dice(seed), Model::new(Topology::Gateway, 2, 2, true), Instant::now());
            let actions: Vec<_> = (0..200)
                .map(|_| {
                    let action = model.choose(&mut dice);
                    model = model.after(&action, now);
                    action
                })
                .collect();
            actions
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        // Everything has its turn.
        let kinds: std::collections::BTreeSet<_> = (0..9)
            .flat_map(run)
            .map(|action| format!("{action:?}").split([' ', '(']).next().map(str::to_owned))
            .collect();
        assert_eq!(kinds.len(), 17, "{kinds:?}");
    }

    #[test]
    fn the_model_knows_who_can_answer() {
        let now = Instant::now();
        let mut model = Model::new(Topology::One, 1, 2, true);
        let mut see = |actions: &[Action]| {
            for action in actions {
                model = model.after(action, now);
            }
            let moment = model.moment(now);
            let can: Vec<_> = moment.can.into_iter().map(|(pod, at)| (pod, at - now)).collect();
            let may = moment.may.iter().filter(|(_, spot)| moment.reached.contains(spot));
            (can, may.map(|(pod, _)| pod.as_str()).collect::<String>(), moment.nats)
        };
        let of = |pod: &str, time| (pod.to_owned(), time);
        let stop = Action::StopServer {
            server: 0,
            end: End::Kill,
        };
        let both = vec![of("a", GO_ON), of("b", GO_ON)];
        assert_eq!(see(&[start("a", 0), start("b", 1)]), (both, "ab".into(), Nats::Fine));
        assert_eq!(
            see(&[Action::Freeze("a".into())]),
            (vec![of("b", GO_ON)], "b".into(), Nats::Fine)
        );
        assert_eq!(see(&[Action::LinkDown(1)]), (vec![], "".into(), Nats::Fine));
        // Its server is another one when b can be reached again: it may not know for minutes.
        assert_eq!(see(&[stop]), (vec![], "".into(), Nats::Away));
        assert_eq!(see(&[Action::StartServer(0)]), (vec![], "".into(), Nats::Fine));
        assert_eq!(see(&[Action::LinkUp(1)]), (vec![], "b".into(), Nats::Fine));
        // And a has to connect again.
        assert_eq!(
            see(&[Action::ThawAll]),
            (vec![of("a", RECONNECT)], "ab".into(), Nats::Fine)
        );
        assert_eq!(see(&[Action::FreezeServer(0)]), (vec![], "".into(), Nats::Away));
        assert_eq!(
            see(&[Action::ThawServer(0), Action::KillAll]),
            (vec![], "".into(), Nats::Fine)
        );
    }

    #[test]
    fn a_login_that_is_frozen_begins_again() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let stop = Action::StopServer {
            server: 0,
            end: End::Stop,
        };
        let model = Model::new(Topology::One, 1, 1, false).after(&start("a", 0), zero);
        let model = model.after(&stop, at(10)).after(&Action::StartServer(0), at(11));
        let settled = |actions: [(u64, Action); 2]| {
            let model = actions.iter().fold(model.clone(), |model, (second, action)| {
                model.after(action, at(*second))
            });
            model.instances[0].settled - zero
        };
        let seconds = Duration::from_secs;
        let (freeze, thaw) = (Action::Freeze("a".into()), Action::ThawAll);
        assert_eq!(
            settled([(12, freeze.clone()), (14, thaw.clone())]),
            seconds(14) + RECONNECT
        );
        assert_eq!(settled([(20, freeze), (22, thaw)]), seconds(22) + GO_ON);
        let (freeze, thaw) = (Action::FreezeServer(0), Action::ThawServer(0));
        assert_eq!(
            settled([(12, freeze.clone()), (14, thaw.clone())]),
            seconds(14) + RECONNECT
        );
        assert_eq!(settled([(20, freeze), (22, thaw)]), seconds(22) + GO_ON);
    }

    #[test]
    fn in_a_cluster_one_server_is_not_nats() {
        let now = Instant::now();
        let mut model = Model::new(Topology::Cluster, 3, 1, false).after(&start("a", 0), now);
        let stop = Action::StopServer {
            server: 0,
            end: End::LameDuck,
        };
        model = model.after(&stop, now);
        let moment = model.moment(now);
        assert_eq!((moment.nats, moment.path), (Nats::Disturbed, Nats::Away));
        assert_eq!(moment.can.into_values().collect::<Vec<_>>(), [now + RECONNECT]);
        model = model
            .after(&Action::StartServer(0), now)
            .after(&Action::FreezeServer(1), now);
        let moment = model.moment(now);
        assert_eq!(
            (moment.can.len(), moment.may.len(), moment.nats),
            (0, 1, Nats::Disturbed)
        );
        assert_eq!(model.mend(), Some(Action::ThawServer(1)));
    }

    #[test]
    fn at_a_leaf_a_client_has_one_server() {
        let now = Instant::now();
        let there = |pod: &str, server| Action::Start {
            client: "nats-py",
            host: 0,
            server,
            pod: pod.into(),
        };
        let stop = Action::StopServer {
            server: 1,
            end: End::Stop,
        };
        let can = |model: &Model| {
            let can = model.moment(now).can.into_iter();
            can.map(|(pod, at)| format!("{pod} {}", (at - now).as_millis()))
                .collect::<Vec<_>>()
        };
        let model = Model::new(Topology::Leaf, 2, 1, false);
        let model = model.after(&there("a", 0), now).after(&there("b", 1), now);
        assert_eq!(can(&model), ["a 1000", "b 1000"]);
        let stopped = model.after(&stop, now);
        assert_eq!(can(&stopped), ["a 1000"]);
        let moment = stopped.moment(now);
        assert_eq!((moment.nats, moment.reached), (Nats::Fine, [(0, 0)].into()));
        // Those on the other one are heard when the two have found each other.
        let again = stopped.after(&Action::StartServer(1), now);
        assert_eq!(can(&again), ["a 1000", "b 4500"]);
        // So are those that start meanwhile.
        assert_eq!(can(&again.after(&there("c", 1), now)), ["a 1000", "b 4500", "c 4500"]);
        // Those that start meanwhile, too; and if the servers are frozen while they look for each other, they begin again.
        let at = |seconds| now + Duration::from_secs(seconds);
        let frozen = again
            .after(&Action::FreezeServer(0), at(2))
            .after(&Action::ThawServer(0), at(4));
        assert_eq!(
            can(&frozen.after(&there("c", 1), at(5))),
            ["a 5000", "b 8500", "c 8500"]
        );
        // And where the way between the two was broken.
        for path in [Path::Cut, Path::Stuck] {
            let apart = model.after(&Action::Joint(path), now);
            assert_eq!(can(&apart), ["a 1000"]);
            let moment = apart.moment(now);
            assert_eq!((moment.nats, moment.reached), (Nats::Fine, [(0, 0)].into()));
            assert_eq!(apart.mend(), Some(Action::Joint(Path::Whole)));
            let again = apart.after(&Action::Joint(Path::Whole), now);
            assert_eq!(can(&again), ["a 1000", "b 4500"]);
        }
    }
}
