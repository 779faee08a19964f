//! Second step of the compiler: for one architecture, which rules each system-call number has.

use super::action::Action;
use super::error::Error;
use super::model::Profile;
use super::order::arrange;
use super::program::MAX_INSTRUCTIONS;
use super::resolve::{Condition, Resolved, ResolvedRule};
use super::table::{ARM_PRIVATE, Syscall, base};
use super::vocabulary::{Arch, Named, Op, Vocabulary};

/// A rule as one system call has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Branch {
    /// Index into the resolved rules.
    pub rule: u32,
    /// The selector in argument 0, if the call came to socketcall(2) or ipc(2).
    pub selector: Option<u8>,
}

impl Branch {
    /// What has to hold, sorted by argument, without conditions that always hold. The selector
    /// takes argument 0's place: the call's own arguments are behind a pointer, where a filter
    /// cannot look. (libseccomp then still compares the other arguments, that is the pointer. So do
    /// we: less would allow more.)
    pub fn conditions(self, rules: &[ResolvedRule], wide: bool) -> Vec<Condition> {
        let selector =
            self.selector.map(|selector| Condition { arg: 0, op: Op::Eq, mask: u64::MAX, value: u64::from(selector) });
        let own = rules[self.rule as usize].conditions.iter().filter(|c| c.arg != 0 || selector.is_none());
        let own = own.map(|c| if wide { *c } else { c.low_word() }).filter(|c| !c.always_holds());
        selector.map(|c| if wide { c } else { c.low_word() }).into_iter().chain(own).collect()
    }
}

/// The rules of one system-call number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// No rule: the default action.
    Default,
    /// One rule without conditions.
    Rule(u32),
    /// Rules with conditions, an index into `chains`.
    Chain(u16),
}

/// An entry and the first number that has it; the next run's start ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub start: u32,
    pub entry: Entry,
}

/// The rules of one architecture.
pub(super) struct Policy {
    pub arch: Arch,
    /// In ascending order, from the architecture's lowest number to its highest and on.
    pub runs: Vec<Run>,
    /// Of each call with conditions the rules, in the order in which they are tried.
    pub chains: Vec<Vec<Branch>>,
    /// The highest number that the profile names.
    pub newest: Option<u32>,
}

impl Policy {
    /// Reads all rules for one architecture.
    pub fn new(profile: &Profile, resolved: &Resolved, arch: Arch) -> Result<Self, Error> {
        let mut table = Table { arch, cells: [Entry::Default; DENSE + PRIVATE], chains: Vec::new(), newest: None };
        let mut rules = resolved.rules.iter().enumerate().peekable();
        for (source, from) in profile.syscalls.iter().enumerate() {
            // Rules that repeat the default action are not among the resolved ones, but name what
            // the author knew.
            table.note_newest(&from.names);
            while let Some((index, rule)) = rules.next_if(|(_, rule)| rule.source == source) {
                for call in from.names.iter().filter_map(|name| name.known().ok()) {
                    table.add(*call, index as u32, rule);
                }
            }
        }
        table.arrange(resolved)?;
        Ok(Self { arch, runs: table.runs(), chains: table.chains, newest: table.newest })
    }

    /// The rules of a number.
    pub fn entry(&self, number: u32) -> Entry {
        let after = self.runs.partition_point(|run| run.start <= number);
        after.checked_sub(1).map_or(Entry::Default, |at| self.runs[at].entry)
    }
}

/// Numbers up to here, counted from the architecture's base, have a cell of their own.
const DENSE: usize = 600;
/// Arm's private calls have theirs behind those.
const PRIVATE: usize = 16;

/// One cell per number while the rules are read. The table is on the stack, and what is kept of it
/// is short: most of the time of a start is spent on touching new pages.
struct Table {
    arch: Arch,
    cells: [Entry; DENSE + PRIVATE],
    chains: Vec<Vec<Branch>>,
    newest: Option<u32>,
}

impl Table {
    fn note_newest(&mut self, names: &[Named<Syscall>]) {
        let numbers = names.iter().filter_map(|name| name.known().ok()?.number(self.arch));
        let newest = numbers.filter(|&n| self.arch != Arch::Arm || n < ARM_PRIVATE).max();
        // Zero is no evidence: runc does not count it, either.
        self.newest = self.newest.max(newest.filter(|&n| n != 0));
    }

    fn add(&mut self, call: Syscall, index: u32, rule: &ResolvedRule) {
        if self.arch.multiplexes()
            && let Some((through, selector)) = call.multiplexer()
            && let Some(number) = through.number(self.arch)
        {
            self.set(number, Branch { rule: index, selector: Some(selector) }, false);
        }
        if let Some(number) = call.number(self.arch) {
            let wide = self.arch.compares_64_bits();
            let free = rule.conditions.iter().all(|c| if wide { *c } else { c.low_word() }.always_holds());
            self.set(number, Branch { rule: index, selector: None }, free);
        }
    }

    /// An unconditional rule wins over conditional ones, whichever came first; of two, the first
    /// wins.
    fn set(&mut self, number: u32, branch: Branch, unconditional: bool) {
        let cell = cell_of(self.arch, number);
        match (self.cells[cell], unconditional) {
            (Entry::Rule(_), _) => {}
            (_, true) => self.cells[cell] = Entry::Rule(branch.rule),
            (Entry::Chain(chain), false) => self.chains[usize::from(chain)].push(branch),
            (Entry::Default, false) => {
                self.cells[cell] = Entry::Chain(self.chains.len() as u16);
                self.chains.push(vec![branch]);
            }
        }
    }

    fn arrange(&mut self, resolved: &Resolved) -> Result<(), Error> {
        let wide = self.arch.compares_64_bits();
        for cell in 0..self.cells.len() {
            let Entry::Chain(chain) = self.cells[cell] else {
                continue;
            };
            let branches = &mut self.chains[usize::from(chain)];
            if branches.len() > MAX_INSTRUCTIONS {
                return Err(Error::TooLong { instructions: branches.len() });
            }
            if let [_] = branches[..] {
                continue;
            }
            let rules: Vec<_> = branches
                .iter()
                .map(|branch| (branch.conditions(&resolved.rules, wide), resolved.rule(branch.rule).returns))
                .collect();
            let order = arrange(&rules, wide).map_err(|(earlier, later)| {
                let number = number_of(self.arch, cell);
                Error::Contradiction {
                    pointer: resolved.rule(branches[later].rule).pointer(),
                    other: resolved.rule(branches[earlier].rule).pointer(),
                    syscall: Syscall::from_number(self.arch, number)
                        .map_or_else(|| number.to_string(), |call| call.name().to_owned()),
                    arch: self.arch.word(),
                }
            })?;
            *branches = order.into_iter().map(|i| branches[i]).collect();
        }
        Ok(())
    }

    /// The cells, run-length coded.
    fn runs(&self) -> Vec<Run> {
        let used = DENSE + if self.arch == Arch::Arm { PRIVATE } else { 0 };
        let mut runs: Vec<Run> = Vec::with_capacity(128);
        for (cell, &entry) in self.cells[..used].iter().enumerate() {
            if runs.last().is_none_or(|last| last.entry != entry) {
                runs.push(Run { start: number_of(self.arch, cell), entry });
            }
        }
        runs
    }
}

fn cell_of(arch: Arch, number: u32) -> usize {
    if arch == Arch::Arm && number >= ARM_PRIVATE {
        DENSE + (number - ARM_PRIVATE) as usize
    } else {
        (number - base(arch)) as usize
    }
}

fn number_of(arch: Arch, cell: usize) -> u32 {
    if cell >= DENSE { ARM_PRIVATE + (cell - DENSE) as u32 } else { base(arch) + cell as u32 }
}

/// Whether system calls newer than the profile fail with ENOSYS: where the default action is no
/// kind of permission.
///
/// Without this, glibc would see EPERM for a call the author of the profile never heard of, and
/// would not fall back to the older one. A tracer is trusted to know better, as in runc.
pub(super) fn hides_newer_calls(resolved: &Resolved) -> bool {
    use Action::*;
    !matches!(resolved.default_action, Allow | Log | Trace)
}
