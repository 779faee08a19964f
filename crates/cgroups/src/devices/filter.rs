//! The emulator: reduces ordered rules to the few that decide anything.

use rt_resources::model::DeviceRule;

use super::rule::{Access, Devices, Meaning, Rule, parse};
use crate::error::Error;

/// What is decided for every device: the last rule that speaks of a device and a kind of access
/// decides it, the default decides the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub(super) default_allow: bool,
    /// In the order of config.json: later rules override earlier ones.
    pub(super) rules: Vec<Rule>,
}

/// The part of a [`Filter`] that cgroup v1 can hold: a default and exceptions to it, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceptions {
    pub(crate) default_allow: bool,
    pub(crate) exceptions: Accesses,
}

/// The access to each of some devices, in the order of the devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accesses(Vec<(Devices, Access)>);

impl Accesses {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Devices, Access)> {
        self.0.iter().map(|(devices, access)| (devices, *access))
    }

    pub(crate) fn of(&self, devices: &Devices) -> Access {
        self.0.iter().find(|(known, _)| known == devices).map_or_else(Access::default, |&(_, access)| access)
    }

    pub(crate) fn add(&mut self, devices: Devices, access: Access) {
        match self.0.binary_search_by_key(&devices, |&(known, _)| known) {
            Ok(at) => self.0[at].1 = self.0[at].1.with(access),
            Err(at) => self.0.insert(at, (devices, access)),
        }
    }
}

impl Filter {
    /// Reads the rules of config.json. Without any rule, nothing is allowed.
    pub fn from_rules(rules: &[DeviceRule]) -> Result<Filter, Error> {
        let mut filter = Filter { default_allow: false, rules: Vec::new() };
        for (index, rule) in rules.iter().enumerate() {
            match parse(index, rule)? {
                Meaning::Everything { allow } => filter = Filter { default_allow: allow, rules: Vec::new() },
                Meaning::Some(rules) => rules.into_iter().for_each(|rule| filter.push(rule)),
            }
        }
        Ok(filter)
    }

    /// True when no access to any device is refused.
    pub fn allows_everything(&self) -> bool {
        self.default_allow && self.rules.is_empty()
    }

    fn push(&mut self, rule: Rule) {
        for earlier in &mut self.rules {
            if rule.devices.cover(&earlier.devices) {
                earlier.access = earlier.access.without(rule.access);
            }
        }
        self.rules.retain(|earlier| !earlier.access.is_empty());
        let overrides = |earlier: &Rule| {
            earlier.allow != rule.allow && earlier.devices.meet(&rule.devices) && earlier.access.overlaps(rule.access)
        };
        let decides = rule.allow != self.default_allow || self.rules.iter().any(overrides);
        if decides && !rule.access.is_empty() {
            self.rules.push(rule);
        }
    }

    /// The same decisions as a default with exceptions.
    ///
    /// Cutting one device out of a wildcard cannot be said that way. The kernel would take the
    /// write and do nothing, so it is an error here: a rule that denies must not be lost.
    pub(crate) fn exceptions(&self) -> Result<Exceptions, Error> {
        let mut exceptions = Accesses::default();
        for rule in &self.rules {
            if rule.allow != self.default_allow {
                exceptions.add(rule.devices, rule.access);
                continue;
            }
            for (devices, access) in &mut exceptions.0 {
                if !access.overlaps(rule.access) {
                    continue;
                }
                if rule.devices.cover(devices) {
                    *access = access.without(rule.access);
                } else if rule.devices.meet(devices) {
                    return Err(Error::DeviceHole {
                        rule: format!("{} {}", rule.devices, rule.access),
                        wider: format!("{devices} {access}"),
                    });
                }
            }
            exceptions.0.retain(|(_, access)| !access.is_empty());
        }
        Ok(Exceptions { default_allow: self.default_allow, exceptions: absorb(&exceptions) })
    }
}

/// Drops exceptions that a wider one includes, and widens the access of those that it includes in
/// part: the kernel looks for one exception that covers all of the access asked for.
fn absorb(exceptions: &Accesses) -> Accesses {
    let absorbed = exceptions.iter().filter_map(|(devices, access)| {
        let wider = exceptions
            .iter()
            .filter(|(other, _)| *other != devices && other.cover(devices))
            .fold(Access::default(), |all, (_, access)| all.with(access));
        (!access.without(wider).is_empty()).then_some((*devices, access.with(wider)))
    });
    Accesses(absorbed.collect())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::rule::Node;
    use super::*;
    use rt_resources::model::DeviceKind;

    /// What the specification says, with nothing clever: the last rule that matches decides each
    /// kind of access.
    pub(crate) fn naive(rules: &[DeviceRule], node: Node, major: u32, minor: u32, access: Access) -> bool {
        [1, 2, 4].into_iter().filter(|bit| access.bits() & bit != 0).all(|bit| {
            rules
                .iter()
                .rev()
                .find(|rule| {
                    let node_matches = match rule.kind {
                        Some(DeviceKind::Block) => node == Node::Block,
                        Some(DeviceKind::Char) => node == Node::Char,
                        _ => true,
                    };
                    let number_matches =
                        |rule: Option<i64>, number| matches!(rule, None | Some(-1)) || rule == Some(i64::from(number));
                    node_matches
                        && number_matches(rule.major, major)
                        && number_matches(rule.minor, minor)
                        && Access::parse(rule.access.as_deref().unwrap_or("rwm")).unwrap().bits() & bit != 0
                })
                .is_some_and(|rule| rule.allow)
        })
    }

    /// Rules over few numbers, so that they meet, cover and contradict each other.
    pub(crate) fn rules() -> impl Strategy<Value = Vec<DeviceRule>> {
        let number =
            prop_oneof![Just(None), Just(Some(-1)), (0i64..3).prop_map(Some), Just(Some(i64::from(u32::MAX - 1)))];
        let kind = prop_oneof![
            1 => Just(None),
            1 => Just(Some(DeviceKind::All)),
            3 => Just(Some(DeviceKind::Block)),
            3 => Just(Some(DeviceKind::Char)),
        ];
        let access = prop_oneof![Just(None), "[rwm]{0,3}".prop_map(Some), Just(Some("rwm".to_owned()))];
        let rule = (any::<bool>(), kind, number.clone(), number, access)
            .prop_map(|(allow, kind, major, minor, access)| DeviceRule { allow, kind, major, minor, access });
        proptest::collection::vec(rule, 0..10)
    }

    /// Every kind of access to the devices that [`rules`] mentions, and to one device that it does
    /// not mention.
    pub(crate) fn accesses() -> impl Iterator<Item = (Node, u32, u32, Access)> {
        let numbers = [0, 1, 2, 7, u32::MAX - 1];
        [Node::Block, Node::Char].into_iter().flat_map(move |node| {
            numbers.into_iter().flat_map(move |major| {
                numbers
                    .into_iter()
                    .flat_map(move |minor| (1..8).map(move |bits| (node, major, minor, Access::from_bits(bits))))
            })
        })
    }

    /// The kernel's own matching of cgroup v1 (security/device_cgroup.c).
    fn kernel_v1(set: &Exceptions, node: Node, major: u32, minor: u32, access: Access) -> bool {
        let device = Devices { node, major: Some(major), minor: Some(minor) };
        let mut matching = set.exceptions.iter().filter(|(devices, _)| devices.cover(&device));
        if set.default_allow {
            !matching.any(|(_, exception)| exception.overlaps(access))
        } else {
            matching.any(|(_, exception)| access.without(exception).is_empty())
        }
    }

    proptest! {
        /// Reducing the rules changes no verdict.
        #[test]
        fn the_filter_decides_as_the_rules_do(rules in rules()) {
            let filter = Filter::from_rules(&rules).unwrap();
            for (node, major, minor, access) in accesses() {
                let rule = |bit: u8| filter.rules.iter().rev().find(|rule| {
                    let device = Devices { node, major: Some(major), minor: Some(minor) };
                    rule.devices.cover(&device) && rule.access.bits() & bit != 0
                });
                let verdict = [1, 2, 4].into_iter().filter(|bit| access.bits() & bit != 0)
                    .all(|bit| rule(bit).map_or(filter.default_allow, |rule| rule.allow));
                prop_assert_eq!(verdict, naive(&rules, node, major, minor, access), "{:?} {}:{} {} {:?}", node, major, minor, access, filter);
            }
        }

        /// What cgroup v1 is given never allows more than the rules do; for one kind of access it
        /// is the same.
        #[test]
        fn cgroup_v1_decides_as_the_rules_do_or_refuses(rules in rules()) {
            let Ok(set) = Filter::from_rules(&rules).unwrap().exceptions() else { return Ok(()) };
            for (node, major, minor, access) in accesses() {
                let (kernel, rules) = (kernel_v1(&set, node, major, minor, access), naive(&rules, node, major, minor, access));
                if access.bits().is_power_of_two() {
                    prop_assert_eq!(kernel, rules);
                } else {
                    prop_assert!(rules || !kernel);
                }
            }
        }
    }

    fn rule(text: &str) -> DeviceRule {
        let (sign, rest) = text.split_at(1);
        let mut fields = rest.split(' ');
        let kind = fields.next().map(|letter| DeviceKind::from(letter.to_owned()));
        let (major, minor) = fields.next().unwrap().split_once(':').unwrap();
        let number = |text: &str| text.parse().ok();
        DeviceRule {
            allow: sign == "+",
            kind,
            major: number(major),
            minor: number(minor),
            access: fields.next().map(str::to_owned),
        }
    }

    pub(crate) fn filter(rules: &[&str]) -> Filter {
        Filter::from_rules(&rules.iter().map(|text| rule(text)).collect::<Vec<_>>()).unwrap()
    }

    /// What `docker run --privileged` sends needs no program at all.
    #[test]
    fn a_final_allow_all_leaves_nothing_to_filter() {
        assert!(filter(&["-a *:* rwm", "+c 1:3 rwm", "+a *:* rwm"]).allows_everything());
        assert!(filter(&["+a *:* rwm", "+c 1:3 rwm"]).allows_everything());
        assert!(!filter(&["+a *:* rwm", "-c 1:3 w"]).allows_everything());
        assert!(!filter(&[]).allows_everything());
    }

    #[test]
    fn rules_that_decide_nothing_are_dropped() {
        assert_eq!(filter(&["-a *:* rwm", "-c 5:1 rwm", "-b *:* rwm"]).rules, []);
        assert_eq!(filter(&["+c 1:3 rwm", "-c 1:3 rwm"]).rules, []);
        assert_eq!(filter(&["+c 1:3 rw", "+c 1:3 rwm", "+c 1:3 rwm"]).rules.len(), 1);
        assert_eq!(filter(&["+c 1:3 rwm", "-c 1:* w"]).rules.len(), 1);
    }

    /// The kernel would silently ignore such a deny rule.
    #[test]
    fn cgroup_v1_cannot_cut_a_hole_into_a_wildcard() {
        let error = filter(&["+c 1:* rwm", "-c 1:3 w"]).exceptions().unwrap_err();
        assert_eq!(error.to_string(), "cgroup v1 cannot except c 1:3 w from the wider rule c 1:* rwm");
        assert_eq!(error.pointer(), Some("/devices"));
        assert!(filter(&["+c 1:* rm", "-c 1:3 w"]).exceptions().is_ok());
        assert!(filter(&["+c 1:3 rwm", "-c 1:* w"]).exceptions().is_ok());
    }

    /// Type `a` with numbers is not everything.
    #[test]
    fn type_a_with_numbers_is_taken_at_its_word() {
        let filter = filter(&["+a 10:200 rwm"]);
        assert!(!filter.allows_everything());
        assert_eq!(filter.rules.len(), 2);
    }

    #[test]
    fn mistakes_name_their_field() {
        let pointer = |rule: DeviceRule| Filter::from_rules(&[rule]).unwrap_err().pointer().map(str::to_owned);
        let base = rule("+c 1:3 rwm");
        let unknown = Some(DeviceKind::Unknown("p".to_owned()));
        assert_eq!(pointer(DeviceRule { kind: unknown, ..base.clone() }).as_deref(), Some("/devices/0/type"));
        assert_eq!(pointer(DeviceRule { major: Some(-2), ..base.clone() }).as_deref(), Some("/devices/0/major"));
        assert_eq!(pointer(DeviceRule { minor: Some(1 << 32), ..base.clone() }).as_deref(), Some("/devices/0/minor"));
        assert_eq!(pointer(DeviceRule { access: Some("x".to_owned()), ..base }).as_deref(), Some("/devices/0/access"));
    }
}
