//! The unix sockets of a network namespace and which of them are connected, from the kernel's
//! socket diagnostics (sock_diag(7)).

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::host::thread::apart;

/// A unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unix {
    /// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
    pub kind: u8,
    /// The inode number of the socket to which it is connected.
    pub peer: Option<u64>,
}

/// Those of one network namespace, by inode number.
pub type Table = HashMap<u64, Unix>;

const BY_FAMILY: u16 = 20;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const HEADER: usize = 16;
/// `struct unix_diag_msg`, in front of the attributes.
const FIXED: usize = 16;
const UNIX_DIAG_PEER: u16 = 2;

/// A datagram of a list is at most this long (32 KiB), with room.
const SPACE: usize = 64 * 1024;

/// Lists the sockets of the network namespace that the process is in.
pub fn list(pid: i32) -> Result<Table, Errno> {
    apart(|| {
        let namespace = File::open(format!("/proc/{pid}/ns/net"));
        let namespace = namespace.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        move_into_thread_name_spaces(namespace.as_fd(), ThreadNameSpaceType::NETWORK)?;
        ask().map_err(|e| Errno::from_raw_os_error(e as i32))
    })
}

fn ask() -> Result<Table, nix::Error> {
    let protocol = SockProtocol::NetlinkSockDiag;
    let diag = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    send(diag.as_raw_fd(), &request(), MsgFlags::empty())?;
    let (mut table, mut space) = (Table::new(), vec![0; SPACE]);
    loop {
        let length = match recv(diag.as_raw_fd(), &mut space, MsgFlags::empty()) {
            Err(nix::Error::EINTR) => continue,
            other => other?,
        };
        if read(space.get(..length).unwrap_or_default(), &mut table).ok_or(nix::Error::EBADMSG)? {
            return Ok(table);
        }
    }
}

/// `struct unix_diag_req`: all sockets in all states, with their peers.
fn request() -> [u8; HEADER + 24] {
    const REQUEST_DUMP: u16 = 0x301;
    const UDIAG_SHOW_PEER: u32 = 4;
    let mut bytes = [0; HEADER + 24];
    let length = bytes.len() as u32;
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &length.to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST_DUMP.to_ne_bytes());
    put(HEADER, &[nix::libc::AF_UNIX as u8]);
    put(HEADER + 4, &u32::MAX.to_ne_bytes());
    put(HEADER + 12, &UDIAG_SHOW_PEER.to_ne_bytes());
    bytes
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// Reads a datagram of the answer. True at the end of the list.
fn read(mut bytes: &[u8], table: &mut Table) -> Option<bool> {
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(number(bytes, 0)?) as usize;
        let body = bytes.get(HEADER..length)?;
        match u16::from_ne_bytes(number(bytes, 4)?) {
            DONE => return Some(true),
            ERROR => return None,
            _ => {}
        }
        let [_, kind, ..] = number::<4>(body, 0)?;
        let inode = u32::from_ne_bytes(number(body, 4)?);
        table.insert(inode.into(), Unix { kind, peer: peer(body.get(FIXED..)?)? });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

/// The outer option is empty when the answer is broken.
#[expect(clippy::option_option, reason = "a broken answer is another thing than no peer")]
fn peer(mut attributes: &[u8]) -> Option<Option<u64>> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(number(attributes, 0)?));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(number(attributes, 2)?) == UNIX_DIAG_PEER {
            let inode = u32::from_ne_bytes(number(value, 0)?);
            // A connection that nobody has accepted has a peer without an inode.
            return Some((inode != 0).then_some(inode.into()));
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    /// By the kernel's own word.
    #[test]
    fn connected_sockets_have_peers() {
        let (a, b) = UnixStream::pair().unwrap();
        let alone = UnixDatagram::unbound().unwrap();
        let table = ask().unwrap();
        assert_eq!(table[&inode(&a)].peer, Some(inode(&b)));
        assert_eq!(table[&inode(&b)].peer, Some(inode(&a)));
        assert_eq!(table[&inode(&a)].kind, nix::libc::SOCK_STREAM as u8);
        assert_eq!(table[&inode(&alone)], Unix { kind: nix::libc::SOCK_DGRAM as u8, peer: None });
    }

    #[test]
    fn a_broken_answer_is_not_read_past_its_end() {
        let mut whole = request().to_vec();
        whole.extend([8, 0, 2, 0, 7, 0, 0, 0]);
        whole[0] = whole.len() as u8;
        let mut table = Table::new();
        for end in 1..whole.len() {
            assert!(read(&whole[..end], &mut table).is_none(), "{end}");
        }
    }
}
