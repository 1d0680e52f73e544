//! Hosts with links that can break and lose packets: network namespaces, each with a cable to a switch where the servers are.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const PREFIX: &str = "cns";

/// The switch, and the hosts. All of it goes on drop.
pub struct Hosts {
    /// Names of interfaces and namespaces begin with it.
    prefix: String,
    net: String,
    count: usize,
    netem: bool,
}

impl Hosts {
    /// Needs root.
    pub fn new(count: usize) -> Hosts {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        remove_what_is_left();
        let (process, nth) = (std::process::id() as usize, NEXT.fetch_add(1, Ordering::Relaxed));
        // Of the networks that are reserved for measurements, one that nobody else has.
        let nets = (process * 8 + nth % 8..).map(|number| format!("198.{}.{}", 18 + number / 256 % 2, number % 256));
        let is_free = |net: &String| UdpSocket::bind((format!("{net}.1"), 0)).is_err();
        let net = nets.take(512).find(is_free).expect("a network");
        let mut hosts = Hosts {
            prefix: format!("{PREFIX}{process}x{nth}"),
            net,
            count: 0,
            netem: false,
        };
        let switch = hosts.prefix.clone();
        ip(&["link", "add", &switch, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", hosts.switch()), "dev", &switch]);
        ip(&["link", "set", &switch, "up"]);
        for n in 0..count {
            let (namespace, plug) = (hosts.namespace(n), hosts.plug(n));
            ip(&["netns", "add", &namespace]);
            hosts.count = n + 1;
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &namespace];
            ip(&[&["link", "add", &plug], &peer[..]].concat());
            ip(&["link", "set", &plug, "master", &switch, "up"]);
            let address = format!("{}.{}/24", hosts.net, n + 2);
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"]);
            for device in ["eth0", "lo"] {
                ip(&["-n", &namespace, "link", "set", device, "up"]);
            }
        }
        hosts.netem = (0..count).all(|n| hosts.try_netem(n, 0));
        hosts
    }

    /// Returns `true` if the kernel can delay packets; if not, it can only lose them.
    pub fn netem(&self) -> bool {
        self.netem
    }

    /// The address of the servers.
    pub fn switch(&self) -> String {
        format!("{}.1", self.net)
    }

    /// The command that runs another one on this host.
    pub fn run_on(&self, host: usize) -> [String; 4] {
        ["ip".into(), "netns".into(), "exec".into(), self.namespace(host)]
    }

    /// Pulls the cable, or puts it in.
    pub fn link(&self, host: usize, up: bool) {
        ip(&["link", "set", &self.plug(host), if up { "up" } else { "down" }]);
        // The host has looked for the servers in vain: who connects now would hear of that ("no route to host").
        run("ip", &["-n", &self.namespace(host), "neigh", "flush", "dev", "eth0"]);
    }

    /// Loses packets on the way to the host, and delays all of them where the kernel can.
    pub fn lose(&self, host: usize, percent: usize) {
        if self.netem {
            assert!(self.try_netem(host, percent), "netem worked before");
            return;
        }
        let iptables = |words: &[&str]| {
            let [program, words_before @ ..] = &self.run_on(host);
            let words = words_before
                .iter()
                .map(String::as_str)
                .chain(["iptables"])
                .chain(words.iter().copied());
            run(program, &words.collect::<Vec<_>>())
        };
        assert!(iptables(&["-F", "INPUT"]), "iptables");
        if percent > 0 {
            let share = format!("{}", percent as f64 / 100.0);
            let rule = ["-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability"];
            assert!(
                iptables(&[&rule[..], &[&share, "-j", "DROP"]].concat()),
                "iptables: statistic"
            );
        }
    }

    fn try_netem(&self, host: usize, percent: usize) -> bool {
        let loss = format!("{percent}%");
        let plug = self.plug(host);
        let words = ["qdisc", "replace", "dev", &plug, "root", "netem", "delay", "5ms", "2ms"];
        run("tc", &[&words[..], &["loss", &loss]].concat())
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn plug(&self, host: usize) -> String {
        format!("{}p{host}", self.prefix)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..self.count {
            run("ip", &["netns", "del", &self.namespace(host)]);
            run("ip", &["link", "del", &self.plug(host)]);
        }
        run("ip", &["link", "del", &self.prefix]);
    }
}

/// Of test processes that were killed.
fn remove_what_is_left() {
    let names = |dir: &str| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    };
    let is_left = |name: &String| {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x'));
        process.is_some_and(|(process, _)| !std::path::Path::new("/proc").join(process).exists())
    };
    for namespace in names("/run/netns").filter(is_left) {
        run("ip", &["netns", "del", &namespace]);
    }
    for device in names("/sys/class/net").filter(is_left) {
        run("ip", &["link", "del", &device]);
    }
}

fn ip(words: &[&str]) {
    assert!(run("ip", words), "ip {}", words.join(" "));
}

fn run(program: &str, words: &[&str]) -> bool {
    let quiet = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}
