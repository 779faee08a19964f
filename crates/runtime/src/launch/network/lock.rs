//! A network namespace in which no TCP connection gets anything for a while.
//!
//! A packet for a connection whose socket is not there yet is answered by the kernel with a reset,
//! which ends the connection on the other side. What is dropped instead is sent again. CRIU has such a
//! lock only for network namespaces that it makes itself, and closes it after hooks have run.

use std::os::fd::BorrowedFd;

use nix::sys::socket::SockProtocol;
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::host::netlink::{Message, Netlink, attribute, flag, messages, nested};
use crate::host::thread::apart;

/// Kinds of messages (linux/netfilter/nfnetlink.h, nf_tables.h).
mod kind {
    const NF_TABLES: u16 = 10 << 8;
    pub const BATCH_BEGIN: u16 = 16;
    pub const BATCH_END: u16 = 17;
    pub const NEW_TABLE: u16 = NF_TABLES;
    pub const NEW_CHAIN: u16 = NF_TABLES | 3;
    pub const NEW_RULE: u16 = NF_TABLES | 6;
}

/// `struct nfgenmsg` of a message about tables: both versions of IP.
const INET: [u8; 4] = [1, 0, 0, 0];

/// `struct nfgenmsg` of the begin and the end: the subsystem is that of tables.
const BATCH: [u8; 4] = [0, 0, 0, 10];

/// The table goes with the socket that has made it (Linux 5.12).
const OWNER: u32 = 2;

const LOCAL_IN: u32 = 1;
/// Before all chains of users.
const FIRST: i32 = -500;

/// What the rule is made of: a register gets the protocol, is compared, and a verdict follows.
const REGISTER: u32 = 1;
const L4PROTO: u32 = 16;
const EQUAL: u32 = 0;
const TCP: u8 = 6;
const VERDICT: u32 = 0;
const DROP: u32 = 0;

const NAME: &[u8] = b"rt-restore\0";
const INPUT: &[u8] = b"input\0";

/// The lock; it ends with this value, and with the process.
pub struct NetworkLock(#[expect(dead_code, reason = "kept open")] Netlink);

impl NetworkLock {
    /// Locks the network namespace behind `namespace`, which may be a pidfd.
    pub fn close(namespace: BorrowedFd<'_>) -> Result<NetworkLock, Errno> {
        apart(|| {
            move_into_thread_name_spaces(namespace, ThreadNameSpaceType::NETWORK)?;
            let socket = Netlink::open(SockProtocol::NetlinkNetFilter)?;
            socket.ask(&request(), |datagram| messages(datagram, |_, _| Ok(())))?;
            Ok(NetworkLock(socket))
        })
    }
}

/// One transaction: a table, a chain that sees what comes in, and a rule that drops TCP. The numbers of
/// attributes are those of linux/netfilter/nf_tables.h.
fn request() -> Vec<u8> {
    let number = |kind, value: u32| attribute(kind, &value.to_be_bytes());
    let expression = |name: &[u8], data: &[Vec<u8>]| nested(1, &[attribute(1, name), nested(2, data)]);
    let hook = nested(4, &[number(1, LOCAL_IN), number(2, FIRST as u32)]);
    let rule = [
        expression(b"meta\0", &[number(1, REGISTER), number(2, L4PROTO)]),
        expression(b"cmp\0", &[number(1, REGISTER), number(2, EQUAL), nested(3, &[attribute(1, &[TCP])])]),
        expression(b"immediate\0", &[number(1, VERDICT), nested(2, &[nested(2, &[number(1, DROP)])])]),
    ];
    let (create, last) = (flag::CREATE, flag::CREATE | flag::ACK);
    let messages = [
        Message::new(kind::BATCH_BEGIN, 0, &BATCH),
        Message::new(kind::NEW_TABLE, create, &INET).attribute(1, NAME).attributes(&number(2, OWNER)),
        Message::new(kind::NEW_CHAIN, create, &INET)
            .attribute(1, NAME)
            .attribute(3, INPUT)
            .attributes(&hook)
            .attribute(7, b"filter\0"),
        Message::new(kind::NEW_RULE, last, &INET).attribute(1, NAME).attribute(2, INPUT).attributes(&nested(4, &rule)),
        Message::new(kind::BATCH_END, 0, &BATCH),
    ];
    messages.into_iter().flat_map(Message::done).collect()
}
