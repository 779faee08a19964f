//! What can be wrong with a profile, and where in it.

use std::fmt;

use super::program::MAX_INSTRUCTIONS;

/// Why a profile cannot be compiled. Every variant knows the field, see [`Error::pointer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A word that is no architecture, or an architecture without a table here.
    #[error("{word:?} is not a seccomp action")]
    UnknownAction {
        /// The field.
        pointer: String,
        /// The word.
        word: String,
    },
    /// A word that is no architecture, or one without a table here.
    #[error("{word:?} is not a known seccomp architecture")]
    UnknownArch {
        /// The field.
        pointer: String,
        /// The word.
        word: String,
    },
    /// A word that is no flag.
    #[error("{word:?} is not a seccomp flag")]
    UnknownFlag {
        /// The field.
        pointer: String,
        /// The word.
        word: String,
    },
    /// A word that is no comparison.
    #[error("{word:?} is not a seccomp operator")]
    UnknownOperator {
        /// The field.
        pointer: String,
        /// The word.
        word: String,
    },
    /// An action that this kernel lacks.
    #[error("this kernel has no seccomp action {action}")]
    UnsupportedAction {
        /// The field.
        pointer: String,
        /// The action.
        action: &'static str,
    },
    /// A flag that this kernel lacks.
    #[error("this kernel has no seccomp flag {flag}")]
    UnsupportedFlag {
        /// The field.
        pointer: String,
        /// The flag.
        flag: &'static str,
    },
    /// An architecture that this machine cannot run: one of the other byte order.
    #[error("{arch} has another byte order than this machine")]
    ForeignByteOrder {
        /// The field.
        pointer: String,
        /// The architecture.
        arch: &'static str,
    },
    /// A name without a letter.
    #[error("the empty string is not a system call")]
    EmptyName {
        /// The field.
        pointer: String,
    },
    /// An errno that does not fit a filter's return value.
    #[error("errno {value} is larger than 65535")]
    ErrnoRange {
        /// The field.
        pointer: String,
        /// The errno.
        value: u32,
    },
    /// A system call has six arguments.
    #[error("a system call has no argument {index}; the last one is 5")]
    ArgumentIndex {
        /// The field.
        pointer: String,
        /// The index.
        index: u32,
    },
    /// Every system call of the container would wait for the agent, even those that set it up.
    #[error("SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault {
        /// The field.
        pointer: String,
    },
    /// The runtime reports the notify descriptor by write(2), after the filter is attached.
    #[error("SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyOnWrite {
        /// The field.
        pointer: String,
    },
    /// Two rules say different things about the same case.
    #[error("contradicts {other}: the same conditions for {syscall} on {arch}, but another action")]
    Contradiction {
        /// The later rule.
        pointer: String,
        /// The earlier rule.
        other: String,
        /// The system call.
        syscall: String,
        /// The architecture.
        arch: &'static str,
    },
    /// The kernel takes programs of up to 4096 instructions (BPF_MAXINSNS).
    #[error("the profile needs {instructions} BPF instructions, the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong {
        /// How many it would be, or at least are.
        instructions: usize,
    },
}

impl Error {
    /// The field that is wrong, a JSON pointer relative to `/linux/seccomp`. Empty for the profile
    /// as a whole.
    pub fn pointer(&self) -> &str {
        match self {
            Self::UnknownAction { pointer, .. }
            | Self::UnknownArch { pointer, .. }
            | Self::UnknownFlag { pointer, .. }
            | Self::UnknownOperator { pointer, .. }
            | Self::UnsupportedAction { pointer, .. }
            | Self::UnsupportedFlag { pointer, .. }
            | Self::ForeignByteOrder { pointer, .. }
            | Self::EmptyName { pointer }
            | Self::ErrnoRange { pointer, .. }
            | Self::ArgumentIndex { pointer, .. }
            | Self::NotifyByDefault { pointer }
            | Self::NotifyOnWrite { pointer }
            | Self::Contradiction { pointer, .. } => pointer,
            Self::TooLong { .. } => "",
        }
    }

    /// What a person can do about it, where that is not obvious.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotifyOnWrite { .. } => "the runtime itself needs write(2) to hand the agent its descriptor",
            Self::NotifyByDefault { .. } => "name the system calls that the agent should see",
            Self::Contradiction { .. } => {
                "socket and ipc calls share one number on 32-bit x86; drop one rule or the architecture"
            }
            Self::UnsupportedFlag { .. } => "drop the flag, or use a newer kernel",
            Self::TooLong { .. } => "use fewer conditions on arguments or fewer architectures",
            _ => return None,
        })
    }
}

/// Something that is skipped without changing what the rest of the profile means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A system call that no kernel we know has; runc skips it, too.
    UnknownSyscall {
        /// The field.
        pointer: String,
        /// The name.
        name: String,
    },
    /// `errnoRet` on an action that returns none.
    ErrnoIgnored {
        /// The field.
        pointer: String,
    },
    /// The default action already does what the rule says, for whatever earlier rules leave to it.
    SameAsDefault {
        /// The rule.
        pointer: String,
    },
    /// No listener for the notifications: the config has to name one.
    NoListener,
    /// `listenerMetadata` without `listenerPath`.
    MetadataWithoutListener,
}

impl Warning {
    /// The field it is about, a JSON pointer relative to `/linux/seccomp`.
    pub fn pointer(&self) -> &str {
        match self {
            Self::UnknownSyscall { pointer, .. } | Self::ErrnoIgnored { pointer } | Self::SameAsDefault { pointer } => {
                pointer
            }
            Self::NoListener => "/listenerPath",
            Self::MetadataWithoutListener => "/listenerMetadata",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::UnknownSyscall { name, .. } => write!(f, "unknown system call {name:?} ignored"),
            Self::ErrnoIgnored { .. } => f.write_str("errnoRet ignored: the action returns no errno"),
            Self::SameAsDefault { .. } => f.write_str("rule ignored: its action is the default action"),
            Self::NoListener => f.write_str("SCMP_ACT_NOTIFY is used, but listenerPath is not set"),
            Self::MetadataWithoutListener => f.write_str("listenerMetadata ignored: listenerPath is not set"),
        }
    }
}
