//! The eBPF program of a device filter.
//!
//! It answers per kind of access, as the rules do: the rules are tried from the last to the first; one that denies
//! a kind of access still asked for ends it, one that allows takes its kinds off what is asked for. When nothing is
//! left the access is allowed, and the default decides what no rule spoke of.
//!
//! The verifier walks every path through the program that it cannot tell from one it has seen. So what a test finds
//! out about the device must not be known behind it: the numbers are compared in a scratch register, all at once.
//! With a jump per number, a few hundred rules are "too large" already.

use rt_sys::bpf::Insn;

use super::filter::Filter;
use super::rule::{Access, Rule};

/// Result, and scratch.
const R0: u8 = 0;
/// Argument: a pointer to `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`; then scratch.
const R1: u8 = 1;
/// Where the program keeps the device's type, the access still to be decided, and the device's numbers.
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Assembles the program for a filter.
pub(crate) fn assemble(filter: &Filter) -> Vec<Insn> {
    let mut program = Vec::with_capacity(8 + filter.rules.len() * 12);
    program.extend([
        load32(TYPE, R1, 0),
        move32(ACCESS, TYPE),
        and32(TYPE, 0xffff),
        shift_right32(ACCESS, 16),
        load32(MAJOR, R1, 4),
        load32(MINOR, R1, 8),
    ]);
    for rule in filter.rules.iter().rev() {
        push_rule(&mut program, rule);
    }
    program.extend(answer(filter.default_allow));
    program
}

/// One rule: a test that jumps behind it when it does not apply, then what it decides.
fn push_rule(program: &mut Vec<Insn>, rule: &Rule) {
    let verdict = answer(rule.allow);
    let mut body = Vec::with_capacity(4);
    if rule.access == Access::ALL {
        // Whatever is still asked for, this rule decides it.
    } else if rule.allow {
        let rest = Access::ALL.without(rule.access).bits();
        body.push(and32(ACCESS, i32::from(rest)));
        body.push(jump_not_equal32(ACCESS, 0, verdict.len() as i16));
    } else {
        body.push(jump_any_set32(ACCESS, i32::from(rule.access.bits()), 1));
        body.push(jump(verdict.len() as i16));
    }
    body.extend(verdict);

    // R0 = 0 when everything is equal.
    program.extend([move32(R0, TYPE), xor32(R0, rule.devices.node as u32)]);
    for (register, number) in [(MAJOR, rule.devices.major), (MINOR, rule.devices.minor)] {
        if let Some(number) = number {
            program.extend([move32(R1, register), xor32(R1, number), or32(R0, R1)]);
        }
    }
    program.push(jump_not_equal32(R0, 0, body.len() as i16));
    program.extend(body);
}

fn answer(allow: bool) -> [Insn; 2] {
    [move_immediate(R0, i32::from(allow)), exit()]
}

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: dst | src << 4, off, imm }
}

/// `BPF_LDX | BPF_MEM | BPF_W`
const fn load32(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x61, dst, src, off, 0)
}

/// `BPF_ALU | BPF_MOV | BPF_X`
const fn move32(dst: u8, src: u8) -> Insn {
    insn(0xbc, dst, src, 0, 0)
}

/// `BPF_ALU | BPF_XOR | BPF_K`
const fn xor32(dst: u8, number: u32) -> Insn {
    insn(0xa4, dst, 0, 0, number as i32)
}

/// `BPF_ALU | BPF_OR | BPF_X`
const fn or32(dst: u8, src: u8) -> Insn {
    insn(0x4c, dst, src, 0, 0)
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`
const fn move_immediate(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// `BPF_ALU | BPF_AND | BPF_K`
const fn and32(dst: u8, imm: i32) -> Insn {
    insn(0x54, dst, 0, 0, imm)
}

/// `BPF_ALU | BPF_RSH | BPF_K`
const fn shift_right32(dst: u8, imm: i32) -> Insn {
    insn(0x74, dst, 0, 0, imm)
}

/// `BPF_JMP | BPF_JA`
const fn jump(off: i16) -> Insn {
    insn(0x05, 0, 0, off, 0)
}

/// `BPF_JMP32 | BPF_JNE | BPF_K` (Linux 5.1)
const fn jump_not_equal32(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x56, dst, 0, off, imm)
}

/// `BPF_JMP32 | BPF_JSET | BPF_K` (Linux 5.1)
const fn jump_any_set32(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x46, dst, 0, off, imm)
}

/// `BPF_JMP | BPF_EXIT`
const fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::tests::{accesses, naive, rules};
    use super::super::rule::Node;
    use super::*;

    /// Runs the program in an interpreter.
    fn run(program: &[u8], node: Node, major: u32, minor: u32, access: Access) -> bool {
        let access_type = u32::from(access.bits()) << 16 | node as u32;
        let mut context: Vec<u8> = [access_type, major, minor].iter().flat_map(|word| word.to_ne_bytes()).collect();
        rbpf::EbpfVmRaw::new(Some(program)).unwrap().execute_program(&mut context).unwrap() != 0
    }

    fn bytes(program: &[Insn]) -> Vec<u8> {
        program
            .iter()
            .flat_map(|insn| {
                let mut bytes = vec![insn.code, insn.regs];
                bytes.extend(insn.off.to_ne_bytes());
                bytes.extend(insn.imm.to_ne_bytes());
                bytes
            })
            .collect()
    }

    proptest! {
        /// The program gives the verdict of the rules for every access.
        #[test]
        fn the_program_decides_as_the_rules_do(rules in rules()) {
            let program = bytes(&assemble(&Filter::from_rules(&rules).unwrap()));
            for (node, major, minor, access) in accesses() {
                prop_assert_eq!(
                    run(&program, node, major, minor, access),
                    naive(&rules, node, major, minor, access),
                    "{:?} {}:{} {}", node, major, minor, access
                );
            }
        }
    }

    /// The filter of a container that may do nothing is six loads and an answer.
    #[test]
    fn no_rules_are_a_plain_no() {
        let program = assemble(&Filter::from_rules(&[]).unwrap());
        assert_eq!(program.len(), 8);
        assert!(!run(&bytes(&program), Node::Char, 1, 3, Access::ALL));
    }
}
