//! The topologies: the servers that belong together, and what that means for their clients.

use super::model::CLIENTS;
use crate::support::{Certs, Net, Proxy, Server, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    One,
    Cluster,
    /// A hub and a leaf. Services are on both.
    Leaf,
    /// Two clusters of one server. Services are on both.
    Gateway,
    /// The monitors have an account of their own, which imports the services.
    Import,
    /// Clients have to use TLS.
    Tls,
}

impl Topology {
    pub const ALL: [Topology; 6] = [
        Topology::One,
        Topology::Cluster,
        Topology::Leaf,
        Topology::Gateway,
        Topology::Import,
        Topology::Tls,
    ];

    /// The topology that `CHAOS_TOPOLOGY` names: `leaf`.
    pub fn of(name: &str) -> Topology {
        let named = |topology: &Topology| format!("{topology:?}").eq_ignore_ascii_case(name);
        let found = Topology::ALL.into_iter().find(named);
        found.unwrap_or_else(|| panic!("no topology {name}: {:?}", Topology::ALL))
    }

    /// The numbers of servers that it may have.
    pub fn sizes(self) -> &'static [usize] {
        match self {
            Topology::One | Topology::Import => &[1],
            Topology::Leaf | Topology::Gateway => &[2],
            Topology::Cluster => &[3],
            Topology::Tls => &[1, 3],
        }
    }

    /// Returns `true` if clients know all servers. Otherwise each knows its own, and waits until that is back; and the way between
    /// the servers may break.
    pub fn is_one_cluster(self) -> bool {
        !matches!(self, Topology::Leaf | Topology::Gateway)
    }

    /// Those of the servers that the monitors know.
    pub fn known<T>(self, servers: &[T]) -> &[T] {
        if self.is_one_cluster() { servers } else { &servers[..1] }
    }

    /// Returns `true` if there are accounts, so that a reload can disconnect clients.
    pub fn has_accounts(self) -> bool {
        self != Topology::Leaf
    }

    /// The clients that services can be written with.
    pub fn clients(self) -> &'static [&'static str] {
        match self {
            // Those of the community are not told about TLS in our services.
            Topology::Tls => &CLIENTS[..5],
            _ => &CLIENTS,
        }
    }

    /// The servers, for clients on this address, and the ways between them that may break.
    pub fn start(self, host: &str, version: Version, size: usize, certs: Option<&Certs>) -> (Net, Vec<Proxy>) {
        // The shortest of lame ducks.
        let mut config = String::from("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"500ms\"\n");
        if self.has_accounts() {
            config += &self.accounts();
        }
        if let Some(certs) = certs {
            config += &certs.config("server", "");
        }
        let mut joint = Vec::new();
        let way = |port| Proxy::before(port, &mut joint);
        let net = match (self, size) {
            (Topology::Leaf, _) => Net::leaf_on(host, version, &config, way),
            (Topology::Gateway, _) => Net::gateway_on(host, version, &config, way),
            (_, 1) => Net(vec![Server::on_host(host, version, &config)]),
            _ => Net::cluster_on(host, version, size, &config),
        };
        (net, joint)
    }

    /// All who do not say who they are use one account: ONE, or after a reload TWO.
    fn accounts(self) -> String {
        let subjects = ["PING", "PING.>", "STATS", "STATS.>"].map(|subject| format!("$SRV.{subject}"));
        let list = |item: &dyn Fn(&String) -> String| subjects.iter().map(item).collect::<Vec<_>>().join(", ");
        let (exports, mon) = match self {
            Topology::Import => {
                let exports = list(&|subject| format!("{{service: \"{subject}\", response_type: stream}}"));
                let import = |subject: &String| {
                    format!("{{service: {{account: ONE, subject: \"{subject}\"}}, to: \"APP.{subject}\"}}")
                };
                let imports = list(&import);
                let users = "users: [{user: mon, password: s3cret}]";
                (
                    format!("exports: [{exports}]"),
                    format!("MON {{ {users}, imports: [{imports}] }}"),
                )
            }
            _ => (String::new(), String::new()),
        };
        format!(
            "accounts {{\nONE {{ users: [{{user: app, password: app}}]\n{exports} }}\nTWO {{}}\n{mon}\n}}\nno_auth_user: app\n"
        )
    }

    /// The flags with which a monitor connects.
    pub fn flags(self, certs: Option<&Certs>) -> Vec<String> {
        let flags: &[&str] = match self {
            Topology::Import => &["--user", "mon", "--password", "s3cret", "--srv-prefix", "APP.$SRV"],
            _ => &[],
        };
        let tlsca = certs.map(|certs| ["--tlsca".to_owned(), certs.path("ca.pem")]);
        let flags = flags.iter().map(|flag| flag.to_string());
        flags.chain(tlsca.into_iter().flatten()).collect()
    }
}

/// The configuration with which the clients move to the other account: the server lets them go, and they come back.
pub fn with_the_other_account(config: &str) -> String {
    let [one, two, other] = ["ONE", "TWO", "THREE"];
    config.replace(one, other).replace(two, one).replace(other, two)
}
