//! The eBPF program of a device filter.

use rt_sys::bpf::Insn;

use super::filter::Filter;
use super::table::Table;
use super::{list, tree};

/// Assembles the program for a filter: the way through its table if that is small, else a list of
/// its rules.
///
/// Loading it is a good part of a start: the verifier takes time for each instruction, and more for
/// each branch.
pub(crate) fn assemble(filter: &Filter) -> Vec<Insn> {
    Table::of(filter).map_or_else(|| list::assemble(filter), |table| tree::assemble(&table))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::tests::{accesses, filter, naive, rules};
    use super::super::rule::{Access, Node};
    use super::*;
    use rt_resources::model::{DeviceKind, DeviceRule};

    /// Lets an interpreter answer with the program, after a look at what the kernel's verifier
    /// refuses.
    fn decide(program: &[Insn], accesses: impl Iterator<Item = (Node, u32, u32, Access)>) -> Vec<bool> {
        assert_eq!(unreachable(program), [0; 0], "{program:?}");
        let bytes: Vec<u8> = program.iter().flat_map(bytes).collect();
        let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).unwrap();
        let answer = |(node, major, minor, access): (Node, u32, u32, Access)| {
            let access_type = u32::from(access.bits()) << 16 | node as u32;
            let mut context: Vec<u8> = [access_type, major, minor].iter().flat_map(|word| word.to_ne_bytes()).collect();
            machine.execute_program(&mut context).unwrap() != 0
        };
        accesses.map(answer).collect()
    }

    fn bytes(insn: &Insn) -> [u8; 8] {
        let ([o0, o1], [i0, i1, i2, i3]) = (insn.off.to_ne_bytes(), insn.imm.to_ne_bytes());
        [insn.code, insn.regs, o0, o1, i0, i1, i2, i3]
    }

    /// Instructions that no path leads to. Jumps lead forward, and to an instruction.
    fn unreachable(program: &[Insn]) -> Vec<usize> {
        let mut reached = vec![false; program.len()];
        reached[0] = true;
        for (at, insn) in program.iter().enumerate().filter(|(_, insn)| insn.code != 0x95) {
            let jumps = matches!(insn.code & 7, 5 | 6);
            if jumps && reached[at] {
                reached[at + 1 + usize::try_from(insn.off).unwrap()] = true;
            }
            reached[at + 1] |= reached[at] && insn.code != 0x05;
        }
        (0..program.len()).filter(|&at| !reached[at]).collect()
    }

    /// Rules over so many numbers that there are tables just small enough, and just too large.
    fn many_rules() -> impl Strategy<Value = Vec<DeviceRule>> {
        let number = || prop_oneof![1 => Just(None), 100 => (0i64..30).prop_map(Some)];
        let kind = prop_oneof![Just(DeviceKind::Block), Just(DeviceKind::Char)];
        let rule =
            (any::<bool>(), kind, number(), number(), "[rwm]{1,3}").prop_map(|(allow, kind, major, minor, access)| {
                DeviceRule { allow, kind: Some(kind), major, minor, access: Some(access) }
            });
        proptest::collection::vec(rule, 0..900)
    }

    proptest! {
        /// Both forms of the program give the verdict of the rules for every access.
        #[test]
        fn the_program_decides_as_the_rules_do(rules in rules()) {
            let expected: Vec<bool> = accesses().map(|(n, major, minor, a)| naive(&rules, n, major, minor, a)).collect();
            let filter = Filter::from_rules(&rules).unwrap();
            let tree = tree::assemble(&Table::of(&filter).expect("ten rules make no large table"));
            for program in [tree, list::assemble(&filter)] {
                let decided = decide(&program, accesses());
                let wrong = accesses().zip(decided.iter().zip(&expected)).find(|(_, (is, should))| is != should);
                prop_assert_eq!(wrong, None, "{:?}", program);
            }
        }

        /// Rules that decide nothing leave nothing in the program.
        #[test]
        fn saying_it_twice_changes_nothing(rules in rules()) {
            let table = |rules: &[DeviceRule]| Table::of(&Filter::from_rules(rules).unwrap());
            prop_assert_eq!(table(&rules), table(&[&rules[..], &rules].concat()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Long lists, too, on both sides of the largest table.
        #[test]
        fn long_lists_are_decided_as_the_rules_do(
            rules in many_rules(),
            asked in proptest::collection::vec((any::<bool>(), 0u32..32, 0u32..32, 1u8..8), 200),
        ) {
            let asked = asked.into_iter().map(|(block, major, minor, bits)| {
                (if block { Node::Block } else { Node::Char }, major, minor, Access::from_bits(bits))
            });
            let decided = decide(&assemble(&Filter::from_rules(&rules).unwrap()), asked.clone());
            for ((node, major, minor, access), decided) in asked.zip(decided) {
                prop_assert_eq!(decided, naive(&rules, node, major, minor, access), "{:?} {}:{} {}", node, major, minor, access);
            }
        }
    }

    /// Every second number is an exception, up to the last number; both as a table and as a list.
    /// (The interpreter takes no more than 32,767 instructions; the kernel gets longer lists in
    /// `devices_are_filtered`.)
    #[test]
    fn thousands_of_rules_are_obeyed() {
        let cases = [2_000, 2_500].into_iter().flat_map(|count| [(count, false), (count, true)]);
        for ((count, default), by_major) in cases.flat_map(|case| [(case, false), (case, true)]) {
            let numbers = |n: u32| if by_major { (n, 7) } else { (7, n) };
            let exception = |n| {
                let (major, minor) = numbers(n);
                format!(
                    "{}c {major}:{minor} {}",
                    if default { '-' } else { '+' },
                    if n % 4 == 0 { "rwm" } else { "rw" }
                )
            };
            let mut rules = vec![format!("{}a *:* rwm", if default { '+' } else { '-' })];
            rules.extend((0..count).map(|n| exception(2 * n)));
            let filter = filter(&rules.iter().map(|rule| &**rule).collect::<Vec<_>>());
            assert_eq!(Table::of(&filter).is_some(), count == 2_000);
            let asked: Vec<u32> =
                [0..8, count..count + 8, 2 * count - 8..2 * count + 8].into_iter().flatten().collect();
            let devices = asked.iter().map(|&n| (Node::Char, numbers(n).0, numbers(n).1, Access::parse("rw").unwrap()));
            let expected = asked.iter().map(|&n| (n % 2 == 0 && n < 2 * count) != default);
            assert_eq!(
                decide(&assemble(&filter), devices),
                expected.collect::<Vec<_>>(),
                "{count} {default} {by_major}"
            );
        }
    }

    /// A table of these would have 90,000 entries.
    #[test]
    fn rules_that_cross_do_not_multiply() {
        let rules: Vec<String> = (0..300).flat_map(|n| [format!("+c {n}:* r"), format!("+c *:{n} w")]).collect();
        let program = assemble(&filter(&rules.iter().map(|rule| &**rule).collect::<Vec<_>>()));
        assert!(program.len() < 12 * rules.len(), "{}", program.len());
    }

    /// access(2) with `F_OK` asks the filter, too, and for nothing.
    #[test]
    fn asking_for_nothing_is_allowed_where_anything_is() {
        let program = assemble(&filter(&["-a *:* rwm", "+b *:* m", "+c 1:3 r"]));
        let asked = [(Node::Block, 8, 0), (Node::Char, 1, 3), (Node::Char, 1, 5), (Node::Char, 8, 0)];
        let asked = asked.map(|(node, major, minor)| (node, major, minor, Access::default()));
        assert_eq!(decide(&program, asked.into_iter()), [true, true, false, false]);
    }

    /// Every start waits for the verifier to walk this.
    #[test]
    fn usual_filters_are_short() {
        let nodes = ["+c 1:3 rwm", "+c 1:5 rwm", "+c 1:7 rwm", "+c 1:8 rwm", "+c 1:9 rwm", "+c 5:0 rwm"];
        let others = ["+c 5:1 rwm", "+c 5:2 rwm", "+c 136:* rwm", "+c 10:200 rwm"];
        let default = [&["-a *:* rwm", "+c *:* m", "+b *:* m"], &nodes[..], &others].concat();
        let length = |rules: &[&str]| assemble(&filter(rules)).len();
        for (rules, most, what) in [
            (default.clone(), 24, "what every container may use"),
            ([&default[..], &["+c 10:229 rwm"]].concat(), 25, "docker run --device /dev/fuse"),
            ([&default[..], &["+c 195:* rw", "+c 195:255 rwm"]].concat(), 29, "a graphics card"),
            (vec!["+a *:* rwm", "-b 8:0 w"], 13, "everything but a disk"),
            (vec!["+a *:* r"], 6, "everything for reading"),
            (vec!["-a *:* rwm"], 2, "nothing"),
        ] {
            assert!(length(&rules) <= most, "{what}: {}", length(&rules));
        }
    }
}
