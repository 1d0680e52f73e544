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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// Where a text lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    offset: u64,
    length: usize,
}

/// Writes texts to a file, and behind them what tells where they are: so large texts are in no process's memory but in parts.
pub struct TextWriter<'f> {
    file: &'f File,
    end: u64,
}

impl<'f> TextWriter<'f> {
    /// Begins anew.
    ///
    /// # Errors
    ///
    /// That of the system.
    pub fn new(file: &'f File) -> io::Result<TextWriter<'f>> {
        file.set_len(0)?;
        Ok(TextWriter { file, end: 0 })
    }

    /// # Errors
    ///
    /// That of the system.
    pub fn add(&mut self, text: &str) -> io::Result<Span> {
        let (offset, length) = (self.end, text.len());
        self.file.write_all_at(text.as_bytes(), offset)?;
        self.end += length as u64;
        Ok(Span { offset, length })
    }

    /// Ends the file with this value, and its length in eight bytes.
    ///
    /// # Errors
    ///
    /// That of the system.
    pub fn finish(mut self, index: &impl Serialize) -> io::Result<()> {
        let span = self.add(&serde_json::to_string(index)?)?;
        self.file.write_all_at(&(span.length as u64).to_le_bytes(), self.end)
    }
}

/// Reads the value at the end of a file of a [`TextWriter`]. `None`: there is no whole one.
pub fn read_index<T: DeserializeOwned>(file: &File) -> Option<T> {
    let end = file.metadata().ok()?.len().checked_sub(8)?;
    let mut length = [0; 8];
    file.read_exact_at(&mut length, end).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MAX_VALUE_BYTES {
        return None;
    }
    let (offset, length) = (end.checked_sub(length)?, usize::try_from(length).ok()?);
    serde_json::from_str(&read_text(file, Span { offset, length })?).ok()
}

/// Reads a text. `None`: there is no such one.
pub fn read_text(file: &File, span: Span) -> Option<String> {
    // Checked before memory is allocated.
    if span.offset.checked_add(span.length as u64)? > file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; span.length];
    file.read_exact_at(&mut bytes, span.offset).ok()?;
    String::from_utf8(bytes).ok()
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
