//! Which rule wins when several with conditions match the same call.
//!
//! The specification is silent; what profiles rely on is the order in which libseccomp happens to
//! compare. It keeps the conditions of a call in a tree, one comparison of a 32-bit word per node,
//! and on each level it tries
//! * the higher argument first, and of one argument the upper word first,
//! * equality before less-than, less-than before greater-than,
//! * the larger value first; for less-than the smaller,
//! * what was added first, if all that is equal.
//!
//! (Podman's profile needs it: `socket` is an error for family 40 and allowed for every family but
//! 16.) The tree here has that order and nothing else of libseccomp's: it only sorts, so that what
//! libseccomp gets wrong when it merges nodes (it loses rules, or refuses them, when comparisons of
//! more than one word share a node) is right here.

use super::resolve::Condition;
use super::vocabulary::Op;

/// Sorts rules. Each is its conditions, sorted by argument, and its return value; the result is
/// indices into `rules`.
///
/// A rule that cannot win is left out: one with the conditions of a shorter rule and more (as an
/// unconditional rule makes conditional ones pointless), or a repetition. The same conditions with
/// another action are a contradiction, as they are for libseccomp: the error is the indices of the
/// two rules, the earlier one first.
pub(super) fn arrange(rules: &[(Vec<Condition>, u32)], wide: bool) -> Result<Vec<usize>, (usize, usize)> {
    let mut root = Level::default();
    for (index, (conditions, returns)) in rules.iter().enumerate() {
        let steps: Vec<Step> = conditions.iter().flat_map(|&c| steps(c, wide)).flatten().collect();
        insert(&mut root, &steps, index, |earlier| rules[earlier].1 == *returns)?;
    }
    let mut order = Vec::with_capacity(rules.len());
    flatten(&root, &mut order);
    Ok(order)
}

/// One comparison of a 32-bit word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Test {
    /// Twice the argument, plus one for the upper word.
    word: u8,
    compare: Compare,
    value: u32,
    mask: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Greater,
    GreaterOrEqual,
    Equal,
    MaskedEqual,
}

/// A test on the way to a rule's action: what the profile called it, and which outcome leads on.
#[derive(Clone, Copy)]
struct Step {
    test: Test,
    class: Class,
    outcome: bool,
}

/// The order of operators on one level, the last one first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    AtLeast,
    AtMost,
    Equality,
}

#[derive(Default)]
struct Level(Vec<Node>);

struct Node {
    test: Test,
    class: Class,
    outcomes: [Outcome; 2],
}

#[derive(Default)]
struct Outcome {
    rule: Option<usize>,
    further: Level,
}

/// The longest way through a condition: both words, the upper one compared twice if it may differ.
fn steps(condition: Condition, wide: bool) -> [Option<Step>; 3] {
    let Condition { arg, op, mask, value } = condition;
    let (class, compare, outcome) = match op {
        Op::Eq => (Class::Equality, Compare::Equal, true),
        Op::Ne => (Class::Equality, Compare::Equal, false),
        Op::MaskedEq => (Class::Equality, Compare::MaskedEqual, true),
        Op::Lt => (Class::AtMost, Compare::GreaterOrEqual, false),
        Op::Le => (Class::AtMost, Compare::Greater, false),
        Op::Ge => (Class::AtLeast, Compare::GreaterOrEqual, true),
        Op::Gt => (Class::AtLeast, Compare::Greater, true),
    };
    let step = |upper: bool, compare, outcome| {
        let shift = if upper { 32 } else { 0 };
        let test = Test {
            word: arg * 2 + u8::from(upper),
            compare,
            value: (value >> shift) as u32,
            mask: (mask >> shift) as u32,
        };
        Some(Step { test, class, outcome })
    };
    let low = step(false, compare, outcome);
    match (wide, op) {
        (false, _) => [None, None, low],
        (true, Op::Eq | Op::Ne) => [None, step(true, Compare::Equal, true), low],
        (true, Op::MaskedEq) => [None, step(true, Compare::MaskedEqual, true), low],
        (true, _) => [step(true, Compare::Greater, false), step(true, Compare::Equal, true), low],
    }
}

fn insert(
    level: &mut Level,
    steps: &[Step],
    rule: usize,
    same_action: impl Fn(usize) -> bool,
) -> Result<(), (usize, usize)> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(());
    };
    let found = level.0.iter().position(|node| node.test == step.test || precedes(step, node));
    let at = match found {
        Some(at) if level.0[at].test == step.test => at,
        at => {
            let at = at.unwrap_or(level.0.len());
            level.0.insert(at, Node { test: step.test, class: step.class, outcomes: Default::default() });
            at
        }
    };
    let outcome = &mut level.0[at].outcomes[usize::from(step.outcome)];
    match (outcome.rule, rest) {
        (None, []) => outcome.rule = Some(rule),
        (Some(earlier), []) if !same_action(earlier) => return Err((earlier, rule)),
        (Some(_), _) => {}
        (None, rest) => insert(&mut outcome.further, rest, rule, same_action)?,
    }
    Ok(())
}

/// Whether a step comes before a node on its level.
fn precedes(step: &Step, node: &Node) -> bool {
    let value = |class, test: Test| {
        if class == Class::AtMost { !test.value } else { test.value }
    };
    let key = |class, test: Test| (test.word, class, value(class, test));
    key(step.class, step.test) > key(node.class, node.test)
}

fn flatten(level: &Level, order: &mut Vec<usize>) {
    for outcome in level.0.iter().flat_map(|node| &node.outcomes) {
        match outcome.rule {
            Some(rule) => order.push(rule),
            None => flatten(&outcome.further, order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(arg: u8, op: Op, value: u64) -> Condition {
        Condition { arg, op, mask: u64::MAX, value }
    }

    fn order(rules: &[(&[Condition], u32)], wide: bool) -> Result<Vec<usize>, (usize, usize)> {
        arrange(&rules.iter().map(|(conditions, action)| (conditions.to_vec(), *action)).collect::<Vec<_>>(), wide)
    }

    /// The order that libseccomp has for rules that overlap, as the differential test found it.
    #[test]
    fn overlapping_rules_have_libseccomps_order() {
        use Op::*;
        let rules: [(&[Condition], u32); 7] = [
            (&[condition(0, Gt, 1)], 1),
            (&[condition(0, Gt, 9)], 2),
            (&[condition(0, Le, 9)], 3),
            (&[condition(0, Le, 5)], 4),
            (&[condition(0, Eq, 3)], 5),
            (&[condition(0, Ne, 7)], 6),
            (&[condition(2, Lt, 4)], 7),
        ];
        // Argument 2; equalities from the larger value; at most, from the smaller; at least, from
        // the larger.
        assert_eq!(order(&rules, false), Ok(vec![6, 5, 4, 3, 2, 1, 0]));
    }

    /// Podman denies vsock and allows every family but netlink: the one value has to come before
    /// the others.
    #[test]
    fn a_value_comes_before_what_is_unequal_to_a_smaller_one() {
        let rules: [(&[Condition], u32); 2] = [(&[condition(0, Op::Ne, 16)], 1), (&[condition(0, Op::Eq, 40)], 2)];
        assert_eq!(order(&rules, true), Ok(vec![1, 0]));
    }

    /// Fewer conditions win, whichever rule came first, as an unconditional rule does.
    #[test]
    fn a_rule_shadows_those_with_more_conditions() {
        let (a, b) = (condition(0, Op::Eq, 1), condition(1, Op::Eq, 1));
        assert_eq!(order(&[(&[a], 1), (&[a, b], 2)], true), Ok(vec![0]));
        assert_eq!(order(&[(&[a, b], 2), (&[a], 1)], true), Ok(vec![1]));
        assert_eq!(order(&[(&[a], 1), (&[a], 1)], true), Ok(vec![0]));
    }

    /// libseccomp refuses them, too (EEXIST).
    #[test]
    fn the_same_conditions_with_two_actions_contradict() {
        let a = condition(0, Op::Eq, 1);
        assert_eq!(order(&[(&[condition(1, Op::Eq, 1)], 3), (&[a], 1), (&[a], 2)], true), Err((1, 2)));
        // The opposite of a condition is another one.
        assert_eq!(order(&[(&[a], 1), (&[condition(0, Op::Ne, 1)], 2)], true), Ok(vec![1, 0]));
    }
}
