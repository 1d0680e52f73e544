//! The kernel's facts about a TCP connection in which the client hangs.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No TCP connection yet: the packets get no answer.
    NotConnected,
    /// Connected, and not a byte has come.
    NothingReceived,
    /// Something has come.
    Received,
}

/// Descriptors below this number are looked at. The kernel gives the lowest one that is free.
const MAX_DESCRIPTOR: RawFd = 1024;

/// Returns the progress of this process's connection to this peer.
pub fn progress(peer: SocketAddr) -> Progress {
    descriptors()
        .filter_map(|fd| bytes_received(fd, peer))
        .max()
        .map_or(Progress::NotConnected, |bytes| match bytes {
            0 => Progress::NothingReceived,
            _ => Progress::Received,
        })
}

/// Returns `true` if this process has the end of a TCP connection with this local address and this peer.
pub fn is_own(local: SocketAddr, peer: SocketAddr) -> bool {
    descriptors()
        .filter_map(|fd| connection_to(fd, peer))
        .any(|stream| stream.local_addr().is_ok_and(|address| address == local))
}

/// The descriptors that this process may have: not those that /proc/self/fd lists, which a process that writes no core dumps
/// may not read.
fn descriptors() -> impl Iterator<Item = RawFd> {
    0..MAX_DESCRIPTOR
}

/// A copy of this descriptor, if it is a connection to this peer.
fn connection_to(fd: RawFd, peer: SocketAddr) -> Option<TcpStream> {
    // SAFETY: the descriptor was open a moment ago. If it was closed since, the copy fails or is that of another file,
    // which has another peer.
    let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok()?;
    let stream = TcpStream::from(copy);
    (stream.peer_addr().ok()? == peer).then_some(stream)
}

/// Returns the number of bytes received from this peer through this descriptor; `None` if it is no connection to it.
fn bytes_received(fd: RawFd, peer: SocketAddr) -> Option<u64> {
    let stream = connection_to(fd, peer)?;
    // struct tcp_info of linux/tcp.h; libc's ends before tcpi_bytes_received, which is a u64 at 128.
    let mut info = [0_u64; 32];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes `length` bytes at most to the buffer, which is that long.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    (result == 0).then_some(info[16])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn progress_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        assert_eq!(progress(address), Progress::NotConnected);
        let mut client = TcpStream::connect(address).expect("a connection");
        assert_eq!(progress(address), Progress::NothingReceived);
        let (mut server, _) = listener.accept().expect("the other end");
        server.write_all(b"INFO").expect("a write");
        client.read_exact(&mut [0; 4]).expect("a read");
        assert_eq!(progress(address), Progress::Received);
    }
}
