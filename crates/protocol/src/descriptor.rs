//! Descriptors in ops: as the plan names them, and as the launcher has opened them for init.

use core::fmt;

use crate::wire::{Malformed, Put, Reader, Sink, Take};

/// A descriptor that the launcher opens for one op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The console socket.
    Console,
    /// The listening socket of the start barrier.
    Start,
    /// The connection to the seccomp agent.
    SeccompAgent,
    /// The pidfd socket.
    Pidfd,
    /// The user namespace with the id maps of this number, for id-mapped mounts.
    Idmap(u32),
    /// The base of new mount namespaces; the launcher may have none.
    Base,
}

/// The descriptor field of an op.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// None: the op does without.
    None,
    /// To be opened by the launcher, which replaces it by `Open`.
    Slot(Slot),
    /// This number in init's table.
    Open(i32),
}

impl Descriptor {
    /// The number in init's table, if there is a descriptor.
    pub fn number(self) -> Option<i32> {
        match self {
            Descriptor::Open(number) => Some(number),
            Descriptor::None | Descriptor::Slot(_) => None,
        }
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Descriptor::None => f.write_str("none"),
            Descriptor::Slot(slot) => slot.fmt(f),
            Descriptor::Open(number) => number.fmt(f),
        }
    }
}

/// As a number, -1 for none. A slot that has not been filled is none.
impl Put for Descriptor {
    fn put(&self, sink: &mut impl Sink) {
        self.number().unwrap_or(-1).put(sink);
    }
}

impl Take<'_> for Descriptor {
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = i32::take(reader)?;
        Ok(if number < 0 { Descriptor::None } else { Descriptor::Open(number) })
    }
}
