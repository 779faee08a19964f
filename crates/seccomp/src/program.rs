//! A compiled profile, and its form in the state directory.

use seccompiler::sock_filter;

/// The longest program that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The flag of seccomp(2) that returns a notify descriptor.
pub(super) const NEW_LISTENER: u32 = 1 << 3;

/// The arguments of seccomp(SECCOMP_SET_MODE_FILTER).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions.
    pub filter: Vec<sock_filter>,
    /// SECCOMP_FILTER_FLAG_*, with NEW_LISTENER if `notify`.
    pub flags: u32,
    /// Whether the call returns a descriptor for an agent.
    pub notify: bool,
}

/// Why bytes are not a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// They do not begin as a program does, or with another version.
    #[error("not a compiled seccomp profile of this version")]
    Magic,
    /// Fewer or more than the header says, or no instruction, or too many.
    #[error("a compiled seccomp profile of the wrong length")]
    Length,
}

/// "rtsc" and a version: exec must not load what another build wrote in another form.
const MAGIC: [u8; 8] = *b"rtscbpf\x01";
const HEADER: usize = MAGIC.len() + 8;
const INSTRUCTION: usize = 8;

impl Program {
    /// The bytes to keep: magic, flags, instruction count, instructions; all little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + INSTRUCTION * self.filter.len());
        bytes.extend(MAGIC);
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend((self.filter.len() as u32).to_le_bytes());
        for insn in &self.filter {
            bytes.extend(insn.code.to_le_bytes());
            bytes.extend([insn.jt, insn.jf]);
            bytes.extend(insn.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Program::to_bytes`] wrote. The kernel verifies the instructions themselves.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(ParseError::Magic)?;
        if *magic != MAGIC {
            return Err(ParseError::Magic);
        }
        let (flags, rest) = rest.split_first_chunk().ok_or(ParseError::Length)?;
        let (count, rest) = rest.split_first_chunk().ok_or(ParseError::Length)?;
        let (flags, count) = (u32::from_le_bytes(*flags), u32::from_le_bytes(*count) as usize);
        if !(1..=MAX_INSTRUCTIONS).contains(&count) || rest.len() != count * INSTRUCTION {
            return Err(ParseError::Length);
        }
        let filter = rest.as_chunks::<INSTRUCTION>().0.iter().map(|&[c0, c1, jt, jf, k @ ..]| sock_filter {
            code: u16::from_le_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_le_bytes(k),
        });
        Ok(Self { filter: filter.collect(), flags, notify: flags & NEW_LISTENER != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        let insn = |code, k| sock_filter { code, jt: 1, jf: 2, k };
        Program { filter: vec![insn(0x20, 4), insn(0x06, 0x7fff_0000)], flags: NEW_LISTENER | 4, notify: true }
    }

    /// exec loads the program that create compiled.
    #[test]
    fn bytes_survive_the_round_trip() {
        assert_eq!(Program::from_bytes(&program().to_bytes()), Ok(program()));
    }

    /// A state directory damaged by a crash must not become a shorter, more permissive filter.
    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = program().to_bytes();
        for cut in 0..bytes.len() {
            assert!(Program::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Program::from_bytes(&[bytes.clone(), vec![0]].concat()), Err(ParseError::Length));
        let mut other_version = bytes;
        other_version[7] += 1;
        assert_eq!(Program::from_bytes(&other_version), Err(ParseError::Magic));
    }
}
