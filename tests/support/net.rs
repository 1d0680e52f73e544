//! Several servers that are one NATS system: clusters, leaves and gateways, and accounts that import.

use std::thread;

use super::server::free_port;
use super::{Server, Version};

/// Servers that know of each other.
pub struct Net(pub Vec<Server>);

impl Net {
    /// Each knows the routes to all the others.
    pub fn cluster(version: Version, size: usize) -> Net {
        Net::cluster_on("127.0.0.1", version, size, "")
    }

    /// The same, for clients on another address of this machine, and with more in the configuration of each.
    pub fn cluster_on(host: &str, version: Version, size: usize, config: &str) -> Net {
        let ports: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let node = |(n, port): (usize, &u16)| {
            // A name of its own: nobody else gets in who happens to know one of the ports.
            let cluster = format!("name: c{}, listen: \"127.0.0.1:{port}\", routes: {routes:?}", ports[0]);
            Server::on_host(
                host,
                version,
                &format!("server_name: n{n}\ncluster {{ {cluster} }}\n{config}"),
            )
        };
        Net(ports.iter().enumerate().map(node).collect())
    }

    /// A hub, and a leaf that connects to it.
    pub fn leaf(version: Version) -> Net {
        Net::leaf_on("127.0.0.1", version, "", |port| port)
    }

    /// The same, for clients on another address of this machine, and with more in the configuration of both. `way` returns the port
    /// that leads to the one of the hub.
    pub fn leaf_on(host: &str, version: Version, config: &str, way: impl FnOnce(u16) -> u16) -> Net {
        let port = free_port();
        let way = format!("127.0.0.1:{}", way(port));
        // The leaf is told other ways to the hub, and would take them.
        let listen = format!("listen: \"127.0.0.1:{port}\", advertise: \"{way}\"");
        let hub = Server::on_host(
            host,
            version,
            &format!("server_name: hub\nleafnodes {{ {listen} }}\n{config}"),
        );
        let remote = format!("remotes: [{{url: \"nats-leaf://{way}\"}}], reconnect: 1");
        let remotes = format!("leafnodes {{ {remote} }}\n{config}");
        let leaf = Server::on_host(host, version, &format!("server_name: leaf\n{remotes}"));
        Net(vec![hub, leaf])
    }

    /// Two clusters of one server each.
    pub fn gateway(version: Version) -> Net {
        Net::gateway_on("127.0.0.1", version, "", |port| port)
    }

    /// The same, for clients on another address of this machine, and with more in the configuration of both. `way` returns the port
    /// that leads to this one of a gateway.
    pub fn gateway_on(host: &str, version: Version, config: &str, way: impl FnMut(u16) -> u16) -> Net {
        let ports = [free_port(), free_port()];
        let ways = ports.map(way);
        let gateways = ["east", "west"].iter().zip(ways);
        let gateways = gateways.map(|(name, way)| format!("{{name: {name}, url: \"nats://127.0.0.1:{way}\"}}"));
        let gateways: Vec<String> = gateways.collect();
        let node = |((name, port), way)| {
            let gateway = format!(
                "name: {name}, listen: \"127.0.0.1:{port}\", advertise: \"127.0.0.1:{way}\", gateways: [{}]",
                gateways.join(", ")
            );
            let text = format!("server_name: {name}\ngateway {{ {gateway} }}\n{config}");
            Server::on_host(host, version, &text)
        };
        Net(["east", "west"].into_iter().zip(ports).zip(ways).map(node).collect())
    }

    /// Does the same at each of them, at once.
    pub fn everywhere(&self, what: impl Fn(usize, &Server) + Sync) {
        thread::scope(|scope| {
            for (n, server) in self.0.iter().enumerate() {
                let what = &what;
                scope.spawn(move || what(n, server));
            }
        });
    }

    /// Waits until a service is seen by all of them, or by none.
    pub fn wait_for_instances(&self, name: &str, count: usize) {
        self.everywhere(|_, server| server.wait_for_instances(name, count));
    }
}

/// A monitoring account that imports the services of another, as README and man page tell.
pub fn import(export: &str) -> String {
    format!(
        r#"accounts {{
             APP {{ users: [{{user: app, password: app}}]
                   exports: [ {{{export}}} ] }}
             MON {{ users: [{{user: mon, password: s3cret, permissions: {{
                     publish: {{allow: ["APP.$SRV.PING.>"]}}, subscribe: {{allow: ["_INBOX.>"]}}}}}}]
                   imports: [ {{service: {{account: APP, subject: "$SRV.PING.>"}}, to: "APP.$SRV.PING.>"}} ] }}
           }}"#
    )
}

pub const STREAM: &str = r#"service: "$SRV.PING.>", response_type: stream"#;
