//! Runs a program as the kernel would: for `explain`, and for the tests.

use seccompiler::sock_filter;

use super::asm::{code, offset};
use super::vocabulary::Arch;

/// A system call as a filter sees it (`struct seccomp_data`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The number, x32's bit included.
    pub number: u32,
    /// The AUDIT_ARCH value.
    pub audit_arch: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// The arguments.
    pub args: [u64; 6],
}

impl Call {
    /// A call on `arch`.
    pub fn new(arch: Arch, number: u32, args: [u64; 6]) -> Self {
        Self { number, audit_arch: arch.audit(), instruction_pointer: 0, args }
    }

    /// The 32-bit word at `offset`, as a machine of this byte order lays the structure out.
    fn word(&self, offset: u32, big_endian: bool) -> Option<u32> {
        let half = |value: u64, second: bool| {
            if second != big_endian { (value >> 32) as u32 } else { value as u32 }
        };
        match offset {
            offset::NUMBER => Some(self.number),
            offset::ARCH => Some(self.audit_arch),
            8 | 12 => Some(half(self.instruction_pointer, offset == 12)),
            offset if offset % 4 == 0 && offset >= offset::ARGS => {
                let arg = self.args.get(((offset - offset::ARGS) / 8) as usize)?;
                Some(half(*arg, offset % 8 == 4))
            }
            _ => None,
        }
    }
}

/// The answer of a program, and how many instructions it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The return value.
    pub returns: u32,
    /// How many instructions ran.
    pub steps: usize,
    /// Whether the kernel (5.11 and later) answers the call from its bitmap without running the
    /// filter: it is allowed whatever its arguments are, in a way that the kernel can see.
    pub cacheable: bool,
}

/// Runs `filter`, or returns `None` for a program that the kernel would not have accepted.
pub fn run(filter: &[sock_filter], call: &Call) -> Option<Outcome> {
    let big_endian = call.audit_arch & 0x4000_0000 == 0;
    let (mut at, mut a, mut x, mut memory) = (0usize, 0u32, 0u32, [0u32; 16]);
    let mut cacheable = true;
    for steps in 1.. {
        let insn = filter.get(at)?;
        let k = insn.k;
        at += 1;
        let jump = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        match insn.code {
            code::LOAD => {
                a = call.word(k, big_endian)?;
                cacheable &= k == offset::NUMBER || k == offset::ARCH;
            }
            code::JUMP => at = at.checked_add(k as usize)?,
            code::JEQ => at += jump(a == k),
            code::JGT => at += jump(a > k),
            code::JGE => at += jump(a >= k),
            code::JSET => at += jump(a & k != 0),
            code::AND => a &= k,
            code::RETURN => {
                let allowed = k == super::Action::Allow.returns(None);
                return Some(Outcome { returns: k, steps, cacheable: cacheable && allowed });
            }
            other => {
                // libseccomp's few others: scratch memory and the index register.
                cacheable = false;
                match other {
                    0x00 => a = k,
                    0x01 => x = k,
                    0x02 => *memory.get_mut(k as usize)? = a,
                    0x03 => *memory.get_mut(k as usize)? = x,
                    0x60 => a = *memory.get(k as usize)?,
                    0x61 => x = *memory.get(k as usize)?,
                    0x07 => x = a,
                    0x87 => a = x,
                    _ => return None,
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    /// The layout of `struct seccomp_data`, on machines of either byte order.
    #[test]
    fn words_are_where_the_kernel_has_them() {
        let args = [0x1111_2222_3333_4444, 0, 0, 0, 0, 0xaaaa_bbbb_cccc_dddd];
        let mut call = Call::new(Arch::X86_64, 7, args);
        call.instruction_pointer = 0x5555_6666_7777_8888;
        let words = |big| [0, 4, 8, 12, 16, 20, 56, 60].map(|offset| call.word(offset, big).unwrap());
        let arch = Arch::X86_64.audit();
        assert_eq!(
            words(false),
            [7, arch, 0x7777_8888, 0x5555_6666, 0x3333_4444, 0x1111_2222, 0xcccc_dddd, 0xaaaa_bbbb]
        );
        assert_eq!(
            words(true),
            [7, arch, 0x5555_6666, 0x7777_8888, 0x1111_2222, 0x3333_4444, 0xaaaa_bbbb, 0xcccc_dddd]
        );
        assert_eq!((call.word(64, false), call.word(18, false)), (None, None));
    }

    /// What the kernel's checker refuses, the interpreter does not make up an answer for.
    #[test]
    fn invalid_programs_have_no_outcome() {
        let call = Call::default();
        for program in [
            vec![],
            vec![insn(code::JUMP, 0, 0, 9), insn(code::RETURN, 0, 0, 0)],
            vec![insn(code::LOAD, 0, 0, 64), insn(code::RETURN, 0, 0, 0)],
            vec![insn(code::JEQ, 5, 5, 0)],
            vec![insn(0xffff, 0, 0, 0)],
        ] {
            assert_eq!(run(&program, &call), None);
        }
    }
}
