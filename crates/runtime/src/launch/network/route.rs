//! rtnetlink(7): requests as bytes, answers as addresses. Pure, so that it is tested without a
//! kernel.

use rustix::io::Errno;

use crate::host::netlink::{Message, attributes, flag, messages, number};

/// Kinds of messages (linux/rtnetlink.h).
pub mod kind {
    #![allow(missing_docs)]
    pub const NEWLINK: u16 = 16;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
}

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const PERMANENT: u32 = 0x80;
/// Flags that a user gives; the others are the kernel's findings.
const GIVEN: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// An address of an interface, as it is given to another interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    /// Attributes that mean the same on any interface: the address, its peer, broadcast and metric.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Given by a user, for use everywhere: what came from the network, or is valid on one link
    /// only, stays behind.
    pub fn moves(&self) -> bool {
        self.flags & PERMANENT != 0 && self.scope == 0
    }
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    for (at, value) in [(4, index), (8, flags), (12, change)] {
        fixed[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    fixed
}

/// `struct ifaddrmsg`.
fn address(family: u8, prefix: u8, flags: u8, scope: u8, index: u32) -> [u8; 8] {
    let i = index.to_ne_bytes();
    [family, prefix, flags, scope, i[0], i[1], i[2], i[3]]
}

/// Moves the interface and names it in one request: its old name may be taken over there.
pub fn move_link(index: u32, name: &str, namespace: i32) -> Vec<u8> {
    let name: Vec<u8> = name.bytes().chain([0]).collect();
    Message::new(kind::NEWLINK, flag::ACK, &link(index, 0, 0))
        .attribute(IFLA_IFNAME, &name)
        .attribute(IFLA_NET_NS_FD, &namespace.to_ne_bytes())
        .done()
}

/// Brings the interface up.
pub fn link_up(index: u32) -> Vec<u8> {
    Message::new(kind::NEWLINK, flag::ACK, &link(index, IFF_UP, IFF_UP)).done()
}

/// Asks for all addresses of the namespace.
pub fn list_addresses() -> Vec<u8> {
    Message::new(kind::GETADDR, flag::DUMP, &address(0, 0, 0, 0, 0)).done()
}

/// Gives the interface an address.
pub fn add_address(index: u32, given: &Address) -> Vec<u8> {
    let fixed = address(given.family, given.prefix, 0, given.scope, index);
    let message = Message::new(kind::NEWADDR, flag::ACK | flag::CREATE | flag::EXCLUSIVE, &fixed);
    let message = message.attribute(IFA_FLAGS, &(given.flags & GIVEN).to_ne_bytes());
    given.attributes.iter().fold(message, |m, (kind, value)| m.attribute(*kind, value)).done()
}

/// The contents of one datagram of the kernel's answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Addresses of the interface asked for.
    pub addresses: Vec<Address>,
    /// No more will come: the acknowledgement, or the end of a list.
    pub end: bool,
}

/// Reads a datagram; an error in it is the kernel's errno. Only addresses of `index` are kept.
pub fn read_answer(bytes: &[u8], index: u32) -> Result<Answer, Errno> {
    let mut addresses = Vec::new();
    let end = messages(bytes, |kind, body| {
        if kind == kind::NEWADDR {
            addresses.extend(read_address(body, index)?);
        }
        Ok(())
    })?;
    Ok(Answer { addresses, end })
}

fn read_address(body: &[u8], wanted: u32) -> Result<Option<Address>, Errno> {
    let [family, prefix, flags, scope] = number(body, 0)?;
    if u32::from_ne_bytes(number(body, 4)?) != wanted {
        return Ok(None);
    }
    let mut found = Address { family, prefix, scope, flags: flags.into(), attributes: Vec::new() };
    attributes(body.get(8..).unwrap_or_default(), |kind, value| {
        match kind {
            // The flags that do not fit into the header's eight bits.
            IFA_FLAGS => found.flags = u32::from_ne_bytes(number(value, 0)?),
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY => found.attributes.push((kind, value.to_vec())),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::{DONE, ERROR};

    /// A list entry as the kernel sends it: 10.1.2.3/24 brd 10.1.2.255, permanent, on interface 7.
    fn listed(scope: u8, flags: u32) -> Vec<u8> {
        Message::new(kind::NEWADDR, 0, &address(2, 24, flags as u8, scope, 7))
            .attribute(IFA_ADDRESS, &[10, 1, 2, 3])
            .attribute(IFA_LOCAL, &[10, 1, 2, 3])
            .attribute(IFA_BROADCAST, &[10, 1, 2, 255])
            .attribute(3, b"eth0\0")
            .attribute(IFA_FLAGS, &flags.to_ne_bytes())
            .done()
    }

    /// An address keeps all that means the same elsewhere; the label, which is the old name, is
    /// left behind.
    #[test]
    fn an_address_moves_without_its_label() {
        let answer = read_answer(&listed(0, PERMANENT | 0x200), 7).unwrap();
        let [found] = &answer.addresses[..] else { panic!("{answer:?}") };
        assert!(found.moves() && !answer.end);
        let request = add_address(3, found);
        assert_eq!(u32::from_ne_bytes(number(&request, 0).unwrap()) as usize, request.len());
        let again = read_answer(&request, 3).unwrap();
        assert_eq!(again.addresses[0].attributes, found.attributes);
        assert_eq!(again.addresses[0].flags, 0x200);
        assert!(!request.windows(4).any(|w| w == b"eth0"));
    }

    /// What the network or the kernel gave is worth nothing in another namespace (runtime-spec,
    /// "Network Devices").
    #[test]
    fn only_permanent_global_addresses_move() {
        for (scope, flags, moves) in [(0, PERMANENT, true), (0, 0, false), (253, PERMANENT, false)] {
            assert_eq!(read_answer(&listed(scope, flags), 7).unwrap().addresses[0].moves(), moves, "{scope} {flags}");
        }
        assert_eq!(read_answer(&listed(0, PERMANENT), 8).unwrap().addresses, []);
    }

    /// The kernel's refusal is an errno, its acknowledgement an end, and a cut datagram no reason
    /// to read past it.
    #[test]
    fn errors_ends_and_cut_answers() {
        let error = |code: i32| Message::new(ERROR, 0, &code.to_ne_bytes()).done();
        assert_eq!(read_answer(&error(-17), 0), Err(Errno::EXIST));
        assert!(read_answer(&error(0), 0).unwrap().end);
        assert!(read_answer(&Message::new(DONE, 0, &[0; 4]).done(), 0).unwrap().end);
        let whole = [listed(0, PERMANENT), error(0)].concat();
        for end in 1..whole.len() {
            if let Ok(answer) = read_answer(&whole[..end], 7) {
                assert!(answer.addresses.len() <= 1);
            }
        }
    }
}
