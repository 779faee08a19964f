//! The unix sockets of a network namespace and which of them are connected, from the kernel's
//! socket diagnostics (sock_diag(7)).

use std::collections::HashMap;
use std::os::fd::AsFd;

use nix::sys::socket::SockProtocol;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::host::netlink::{Message, Netlink, attributes, flag, messages, number};
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
/// `struct unix_diag_msg`, in front of the attributes.
const FIXED: usize = 16;
const UNIX_DIAG_PEER: u16 = 2;

/// Lists the sockets of the network namespace that the process is in.
pub fn list(pid: i32) -> Result<Table, Errno> {
    apart(|| {
        let path = format!("/proc/{pid}/ns/net");
        let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        move_into_thread_name_spaces(namespace.as_fd(), ThreadNameSpaceType::NETWORK)?;
        ask()
    })
}

fn ask() -> Result<Table, Errno> {
    let mut table = Table::new();
    Netlink::open(SockProtocol::NetlinkSockDiag)?.ask(&request(), |datagram| read(datagram, &mut table))?;
    Ok(table)
}

/// `struct unix_diag_req`: all sockets in all states, with their peers.
fn request() -> Vec<u8> {
    const UDIAG_SHOW_PEER: u32 = 4;
    let mut fixed = [0; 24];
    fixed[0] = nix::libc::AF_UNIX as u8;
    fixed[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    fixed[12..16].copy_from_slice(&UDIAG_SHOW_PEER.to_ne_bytes());
    Message::new(BY_FAMILY, flag::DUMP, &fixed).done()
}

/// Reads a datagram of the answer. True at the end of the list.
fn read(bytes: &[u8], table: &mut Table) -> Result<bool, Errno> {
    messages(bytes, |_, body| {
        let [_, kind, ..] = number::<4>(body, 0)?;
        let inode = u32::from_ne_bytes(number(body, 4)?);
        let mut peer = None;
        attributes(body.get(FIXED..).ok_or(Errno::BADMSG)?, |attribute, value| {
            if attribute == UNIX_DIAG_PEER {
                let inode = u32::from_ne_bytes(number(value, 0)?);
                // A connection that nobody has accepted has a peer without an inode.
                peer = (inode != 0).then_some(inode.into());
            }
            Ok(())
        })?;
        table.insert(inode.into(), Unix { kind, peer });
        Ok(())
    })
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
        let whole = Message::new(BY_FAMILY, 0, &[1; FIXED]).attribute(UNIX_DIAG_PEER, &7_u32.to_ne_bytes()).done();
        let mut table = Table::new();
        assert_eq!(read(&whole, &mut table), Ok(false));
        assert_eq!(table[&0x0101_0101], Unix { kind: 1, peer: Some(7) });
        for end in 1..whole.len() {
            assert!(read(&whole[..end], &mut table).is_err(), "{end}");
        }
    }
}
