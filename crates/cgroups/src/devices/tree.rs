//! The way through a table as a program: by type, by major number, by minor number, to the access
//! that is allowed.
//!
//! There are eight sets of accesses, so there are at most eight exits, which all branches share. To
//! every other instruction there is one path only, so the verifier walks each once, whatever it has
//! found out about the device.
//!
//! An access that asks for nothing (access(2) with `F_OK`) is allowed where any is.

use rt_sys::bpf::Insn;

use super::insn::{R1, answer, jump, jump_any_set32, jump_equal32, jump_not_equal32, load32};
use super::rule::{Access, Node};
use super::table::{Majors, Minors, Table};

/// Where the program keeps the fields of its argument. The type is in the low half of the first,
/// the access that is asked for in the high half; both are sets of bits, which are tested where
/// they are.
const ACCESS_TYPE: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;

/// Assembles the program of a table.
pub(super) fn assemble(table: &Table) -> Vec<Insn> {
    // A usual container's program fits in.
    let mut program = Program { reversed: Vec::with_capacity(32), exits: [Label(0); 8] };
    program.exits(table);
    let mut start = program.majors(&table.block);
    if table.char != table.block {
        let block = start;
        let char = program.majors(&table.char);
        program.go(char);
        start = program.push(jump_any_set32(ACCESS_TYPE, Node::Block as i32, program.off(block)));
    }
    program.go(start);
    program.fields();
    program.reversed.reverse();
    program.reversed
}

/// A program, written from its end to its beginning: what a jump leads to is there before the jump.
struct Program {
    reversed: Vec<Insn>,
    /// Where the program decides whether the requested access is in a set, by the bits of the set.
    exits: [Label; 8],
}

/// An instruction, by the number of those from it to the end.
#[derive(Clone, Copy)]
struct Label(usize);

impl Program {
    /// The exits that the table leads to. The verifier takes no instruction that is never reached.
    fn exits(&mut self, table: &Table) {
        let mut used = [false; 8];
        for minors in table.block.values().chain(table.char.values()) {
            minors.values().for_each(|access| used[usize::from(access.bits())] = true);
        }
        let (none, all) = (Access::default(), Access::ALL);
        let part = used[1..7].contains(&true);
        for (access, allow) in [(none, false), (all, true)] {
            if used[usize::from(access.bits())] || part {
                let [result, exit] = answer(allow);
                self.push(exit);
                self.exits[usize::from(access.bits())] = self.push(result);
            }
        }
        for bits in (1..7).filter(|&bits| used[bits]) {
            self.go(self.exit(all));
            let others = !bits as i32 & i32::from(all.bits());
            self.exits[bits] = self.push(jump_any_set32(ACCESS_TYPE, others << 16, self.off(self.exit(none))));
        }
    }

    /// The way through the devices of a type; numbers that need no look at the minor number come
    /// first.
    fn majors(&mut self, majors: &Majors) -> Label {
        let mut next = self.minors(&majors.others);
        for &(major, ref minors) in majors.named.iter().rev().filter(|(_, minors)| !minors.named.is_empty()) {
            self.minors(minors);
            next = self.push(jump_not_equal32(MAJOR, major, self.off(next)));
        }
        for &(major, ref minors) in majors.named.iter().rev().filter(|(_, minors)| minors.named.is_empty()) {
            self.go(next);
            next = self.push(jump_equal32(MAJOR, major, self.off(self.exit(minors.others))));
        }
        next
    }

    /// The way through the devices of a major number: an exit, if they are all alike.
    ///
    /// A test of a range would find neighbours at once, but the verifier takes no less time for it.
    fn minors(&mut self, minors: &Minors) -> Label {
        let mut next = self.exit(minors.others);
        for &(minor, access) in minors.named.iter().rev() {
            self.go(next);
            next = self.push(jump_equal32(MINOR, minor, self.off(self.exit(access))));
        }
        next
    }

    /// Loads what the program looks at.
    fn fields(&mut self) {
        for (at, register) in [ACCESS_TYPE, MAJOR, MINOR].into_iter().enumerate() {
            if self.reversed.iter().any(|insn| insn.regs == register) {
                self.push(load32(register, R1, 4 * at as i16));
            }
        }
    }

    fn exit(&self, access: Access) -> Label {
        self.exits[usize::from(access.bits())]
    }

    /// Goes on at a label, which needs no jump if it comes next.
    fn go(&mut self, to: Label) {
        let off = self.off(to);
        if off != 0 {
            self.push(jump(off));
        }
    }

    fn push(&mut self, insn: Insn) -> Label {
        self.reversed.push(insn);
        Label(self.reversed.len())
    }

    /// How far the instruction to be written has to jump. A table is too small for more than an
    /// i16.
    fn off(&self, to: Label) -> i16 {
        (self.reversed.len() - to.0) as i16
    }
}
