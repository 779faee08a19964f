//! A filter as a list of its rules, which may be as long as it likes.
//!
//! It answers per kind of access, as the rules do: the rules are tried from the last to the first;
//! one that denies a kind of access still asked for ends it, one that allows takes its kinds off
//! what is asked for. When nothing is left the access is allowed, and the default decides what no
//! rule spoke of.
//!
//! The verifier walks every path through the program that it cannot tell from one it has seen. So
//! what a test finds out about the device must not be known behind it: the numbers are compared in
//! a scratch register, all at once. With a jump per number, a few hundred rules are "too large"
//! already.

use rt_sys::bpf::Insn;

use super::filter::Filter;
use super::insn::{
    R0, R1, and32, answer, jump, jump_any_set32, jump_not_equal32, load32, move32, or32, shift_right32, xor32,
};
use super::rule::{Access, Rule};

/// Where the program keeps the device's type, the access still to be decided, and the device's
/// numbers. R0 and, once these are loaded, R1 are scratch.
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Assembles the program of a filter, rule by rule.
pub(super) fn assemble(filter: &Filter) -> Vec<Insn> {
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

/// One rule: a test that jumps over the decision when the rule does not apply, then the decision.
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
