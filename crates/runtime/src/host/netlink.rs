//! netlink(7): a socket, requests as bytes, and the parts of answers. What they mean belongs to each
//! protocol.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use rustix::io::Errno;

/// Flags of a request (linux/netlink.h).
pub mod flag {
    #![allow(missing_docs)]
    pub const ACK: u16 = 4;
    pub const DUMP: u16 = 0x300;
    pub const CREATE: u16 = 0x400;
    pub const EXCLUSIVE: u16 = 0x200;
}

/// Kinds of messages that every protocol has.
pub const ERROR: u16 = 2;
/// The end of a list.
pub const DONE: u16 = 3;

const REQUEST: u16 = 1;
const HEADER: usize = 16;

/// More than the kernel fills of a list at once (32 KiB), or it would be cut.
const SPACE: usize = 64 * 1024;

/// A socket. It belongs for good to the network namespace in which it was opened.
pub struct Netlink(pub OwnedFd);

fn errno(e: nix::Error) -> Errno {
    Errno::from_raw_os_error(e as i32)
}

impl Netlink {
    /// A socket of the protocol.
    pub fn open(protocol: SockProtocol) -> Result<Netlink, Errno> {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(Netlink).map_err(errno)
    }

    /// Sends a request, and gives each datagram of the answer to `read` until that says that it was
    /// the last.
    pub fn ask(&self, request: &[u8], mut read: impl FnMut(&[u8]) -> Result<bool, Errno>) -> Result<(), Errno> {
        let fd = self.0.as_raw_fd();
        send(fd, request, MsgFlags::empty()).map_err(errno)?;
        let mut space = vec![0; SPACE];
        loop {
            let length = match recv(fd, &mut space, MsgFlags::empty()) {
                Err(nix::Error::EINTR) => continue,
                other => other.map_err(errno)?,
            };
            if read(space.get(..length).unwrap_or_default())? {
                return Ok(());
            }
        }
    }
}

/// A request under construction.
pub struct Message(Vec<u8>);

impl Message {
    /// With what follows the header.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Message(bytes)
    }

    /// Adds an attribute that [`nested`] has made.
    pub fn attributes(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.0.extend(attribute(kind, value));
        self
    }

    /// The bytes.
    pub fn done(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

/// An attribute: its length, its kind, and its value, filled up to a multiple of four bytes.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute whose value is attributes.
pub fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    const NESTED: u16 = 1 << 15;
    attribute(NESTED | kind, &attributes.concat())
}

/// N bytes from `at`. EBADMSG if there are fewer.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Errno> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Errno::BADMSG)
}

/// Gives kind and contents of each message of a datagram to `each`. True if no more will come: at an
/// acknowledgement, or the end of a list. The kernel's refusal is an error.
pub fn messages(mut bytes: &[u8], mut each: impl FnMut(u16, &[u8]) -> Result<(), Errno>) -> Result<bool, Errno> {
    let mut end = false;
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(number(bytes, 0)?) as usize;
        let body = bytes.get(HEADER..length).ok_or(Errno::BADMSG)?;
        match u16::from_ne_bytes(number(bytes, 4)?) {
            ERROR => match i32::from_ne_bytes(number(body, 0)?) {
                0 => end = true,
                code => return Err(Errno::from_raw_os_error(code.wrapping_neg())),
            },
            DONE => end = true,
            kind => each(kind, body)?,
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(end)
}

/// Gives kind and value of each attribute to `each`.
pub fn attributes(mut bytes: &[u8], mut each: impl FnMut(u16, &[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(number(bytes, 0)?));
        each(u16::from_ne_bytes(number(bytes, 2)?), bytes.get(4..length).ok_or(Errno::BADMSG)?)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}
