//! Values and descriptors that go from one process to another: values in files without a name, whose descriptors are sent through
//! a socket.

use std::fs::File;
use std::io::{self, BufWriter, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maximum size of a value, in bytes.
const MAX_VALUE_BYTES: u64 = 16 * 1024 * 1024;

/// Maximum number of descriptors that are sent at once.
const MAX_DESCRIPTORS: usize = 2;

/// A file that nobody else can open.
///
/// # Errors
///
/// That of the system.
pub fn file() -> io::Result<File> {
    Ok(memfd_create("check_nats_service", MemfdFlags::CLOEXEC)?.into())
}

/// Writes the value to the file.
///
/// # Errors
///
/// That of the system.
pub fn write(file: &File, value: &impl Serialize) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    serde_json::to_writer(&mut writer, value)?;
    writer.flush()
}

/// Reads the value from the beginning of the file, wherever its writer left it. `None`: there is no whole one.
pub fn read<T: DeserializeOwned>(file: &File) -> Option<T> {
    let length = file.metadata().ok()?.len();
    if length > MAX_VALUE_BYTES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Sends the descriptors. Where there is no room, nothing is sent.
pub fn send(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    let _ = sendmsg(socket, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::NOSIGNAL);
}

/// Receives the descriptors that were sent at once. `None`: there will be none any more.
///
/// # Errors
///
/// That of the system.
pub fn receive(socket: &UnixStream) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    });
    Ok(Some(descriptors.collect()))
}
