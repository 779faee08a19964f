//! The eBPF program of a device filter.

use rt_sys::bpf::Insn;

use super::filter::Filter;
use super::list;

/// Assembles the program for a filter.
pub(crate) fn assemble(filter: &Filter) -> Vec<Insn> {
    list::assemble(filter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::tests::{accesses, naive, rules};
    use super::super::rule::{Access, Node};
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
