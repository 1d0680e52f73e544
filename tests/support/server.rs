//! A real nats-server on loopback.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use super::{LIMIT, Namespace, TempDir, from_env, process, raw, wait_for};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2_9,
    V2_10,
    Newest,
    /// One of those between them, which tests/run.sh gets for the long form of the matrix only.
    Other(&'static str),
}

impl Version {
    pub const ALL: [Version; 3] = [Version::V2_9, Version::V2_10, Version::Newest];

    fn binary(self) -> String {
        match self {
            Version::V2_9 => from_env("NATS_SERVER_2_9"),
            Version::V2_10 => from_env("NATS_SERVER_2_10"),
            Version::Newest => from_env("NATS_SERVER_NEWEST"),
            Version::Other(version) => format!("{}/nats-server-{version}", from_env("NATS_SERVERS")),
        }
    }
}

/// Does the same with each of these servers, at once.
pub fn on(versions: &[Version], test: impl Fn(Version) + Sync) {
    thread::scope(|scope| {
        for version in versions {
            let thread = thread::Builder::new().name(format!("{version:?}"));
            thread.spawn_scoped(scope, || test(*version)).expect("a thread");
        }
    });
}

/// A running (or stopped) nats-server with a port of its own for its whole life. Killed on drop.
pub struct Server {
    version: Version,
    /// The command that runs it, if not itself.
    under: Vec<String>,
    host: String,
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Server {
    pub fn start(version: Version) -> Server {
        Server::with_config(version, "")
    }

    /// `config` without any `listen`, `host` or `port`. The server runs in [`Server::dir`]: relative paths are there.
    #[track_caller]
    pub fn with_config(version: Version, config: &str) -> Server {
        Server::on_host("127.0.0.1", version, config)
    }

    /// The same on another address of this machine.
    #[track_caller]
    pub fn on_host(host: &str, version: Version, config: &str) -> Server {
        Server::launch_under(Vec::new(), host, version, config)
    }

    /// The same in a namespace, on all of its addresses: only what runs in there reaches it.
    #[track_caller]
    pub fn inside(namespace: &Namespace, version: Version, config: &str) -> Server {
        Server::launch_under(namespace.run_in(), "0.0.0.0", version, config)
    }

    #[track_caller]
    fn launch_under(under: Vec<String>, host: &str, version: Version, config: &str) -> Server {
        let dir = TempDir::new();
        fs::write(dir.join("server.conf"), config).unwrap();
        let mut server = Server {
            version,
            under,
            host: host.to_owned(),
            port: 0,
            dir,
            child: None,
        };
        loop {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                Err(log) if log.contains("address already in use") => continue,
                Err(log) => panic!("nats-server {version:?} does not start:\n{log}"),
            }
        }
    }

    /// Starts the process and waits until it accepts connections; the error is its log.
    fn launch(&mut self) -> Result<(), String> {
        let earlier = self.log().len();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let mut words = self.under.iter().cloned().chain([self.version.binary()]);
        let mut command = process::command(words.next().expect("a program"));
        command
            .args(words)
            .args(["-a", &self.host, "-p", &self.port.to_string(), "-c", "server.conf"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = process::spawn(command);
        wait_for("nats-server is ready", || {
            // The end first, then the log: so the log of one that ended is complete.
            let ended = child.try_wait().unwrap().is_some();
            let log = self.log().split_off(earlier);
            match (log.contains("Server is ready"), ended) {
                (_, true) => Some(Err(log)),
                (true, false) => Some(Ok(())),
                (false, false) => None,
            }
        })?;
        self.child = Some(child);
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// All that it has logged, of earlier starts too: for panics.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Ends the process (SIGTERM; SIGKILL when that does not help). The port stays its own.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        process::thaw(child.id());
        process::signal(child.id(), libc::SIGTERM);
        if process::wait(&mut child, LIMIT).is_none() {
            process::kill(&mut child);
        }
    }

    /// Kills the process: nobody is told.
    #[track_caller]
    pub fn kill(&mut self) {
        process::kill(&mut self.child.take().expect("the server runs"));
    }

    /// Ends the process as a lame duck: new connections are refused, and the clients are sent away one after the other, one a second at
    /// most, once `lame_duck_grace_period` is over.
    #[track_caller]
    pub fn lame_duck(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        process::signal(child.id(), libc::SIGUSR2);
        let ended = process::wait(&mut child, 2 * LIMIT).is_some();
        process::kill(&mut child);
        assert!(ended, "a lame duck ends:\n{}", self.log());
    }

    /// Lets it read its configuration again, after a change of the text.
    #[track_caller]
    pub fn reload(&self, change: impl Fn(&str) -> String) {
        const DONE: &str = "Reloaded server configuration";
        let (path, before) = (self.dir.join("server.conf"), self.log().matches(DONE).count());
        fs::write(&path, change(&fs::read_to_string(&path).unwrap())).unwrap();
        self.signal(libc::SIGHUP);
        wait_for(DONE, || (self.log().matches(DONE).count() > before).then_some(()));
    }

    /// Starts it again on the same port, with the same configuration, or the one written to `server.conf` in [`Server::dir`].
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        self.launch()
            .unwrap_or_else(|log| panic!("nats-server does not start again:\n{log}"));
    }

    /// Stops it, and starts it with another configuration.
    #[track_caller]
    pub fn restart(&mut self, config: &str) {
        self.stop();
        fs::write(self.dir.join("server.conf"), config).unwrap();
        self.start_again();
    }

    /// Connections are still accepted by the kernel, but nothing answers.
    #[track_caller]
    pub fn freeze(&self) {
        process::freeze(self.pid());
    }

    #[track_caller]
    pub fn thaw(&self) {
        process::thaw(self.pid());
    }

    /// For instance SIGHUP to read the configuration again, SIGUSR2 for lame duck mode.
    #[track_caller]
    pub fn signal(&self, signal: i32) {
        process::signal(self.pid(), signal);
    }

    /// Waits until exactly `count` instances of a service answer: after a restart services need seconds to come back.
    /// The configuration must let anybody in.
    #[track_caller]
    pub fn wait_for_instances(&self, name: &str, count: usize) {
        wait_for(&format!("{count} instances of {name}"), || {
            // One more than expected, to see those that are too many.
            let ids = raw::ping(&self.url(), name, count + 1).ok()?;
            (ids.len() == count).then_some(())
        });
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("the server runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            process::kill(child);
        }
    }
}

/// A port that nothing listens on. Below the range that the kernel hands out: so while a server of ours is down, nobody is
/// given its port, not even as the source port of a connection (a client that reconnects could then meet itself).
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Test processes at the same time begin at different ports, those started one after the other far from each other.
        let start = (std::process::id().wrapping_mul(2_654_435_769) >> 16) as u16 % COUNT;
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, ErrorKind};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn info(server: &Server) -> String {
        let mut line = String::new();
        BufReader::new(connect(server)).read_line(&mut line).unwrap();
        line
    }

    fn connect(server: &Server) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn every_version_starts_stops_and_comes_back_on_its_port() {
        for version in Version::ALL {
            let mut server = Server::start(version);
            let port = server.port();
            let first = info(&server);
            assert!(first.starts_with("INFO {"), "{first}");
            server.stop();
            let error = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            server.start_again();
            assert_eq!(server.port(), port);
            assert_ne!(info(&server), first, "another server id");
            drop(server);
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        }
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn the_versions_are_what_they_say() {
        assert!(info(&Server::start(Version::V2_10)).contains(r#""version":"2.10."#));
        // tests/run.sh says it when Debian's is another one.
        assert!(info(&Server::start(Version::V2_9)).contains(r#""version":"2."#));
        assert!(info(&Server::start(Version::Newest)).contains(r#""version":"2.15."#));
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn a_configuration_is_used_and_a_bad_one_shows_its_log() {
        let server = Server::with_config(
            Version::V2_10,
            "authorization { user: u, password: p }\nserver_name: mine",
        );
        assert!(info(&server).contains(r#""server_name":"mine""#));
        let error = raw::ping(&server.url(), "nobody", 1).unwrap_err();
        assert!(error.to_string().contains("Authorization Violation"), "{error}");
        assert_eq!(
            raw::ping(&server.url().replace("//", "//u:p@"), "nobody", 1)
                .unwrap()
                .len(),
            0
        );

        let panic = std::panic::catch_unwind(|| Server::with_config(Version::V2_10, "nonsense }"))
            .err()
            .unwrap();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("server.conf"), "{text}");
    }

    #[test]
    #[ignore = "needs nats-server"]
    fn a_frozen_server_accepts_connections_and_sends_nothing() {
        let server = Server::start(Version::Newest);
        server.freeze();
        let stream = connect(&server);
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        assert_eq!(reader.read_line(&mut line).unwrap_err().kind(), ErrorKind::WouldBlock);
        server.thaw();
        reader.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("INFO "), "{line}");
    }
}
