//! What a filter decides, to be looked up by number instead of rule after rule.

use super::filter::Filter;
use super::rule::{Access, Node};

/// More rules than this make no table: the verifier can put off 8,192 branches, and a rule may be
/// two of them.
const MOST: usize = 2048;

/// What depends on a number: something for each number that matters, and for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers<T> {
    /// In ascending order; in a finished table none is as the others are.
    pub(super) named: Vec<(u32, T)>,
    pub(super) others: T,
}

/// The access that is allowed to devices of one major number.
pub(super) type Minors = Numbers<Access>;

/// The access that is allowed to devices of one type.
pub(super) type Majors = Numbers<Minors>;

/// The access that is allowed to each device. Filters that decide alike have equal tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) block: Majors,
    pub(super) char: Majors,
}

impl Table {
    /// The table of a filter, unless that is too large.
    pub(super) fn of(filter: &Filter) -> Option<Table> {
        // A rule like `c *:3` becomes one rule for each major number that other rules name.
        let wide = filter.rules.iter().filter(|rule| rule.devices.major.is_none() && rule.devices.minor.is_some());
        if filter.rules.len() * (1 + wide.count()) > MOST {
            return None;
        }
        let default = if filter.default_allow { Access::ALL } else { Access::default() };
        let every = || Numbers::all(Numbers::all(default));
        let mut table = Table { block: every(), char: every() };
        for rule in &filter.rules {
            let majors = match rule.devices.node {
                Node::Block => &mut table.block,
                Node::Char => &mut table.char,
            };
            majors.change(rule.devices.major, &|minors| {
                minors.change(rule.devices.minor, &|access| {
                    *access = if rule.allow { access.with(rule.access) } else { access.without(rule.access) };
                });
            });
        }
        for majors in [&mut table.block, &mut table.char] {
            majors.named.iter_mut().for_each(|(_, minors)| minors.shrink());
            majors.others.shrink();
            majors.shrink();
        }
        Some(table)
    }
}

impl<T: Clone + PartialEq> Numbers<T> {
    fn all(value: T) -> Numbers<T> {
        Numbers { named: Vec::new(), others: value }
    }

    /// Changes what is said of one number, or of every number.
    fn change(&mut self, number: Option<u32>, change: &dyn Fn(&mut T)) {
        let Some(number) = number else {
            self.named.iter_mut().for_each(|(_, value)| change(value));
            return change(&mut self.others);
        };
        let at = self.named.binary_search_by_key(&number, |&(named, _)| named).unwrap_or_else(|at| {
            self.named.insert(at, (number, self.others.clone()));
            at
        });
        change(&mut self.named[at].1);
    }

    /// Forgets the numbers of which the same is said as of all others.
    fn shrink(&mut self) {
        self.named.retain(|(_, value)| *value != self.others);
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.named.iter().map(|(_, value)| value).chain([&self.others])
    }
}
