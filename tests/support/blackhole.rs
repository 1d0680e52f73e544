//! An address that connections hang on for ever, as behind a firewall that drops packets.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A socket that listens, but whose queue is full: the kernel drops every further attempt to connect, without a word.
pub struct Blackhole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    pub fn start() -> Blackhole {
        Blackhole::on(0)
    }

    /// In the place of a server that has been stopped.
    pub fn on(port: u16) -> Blackhole {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        // SAFETY: a valid socket; listening again only changes the length of its queue.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // A backlog of 0 has room for one or two.
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("cannot fill the queue: {error}"),
            }
            assert!(queued.len() < 100, "the queue does not fill");
        }
        Blackhole {
            address,
            _listener: listener,
            _queued: queued,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

#[test]
fn connecting_hangs() {
    let hole = Blackhole::start();
    for _ in 0..3 {
        let error = TcpStream::connect_timeout(&hole.address, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
