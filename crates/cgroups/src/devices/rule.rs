//! One rule on devices, in the form that both the emulator and the kernel compute with.

use std::fmt;

use rt_resources::check::device_number;
use rt_resources::model::{DeviceKind, DeviceRule};

use crate::error::Error;

/// Block or character device, with the numbers of `BPF_DEVCG_DEV_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Block = 1,
    Char = 2,
}

/// A set of mknod, read and write, with the bits of `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access(u8);

impl Access {
    pub(crate) const ALL: Access = Access(7);

    const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

    /// Reads letters; `None` if there are letters and none of them is known. Unknown letters beside
    /// known letters are ignored.
    pub(crate) fn parse(letters: &str) -> Option<Access> {
        let bits = Access::LETTERS.into_iter().filter(|(known, _)| letters.contains(*known)).map(|(_, bit)| bit);
        let access = Access(bits.sum());
        (!access.is_empty() || letters.is_empty()).then_some(access)
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn with(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    pub(crate) fn overlaps(self, other: Access) -> bool {
        self.0 & other.0 != 0
    }

    #[cfg(test)]
    pub(crate) fn from_bits(bits: u8) -> Access {
        Access(bits & 7)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Access::LETTERS
            .into_iter()
            .filter(|(_, bit)| self.0 & bit != 0)
            .try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

/// Devices of one type; no number stands for every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Devices {
    pub(crate) node: Node,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
}

impl Devices {
    /// True when every device of `other` is one of these.
    pub(crate) fn cover(&self, other: &Devices) -> bool {
        let covers = |mine: Option<u32>, theirs| mine.is_none() || mine == theirs;
        self.node == other.node && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// True when some device is both one of these and one of `other`.
    pub(crate) fn meet(&self, other: &Devices) -> bool {
        let meets = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || theirs.is_none() || mine == theirs;
        self.node == other.node && meets(self.major, other.major) && meets(self.minor, other.minor)
    }
}

/// As cgroup v1 writes it, without the access: `c 1:*`.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.node {
            Node::Block => 'b',
            Node::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{letter} {}:{}", number(self.major), number(self.minor))
    }
}

/// Allows or denies some access to some devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) devices: Devices,
    pub(crate) access: Access,
}

/// What a rule of config.json means: everything at once, or some devices of one or both types.
pub(crate) enum Meaning {
    Everything { allow: bool },
    Some(Vec<Rule>),
}

/// Reads entry `index` of `devices`.
///
/// A rule for type `a` that is limited in numbers or access is taken at its word, for both types of
/// devices. (runc takes it for everything, the way cgroup v1 does: a rule that allows `a 10:200`
/// would allow every disk.)
pub(crate) fn parse(index: usize, rule: &DeviceRule) -> Result<Meaning, Error> {
    let invalid = |field: &str, value: &dyn fmt::Display, why| Error::Invalid {
        pointer: format!("/devices/{index}/{field}"),
        value: value.to_string(),
        why,
    };
    let nodes: &[Node] = match &rule.kind {
        None | Some(DeviceKind::All) => &[Node::Block, Node::Char],
        Some(DeviceKind::Block) => &[Node::Block],
        Some(DeviceKind::Char) => &[Node::Char],
        Some(DeviceKind::Unknown(letter)) => {
            return Err(invalid("type", letter, "not a type of device"));
        }
    };
    let number = |field, value: Option<i64>| {
        let value = value.unwrap_or(-1);
        device_number(value).ok_or_else(|| invalid(field, &value, "neither a device number nor -1"))
    };
    let (major, minor) = (number("major", rule.major)?, number("minor", rule.minor)?);
    let letters = rule.access.as_deref().unwrap_or("rwm");
    let access =
        Access::parse(letters).ok_or_else(|| invalid("access", &letters, "only r, w and m are kinds of access"))?;
    if nodes.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
        return Ok(Meaning::Everything { allow: rule.allow });
    }
    let rule = |&node| Rule { allow: rule.allow, devices: Devices { node, major, minor }, access };
    Ok(Meaning::Some(nodes.iter().map(rule).collect()))
}
