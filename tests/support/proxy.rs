//! A proxy in front of a server, which can go away like a part of a network: a cable pulled, a firewall that drops.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::server::free_port;

/// Maximum number of pieces that are on the way at once; then the sender waits.
const MAX_ON_THE_WAY: usize = 64;

/// Passes on all that comes to a port of its own, until it is told not to. Closes everything on drop.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Connections stay, and nothing goes through them.
    stuck: AtomicBool,
    /// Connections are closed, at once and when they are made.
    cut: AtomicBool,
    /// Delay of each byte in milliseconds, each way.
    delay: AtomicU64,
    over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// To a port of this host.
    pub fn start(to: u16) -> Proxy {
        Proxy::to(SocketAddr::from(([127, 0, 0, 1], to)))
    }

    /// The same, and the list keeps it. Returns its port.
    pub fn before(to: u16, all: &mut Vec<Proxy>) -> u16 {
        let proxy = Proxy::start(to);
        let port = proxy.port;
        all.push(proxy);
        port
    }

    pub fn to(to: SocketAddr) -> Proxy {
        let (port, listener) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                break (port, listener);
            }
        };
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if all.over.load(SeqCst) {
                    break;
                }
                if all.cut.load(SeqCst) {
                    continue;
                }
                let _ = pass_on(stream, to, &all);
                // It may have been cut meanwhile.
                if all.cut.load(SeqCst) {
                    all.close();
                }
            }
        });
        Proxy { port, shared }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing comes through any more, and neither side learns of it.
    pub fn stick(&self) {
        self.shared.stuck.store(true, SeqCst);
    }

    /// Lets the bytes through that got stuck.
    pub fn unstick(&self) {
        self.shared.stuck.store(false, SeqCst);
    }

    /// Closes all connections, and each one that is made.
    pub fn cut(&self) {
        self.shared.cut.store(true, SeqCst);
        self.shared.close();
    }

    pub fn mend(&self) {
        self.shared.cut.store(false, SeqCst);
    }

    /// Makes the way longer, as if it led to another continent.
    pub fn delay(&self, each_way: Duration) {
        self.shared.delay.store(each_way.as_millis() as u64, SeqCst);
    }
}

impl Shared {
    fn close(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.shared.close();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass_on(client: TcpStream, to: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let mut streams = shared.streams.lock().unwrap();
        // Those that have ended need no closing.
        streams.retain(|stream| stream.peer_addr().is_ok());
        streams.extend([client.try_clone()?, server.try_clone()?]);
    }
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(from, to, shared));
    }
    Ok(())
}

/// Passes all bytes on, each as much later as the way is long, whatever else is on the way.
fn pump(mut from: TcpStream, to: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let (sender, on_the_way) = mpsc::sync_channel(MAX_ON_THE_WAY);
    let (ends, way) = ([from.try_clone()?, to.try_clone()?], Arc::clone(&shared));
    thread::spawn(move || {
        deliver(&on_the_way, to, &shared);
        ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + Duration::from_millis(way.delay.load(SeqCst));
        if sender.send((due, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    Ok(())
}

fn deliver(on_the_way: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, shared: &Shared) {
    for (due, bytes) in on_the_way {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        while shared.stuck.load(SeqCst) && !shared.over.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}
