//! Last step of the compiler: ranges and chains to instructions.

use std::collections::BTreeMap;

use seccompiler::sock_filter;

use super::asm::{Assembler, Label, code, offset};
use super::policy::{Branch, Policy};
use super::ranges::{Group, Range, Target};
use super::resolve::{Condition, Resolved, ResolvedRule};
use super::table::X32_BIT;
use super::vocabulary::{Arch, Op};

/// The program for all groups; the first one is the native architecture's, and nearest to the
/// start.
pub(super) fn emit(groups: &[Group], policies: &[Policy], resolved: &Resolved, foreign: u32) -> Vec<sock_filter> {
    let mut emitter = Emitter {
        asm: Assembler::with_capacity(256),
        policies,
        resolved,
        chains: BTreeMap::new(),
        stretches: Vec::with_capacity(128),
    };
    let mut start = Label::Return(foreign);
    for group in groups.iter().rev() {
        let body = emitter.group(group);
        start = emitter.asm.branch(code::JEQ, group.audit, body, start);
    }
    let start = emitter.asm.load(offset::ARCH, start);
    emitter.asm.finish(start)
}

struct Emitter<'a> {
    asm: Assembler,
    policies: &'a [Policy],
    resolved: &'a Resolved,
    /// Chains emitted so far: the same rules compare the same way for every call and architecture
    /// of a word layout.
    chains: BTreeMap<(Words, &'a [Branch]), Label>,
    /// Kept from tree to tree for its memory.
    stretches: Vec<Stretch>,
}

/// How arguments are laid out and compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Words {
    wide: bool,
    big_endian: bool,
}

impl Words {
    fn of(arch: Arch) -> Self {
        Self { wide: arch.compares_64_bits(), big_endian: arch.big_endian() }
    }

    fn low(self, arg: u8) -> u32 {
        offset::ARGS + u32::from(arg) * 8 + if self.big_endian { 4 } else { 0 }
    }

    fn high(self, arg: u8) -> u32 {
        offset::ARGS + u32::from(arg) * 8 + if self.big_endian { 0 } else { 4 }
    }
}

/// A run of ranges that lead to one target, save single numbers.
///
/// Most profiles are long stretches of one action with holes of one number; a hole costs one
/// comparison here, two in a tree of ranges.
struct Stretch {
    /// Its first range; from there on every second range is a hole.
    first: u32,
    holes: u32,
}

/// More holes in a row would be slower than a tree.
const MAX_HOLES: u32 = 3;

impl<'a> Emitter<'a> {
    fn group(&mut self, group: &Group) -> Label {
        // Bit 30 first, so that x86_64's calls do not pay for x32's.
        let split = group.ranges.partition_point(|range| range.start < X32_BIT);
        let (lower, upper) = group.ranges.split_at(split);
        let tree = match upper.first() {
            Some(first) if first.start == X32_BIT && upper.len() > 1 => {
                let upper = self.tree(upper);
                let lower = self.tree(lower);
                self.asm.branch(code::JGE, X32_BIT, upper, lower)
            }
            _ => self.tree(&group.ranges),
        };
        self.asm.load(offset::NUMBER, tree)
    }

    fn tree(&mut self, ranges: &[Range]) -> Label {
        let mut stretches = std::mem::take(&mut self.stretches);
        find_stretches(ranges, &mut stretches);
        let tree = self.subtree(&stretches, ranges);
        self.stretches = stretches;
        tree
    }

    /// A balanced tree: the accumulator holds the number.
    fn subtree(&mut self, stretches: &[Stretch], ranges: &[Range]) -> Label {
        if let [stretch] = stretches {
            let first = stretch.first as usize;
            let target = self.target(ranges[first].target);
            return (0..stretch.holes as usize).rev().fold(target, |next, hole| {
                let hole = &ranges[first + 1 + 2 * hole];
                let target = self.target(hole.target);
                self.asm.branch(code::JEQ, hole.start, target, next)
            });
        }
        let (lower, upper) = stretches.split_at(stretches.len() / 2);
        let start = ranges[upper[0].first as usize].start;
        let upper = self.subtree(upper, ranges);
        let lower = self.subtree(lower, ranges);
        self.asm.branch(code::JGE, start, upper, lower)
    }

    fn target(&mut self, target: Target) -> Label {
        match target {
            Target::Return(value) => Label::Return(value),
            Target::Chain { policy, chain } => {
                let policies = self.policies;
                let words = Words::of(policies[usize::from(policy)].arch);
                let branches: &'a [Branch] = &policies[usize::from(policy)].chains[usize::from(chain)];
                if let Some(label) = self.chains.get(&(words, branches)) {
                    return *label;
                }
                let label = self.chain(words, branches);
                self.chains.insert((words, branches), label);
                label
            }
        }
    }

    /// The rules of one call, tried in order; the default action when none matches.
    fn chain(&mut self, words: Words, branches: &[Branch]) -> Label {
        let rules = &self.resolved.rules;
        let rules: Vec<_> = branches.iter().map(|b| (b.conditions(rules, words.wide), returns(rules, *b))).collect();
        let mut rest = &rules[..];
        let mut next = Label::Return(self.resolved.default);
        while let Some(((conditions, returns), before)) = rest.split_last() {
            let values = same_argument(rest, words);
            if values.len() > 1 {
                next = self.switch(words, values, next);
                rest = &rest[..rest.len() - values.len()];
            } else {
                let failed = next;
                next = conditions
                    .iter()
                    .rev()
                    .fold(Label::Return(*returns), |holds, condition| self.condition(words, *condition, holds, failed));
                rest = before;
            }
        }
        next
    }

    /// Rules that compare one argument with values of the same upper word: that word is checked
    /// once.
    fn switch(&mut self, words: Words, rules: &[(Vec<Condition>, u32)], failed: Label) -> Label {
        let Condition { arg, value, .. } = rules[0].0[0];
        let low = rules.iter().rev().fold(failed, |next, (conditions, returns)| {
            self.asm.branch(code::JEQ, conditions[0].value as u32, Label::Return(*returns), next)
        });
        let low = self.asm.load(words.low(arg), low);
        if !words.wide {
            return low;
        }
        let high = self.asm.branch(code::JEQ, (value >> 32) as u32, low, failed);
        self.asm.load(words.high(arg), high)
    }

    fn condition(&mut self, words: Words, condition: Condition, holds: Label, failed: Label) -> Label {
        let Condition { arg, op, mask, value } = condition;
        if op == Op::MaskedEq {
            let low = self.masked(words.low(arg), mask as u32, value as u32, holds, failed);
            if !words.wide {
                return low;
            }
            return self.masked(words.high(arg), (mask >> 32) as u32, (value >> 32) as u32, low, failed);
        }
        // Every other operator is one comparison, or its opposite, that the low words decide when
        // the upper ones are equal.
        let (code, yes, no) = match op {
            Op::Gt => (code::JGT, holds, failed),
            Op::Le => (code::JGT, failed, holds),
            Op::Ge => (code::JGE, holds, failed),
            Op::Lt => (code::JGE, failed, holds),
            Op::Ne => (code::JEQ, failed, holds),
            Op::Eq | Op::MaskedEq => (code::JEQ, holds, failed),
        };
        let low = self.asm.branch(code, value as u32, yes, no);
        let low = self.asm.load(words.low(arg), low);
        if !words.wide {
            return low;
        }
        let high = (value >> 32) as u32;
        let equal = self.asm.branch(code::JEQ, high, low, no);
        let greater = if code == code::JEQ { equal } else { self.asm.branch(code::JGT, high, yes, equal) };
        self.asm.load(words.high(arg), greater)
    }

    fn masked(&mut self, offset: u32, mask: u32, value: u32, holds: Label, failed: Label) -> Label {
        if mask == 0 {
            return holds;
        }
        let test = if value == 0 {
            // Saves the AND.
            self.asm.branch(code::JSET, mask, failed, holds)
        } else {
            let test = self.asm.branch(code::JEQ, value, holds, failed);
            if mask == u32::MAX { test } else { self.asm.and(mask, test) }
        };
        self.asm.load(offset, test)
    }
}

fn returns(rules: &[ResolvedRule], branch: Branch) -> u32 {
    rules[branch.rule as usize].returns
}

/// The last rules of `rules` that are one equality each, all on one argument and with one upper
/// word.
fn same_argument(rules: &[(Vec<Condition>, u32)], words: Words) -> &[(Vec<Condition>, u32)] {
    let key = |rule: &(Vec<Condition>, u32)| match rule.0[..] {
        [Condition { arg, op: Op::Eq, value, .. }] => Some((arg, if words.wide { value >> 32 } else { 0 })),
        _ => None,
    };
    let Some(last) = rules.last().and_then(key) else {
        return &[];
    };
    let others = rules.iter().rev().take_while(|rule| key(rule) == Some(last)).count();
    &rules[rules.len() - others..]
}

fn find_stretches(ranges: &[Range], stretches: &mut Vec<Stretch>) {
    stretches.clear();
    let mut i = 0;
    while i < ranges.len() {
        let (first, target) = (i as u32, ranges[i].target);
        let mut holes = 0;
        while holes < MAX_HOLES
            && let [hole, after, ..] = ranges[i + 1..]
            && after.start - hole.start == 1
            && after.target == target
        {
            holes += 1;
            i += 2;
        }
        stretches.push(Stretch { first, holes });
        i += 1;
    }
}
