//! Actions: their words in a profile and their return values in BPF.

use super::vocabulary::{Vocabulary, vocabulary};

vocabulary! {
    /// What happens to a system call.
    Action {
        /// Kill the thread; an older word for [`Action::KillThread`].
        Kill = "SCMP_ACT_KILL",
        /// Kill the thread.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// Kill the process.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Send SIGSYS.
        Trap = "SCMP_ACT_TRAP",
        /// Fail with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// Ask the tracer.
        Trace = "SCMP_ACT_TRACE",
        /// Allow, and log.
        Log = "SCMP_ACT_LOG",
        /// Ask the agent behind `listenerPath`.
        Notify = "SCMP_ACT_NOTIFY",
        /// Allow.
        Allow = "SCMP_ACT_ALLOW",
    }
}

/// `EPERM`, the errno of actions that want one when the profile names none.
pub(super) const EPERM: u32 = 1;
/// `ENOSYS` as the return value of a filter.
pub(super) const RETURN_ENOSYS: u32 = 0x0005_0000 | 38;
/// Kills the thread: what libseccomp, and so runc, returns for an architecture that the profile
/// does not name.
pub(super) const RETURN_KILL_THREAD: u32 = 0;
/// The upper half of a return value is the action, the lower its data (linux/seccomp.h).
pub(super) const RETURN_DATA: u32 = 0xffff;

impl Action {
    /// The filter's return value (linux/seccomp.h), with `errno` where the action carries one.
    pub fn returns(self, errno: Option<u16>) -> u32 {
        let data = errno.map_or(EPERM, u32::from);
        match self {
            Self::Kill | Self::KillThread => RETURN_KILL_THREAD,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno => 0x0005_0000 | data,
            Self::Trace => 0x7ff0_0000 | data,
            Self::Log => 0x7ffc_0000,
            Self::Notify => 0x7fc0_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// Whether `errnoRet` means anything.
    pub fn carries_errno(self) -> bool {
        matches!(self, Self::Errno | Self::Trace)
    }

    /// The action of a return value, in its modern word.
    pub fn from_return(value: u32) -> Option<Self> {
        use Action::*;
        [KillThread, KillProcess, Trap, Errno, Trace, Log, Notify, Allow]
            .into_iter()
            .find(|action| action.returns(Some(0)) == value & !RETURN_DATA)
    }
}

/// A return value for people: `SCMP_ACT_ERRNO(38)`.
pub fn describe_return(value: u32) -> String {
    match Action::from_return(value) {
        Some(action) if action.carries_errno() => {
            format!("{}({})", action.word(), value & RETURN_DATA)
        }
        Some(action) => action.word().to_owned(),
        None => format!("{value:#010x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are the kernel's ABI (linux/seccomp.h, SECCOMP_RET_*).
    #[test]
    fn return_values_are_the_kernels() {
        for (word, value) in [
            ("SCMP_ACT_KILL", 0),
            ("SCMP_ACT_KILL_THREAD", 0),
            ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
            ("SCMP_ACT_TRAP", 0x0003_0000),
            ("SCMP_ACT_ERRNO", 0x0005_0001),
            ("SCMP_ACT_TRACE", 0x7ff0_0001),
            ("SCMP_ACT_LOG", 0x7ffc_0000),
            ("SCMP_ACT_NOTIFY", 0x7fc0_0000),
            ("SCMP_ACT_ALLOW", 0x7fff_0000),
        ] {
            assert_eq!(Action::from_word(word).unwrap().returns(None), value, "{word}");
        }
        assert_eq!(describe_return(RETURN_ENOSYS), "SCMP_ACT_ERRNO(38)");
        assert_eq!(describe_return(0x1234_0000), "0x12340000");
    }
}
