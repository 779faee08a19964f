//! What the stub reports over its socket: one message per event, and for a failure which op, which
//! step, which errno.

/// What a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Namespaces are made and the rootfs is mounted; runtime-namespace hooks may run. The stub
    /// waits for one byte.
    Hooks = 1,
    /// Everything up to the start barrier is done. The stub waits for one byte.
    Ready = 2,
    /// An op failed; the stub exits.
    Failed = 3,
    /// Something that a warning is enough for; the stub goes on.
    Warning = 4,
    /// The stub wants the source of the bind mount that is the op, opened by the parent ([`Lent`]).
    Tree = 5,
    /// What is known of the program that could not be executed, after [`Kind::Failed`]: its path,
    /// its loader's, its first bytes, with a NUL after each of the first two.
    Program = 6,
}

/// The part of an op that failed, where one op makes several system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // `text` says what each means
pub enum Step {
    Only = 0,
    Source = 1,
    Target = 2,
    Create = 3,
    Filesystem = 4,
    Option = 5,
    Superblock = 6,
    Attributes = 7,
    Attach = 8,
    Propagation = 9,
    CopyUp = 10,
    Verify = 11,
    Write = 12,
    Pty = 13,
    Send = 14,
    Idmap = 15,
    Wait = 16,
    HookExit = 17,
    HookSignal = 18,
    HookTimeout = 19,
    OutsideRoot = 20,
    LoadPlan = 21,
    InsideProc = 22,
    NotProc = 23,
}

impl Step {
    const ALL: [Step; 24] = [
        Step::Only,
        Step::Source,
        Step::Target,
        Step::Create,
        Step::Filesystem,
        Step::Option,
        Step::Superblock,
        Step::Attributes,
        Step::Attach,
        Step::Propagation,
        Step::CopyUp,
        Step::Verify,
        Step::Write,
        Step::Pty,
        Step::Send,
        Step::Idmap,
        Step::Wait,
        Step::HookExit,
        Step::HookSignal,
        Step::HookTimeout,
        Step::OutsideRoot,
        Step::LoadPlan,
        Step::InsideProc,
        Step::NotProc,
    ];

    /// The step with this number.
    pub fn from_number(n: u32) -> Step {
        Self::ALL.get(n as usize).copied().unwrap_or(Step::Only)
    }

    /// What was being done, to be put before the errno text.
    pub fn text(self) -> Option<&'static str> {
        Some(match self {
            Step::Only => return None,
            Step::Source => "open the source",
            Step::Target => "open the destination",
            Step::Create => "create the destination in the rootfs",
            Step::Filesystem => "filesystem type",
            Step::Option => "mount option",
            Step::Superblock => "create the filesystem",
            Step::Attributes => "set the mount's attributes",
            Step::Attach => "attach the mount",
            Step::Propagation => "set the propagation",
            Step::CopyUp => "copy the directory below into the tmpfs",
            Step::Verify => "it is not what it must be",
            Step::Write => "write",
            Step::Pty => "open a pseudo-terminal",
            Step::Send => "send over the socket",
            Step::Idmap => "map ids",
            Step::Wait => "wait",
            Step::HookExit => "exit status",
            Step::HookSignal => "killed by signal",
            Step::HookTimeout => "timed out",
            Step::OutsideRoot => "current working directory is outside of container mount namespace root",
            Step::LoadPlan => "read the plan",
            Step::InsideProc => "cannot be mounted because it is inside /proc",
            Step::NotProc => "cannot be mounted because it is not of type proc",
        })
    }
}

/// Bytes of a message before its detail.
pub const HEAD: usize = 16;
/// The longest detail, e.g. what the filesystem said about a mount option.
pub const MAX_DETAIL: usize = 496;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it means.
    pub kind: Kind,
    /// The index of the op in the plan.
    pub op: u32,
    /// The step in the op.
    pub step: Step,
    /// The errno, or for hooks the exit status or signal.
    pub errno: u32,
}

impl Report {
    /// The message's first [`HEAD`] bytes.
    pub fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        let words = [self.kind as u32, self.op, self.step as u32, self.errno];
        for (place, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        out
    }

    /// Reads a message; what follows the head is the detail.
    pub fn decode(bytes: &[u8]) -> Option<(Report, &[u8])> {
        let (head, detail) = bytes.split_at_checked(HEAD)?;
        let mut words = head.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c));
        let kind = match words.next()? {
            1 => Kind::Hooks,
            2 => Kind::Ready,
            3 => Kind::Failed,
            4 => Kind::Warning,
            5 => Kind::Tree,
            6 => Kind::Program,
            _ => return None,
        };
        let op = words.next()?;
        let step = Step::from_number(words.next()?);
        let errno = words.next()?;
        Some((Report { kind, op, step, errno }, detail))
    }
}

/// The parent's answer to [`Kind::Tree`]: a message with the descriptor of the tree, or without and
/// with the reason.
pub struct Lent {
    /// What the parent could not do.
    pub step: Step,
    /// Why.
    pub errno: u32,
}

/// Bytes of an answer.
pub const LENT: usize = 8;

impl Lent {
    /// The message's bytes.
    pub fn encode(&self) -> [u8; LENT] {
        let mut out = [0; LENT];
        out[..4].copy_from_slice(&(self.step as u32).to_le_bytes());
        out[4..].copy_from_slice(&self.errno.to_le_bytes());
        out
    }

    /// Reads an answer.
    pub fn decode(bytes: &[u8; LENT]) -> Lent {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Lent { step: Step::from_number(u32::from_le_bytes([a, b, c, d])), errno: u32::from_le_bytes([e, f, g, h]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parent must read exactly what the stub wrote.
    #[test]
    fn a_report_survives_the_socket() {
        for step in Step::ALL {
            assert_eq!(Step::from_number(step as u32), step);
            let report = Report { kind: Kind::Failed, op: 7, step, errno: 2 };
            assert_eq!(Report::decode(&report.encode()), Some((report, &[][..])));
        }
        assert_eq!(Report::decode(&[0; HEAD]), None);
        assert_eq!(Report::decode(&[1; 3]), None);
    }
}
