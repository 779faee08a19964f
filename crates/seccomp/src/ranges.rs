//! Third step of the compiler: per value of `seccomp_data.arch`, what happens to each of the 2³²
//! numbers, run-length coded.

use super::action::{RETURN_ENOSYS, RETURN_KILL_THREAD};
use super::policy::{Entry, Policy, hides_newer_calls};
use super::resolve::Resolved;
use super::table::X32_BIT;
use super::vocabulary::Arch;

/// Where a number leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this return value.
    Return(u32),
    /// To the conditions of a chain of this policy.
    Chain {
        /// Index into the policies.
        policy: u16,
        /// Index into its chains.
        chain: u16,
    },
}

/// Numbers from `start` to the next range's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub start: u32,
    pub target: Target,
}

/// All numbers of one `seccomp_data.arch`.
pub(super) struct Group {
    pub audit: u32,
    pub ranges: Vec<Range>,
}

/// Groups the policies, in their order. `enosys` is whether newer calls may be hidden at all.
pub(super) fn groups(policies: &[Policy], resolved: &Resolved, enosys: bool) -> Vec<Group> {
    let enosys = enosys && hides_newer_calls(resolved);
    let mut groups: Vec<Group> = Vec::with_capacity(policies.len());
    for policy in policies {
        let audit = policy.arch.audit();
        if groups.iter().any(|group| group.audit == audit) {
            continue;
        }
        let find = |arch| policies.iter().position(|p| p.arch == arch);
        let ranges = Builder { policies, resolved, enosys, ranges: Vec::with_capacity(128) };
        let ranges = if audit == Arch::X86_64.audit() {
            ranges.x86_64(find(Arch::X86_64), find(Arch::X32))
        } else {
            ranges.single(find(policy.arch).unwrap_or_default())
        };
        groups.push(Group { audit, ranges });
    }
    groups
}

struct Builder<'a> {
    policies: &'a [Policy],
    resolved: &'a Resolved,
    enosys: bool,
    ranges: Vec<Range>,
}

impl Builder<'_> {
    /// Numbers from `start` on lead to `target`.
    fn from(&mut self, start: u32, target: Target) {
        if self.ranges.last().is_none_or(|last| last.target != target) {
            self.ranges.push(Range { start, target });
        }
    }

    /// An architecture with `seccomp_data.arch` to itself.
    fn single(mut self, policy: usize) -> Vec<Range> {
        self.from(0, Target::Return(self.resolved.default));
        self.table(policy);
        // s390 enters the kernel's table at 0, the old setup(2), for any number that it lacks.
        if matches!(self.policies[policy].arch, Arch::S390x | Arch::S390) && self.newest(policy).is_some() {
            let second = self.ranges.get(1).is_some_and(|range| range.start == 1);
            let target = self.ranges[0].target;
            self.ranges[0].target = Target::Return(RETURN_ENOSYS);
            if !second {
                self.ranges.insert(1, Range { start: 1, target });
            }
        }
        self.ranges
    }

    /// x86_64 and x32 share `seccomp_data.arch`; the number's bit 30 says which it is. Without x32
    /// in the profile the bit is another architecture, except in -1, which is a tracer's way to
    /// skip a call.
    fn x86_64(mut self, x86_64: Option<usize>, x32: Option<usize>) -> Vec<Range> {
        const NO_ABI: u32 = 0x8000_0000;
        let default = Target::Return(self.resolved.default);
        let foreign = Target::Return(RETURN_KILL_THREAD);
        let enosys = Target::Return(RETURN_ENOSYS);
        match x86_64 {
            Some(policy) => {
                self.from(0, default);
                self.table(policy);
            }
            None => self.from(0, foreign),
        }
        match x32 {
            Some(policy) => {
                self.from(X32_BIT, default);
                self.table(policy);
            }
            None => self.from(X32_BIT, foreign),
        }
        let hidden = |policy: Option<usize>| policy.is_some_and(|p| self.newest(p).is_some());
        let (hidden64, hidden32) = (hidden(x86_64), hidden(x32));
        let rest = if x32.is_some() { default } else { foreign };
        self.from(NO_ABI, if hidden64 { enosys } else { rest });
        self.from(NO_ABI | X32_BIT, if hidden32 { enosys } else { rest });
        self.from(u32::MAX, if hidden32 { enosys } else { default });
        self.ranges
    }

    /// The numbers of a policy, and ENOSYS behind the newest one.
    fn table(&mut self, policy: usize) {
        let newest = self.newest(policy);
        let Policy { runs, .. } = &self.policies[policy];
        for (i, run) in runs.iter().enumerate() {
            let default = Target::Return(self.resolved.default);
            let target = match run.entry {
                Entry::Default => default,
                Entry::Rule(rule) => Target::Return(self.resolved.rule(rule).returns),
                Entry::Chain(chain) => Target::Chain { policy: policy as u16, chain },
            };
            match newest {
                Some(newest) if run.entry == Entry::Default => {
                    // The newest call may have no rule of its own, or a rule that repeats the
                    // default action.
                    if run.start <= newest {
                        self.from(run.start, default);
                    }
                    if runs.get(i + 1).is_none_or(|next| next.start - 1 > newest) {
                        self.from(run.start.max(newest + 1), Target::Return(RETURN_ENOSYS));
                    }
                }
                _ => self.from(run.start, target),
            }
        }
    }

    /// The highest number that does not fail with ENOSYS, where anything does.
    fn newest(&self, policy: usize) -> Option<u32> {
        self.policies[policy].newest.filter(|_| self.enosys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, HostSeccomp, Profile, compile, run};

    const DEFAULT: u32 = 0x0005_0001;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = RETURN_KILL_THREAD;
    const ENOSYS: u32 = RETURN_ENOSYS;

    fn verdict(native: Arch, profile: &str, arch: Arch, number: u32) -> u32 {
        let profile: Profile = serde_json::from_str(profile).unwrap();
        let host = HostSeccomp { native, ..HostSeccomp::default() };
        let program = compile(&profile, &host).unwrap();
        run(&program.filter, &Call::new(arch, number, [0; 6])).unwrap().returns
    }

    fn profile(default: &str, archs: &[&str], names: &[&str]) -> String {
        format!(
            r#"{{"defaultAction": "{default}", "architectures": {archs:?},
                 "syscalls": [{{"names": {names:?}, "action": "SCMP_ACT_ALLOW"}}]}}"#
        )
    }

    /// glibc tries a new call and falls back on ENOSYS; EPERM would break it (runc's
    /// libcontainer/seccomp/patchbpf).
    #[test]
    fn newer_calls_fail_with_enosys() {
        let only = profile("SCMP_ACT_ERRNO", &[], &["read", "close", "statx"]);
        let both = profile("SCMP_ACT_ERRNO", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], &["read", "close", "statx"]);
        for (profile, number, expected) in [
            (&only, 332, ALLOW),   // statx
            (&only, 331, DEFAULT), // older, but not named
            (&only, 333, ENOSYS),
            (&only, 0x3fff_ffff, ENOSYS),
            (&only, 0x4000_0000, KILL), // x32, which the profile does not have
            (&only, 0x4000_0fff, KILL),
            (&only, 0x8000_0000, ENOSYS), // no ABI at all: compared as x86_64's, bit 30 being clear
            (&only, 0xc000_0000, KILL),
            (&only, 0xffff_ffff, DEFAULT), // a tracer skips a call
            (&both, 333, ENOSYS),
            (&both, 0x4000_0000, ALLOW),
            (&both, 0x4000_014c, ALLOW), // x32's statx
            (&both, 0x4000_014b, DEFAULT),
            (&both, 0x4000_014d, ENOSYS),
            (&both, 0x8000_0000, ENOSYS),
            (&both, 0xffff_ffff, ENOSYS),
        ] {
            assert_eq!(verdict(Arch::X86_64, profile, Arch::X86_64, number), expected, "{number:#x}");
        }
    }

    /// Where the default is a permission, or a tracer's business, newer calls get it, too.
    #[test]
    fn permissive_defaults_hide_nothing() {
        for (default, newer) in [
            ("SCMP_ACT_ALLOW", ALLOW),
            ("SCMP_ACT_LOG", 0x7ffc_0000),
            ("SCMP_ACT_TRACE", 0x7ff0_0001),
            ("SCMP_ACT_KILL", ENOSYS),
            ("SCMP_ACT_KILL_PROCESS", ENOSYS),
            ("SCMP_ACT_TRAP", ENOSYS),
        ] {
            assert_eq!(
                verdict(Arch::X86_64, &profile(default, &[], &["statx"]), Arch::X86_64, 400),
                newer,
                "{default}"
            );
        }
    }

    /// A rule that only repeats the default action still shows which calls its author knew.
    #[test]
    fn rules_that_are_skipped_count_as_knowledge() {
        let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"}]}"#;
        assert_eq!(verdict(Arch::X86_64, profile, Arch::X86_64, 435), DEFAULT);
        assert_eq!(verdict(Arch::X86_64, profile, Arch::X86_64, 436), ENOSYS);
        // read is number 0 on x86_64: no evidence.
        assert_eq!(verdict(Arch::X86_64, &self::profile("SCMP_ACT_ERRNO", &[], &["read"]), Arch::X86_64, 436), DEFAULT);
        assert_eq!(verdict(Arch::X86_64, &self::profile("SCMP_ACT_ERRNO", &[], &[]), Arch::X86_64, 436), DEFAULT);
    }

    /// An unknown number reaches s390's filters as 0, the old setup(2).
    #[test]
    fn s390_reports_unknown_numbers_as_zero() {
        let text = profile("SCMP_ACT_ERRNO", &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"], &["read", "exit"]);
        for arch in [Arch::S390x, Arch::S390] {
            for (number, expected) in [(0, ENOSYS), (1, ALLOW), (2, DEFAULT), (3, ALLOW), (4, ENOSYS)] {
                assert_eq!(verdict(Arch::S390x, &text, arch, number), expected, "{arch:?} {number}");
            }
        }
        let text = profile("SCMP_ACT_ERRNO", &[], &["read"]);
        assert_eq!(verdict(Arch::S390x, &text, Arch::S390x, 0), ENOSYS);
        assert_eq!(verdict(Arch::S390x, &text, Arch::S390x, 1), DEFAULT);
    }

    /// Docker's profile names Arm's private calls, whose numbers are far above all others.
    #[test]
    fn arms_private_calls_do_not_hide_what_is_newer() {
        let text = profile("SCMP_ACT_ERRNO", &["SCMP_ARCH_ARM"], &["read", "statx", "set_tls"]);
        for (number, expected) in [
            (3, ALLOW),
            (396, DEFAULT),
            (397, ALLOW),
            (398, ENOSYS),
            (0x000f_0002, ENOSYS),
            (0x000f_0005, ALLOW),
            (0x000f_0006, ENOSYS),
        ] {
            assert_eq!(verdict(Arch::Aarch64, &text, Arch::Arm, number), expected, "{number:#x}");
        }
    }

    /// MIPS numbers begin at 4000, 5000 and 6000.
    #[test]
    fn mips_numbers_have_a_base() {
        let text = profile("SCMP_ACT_ERRNO", &["SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"], &["read", "exit"]);
        for (arch, number, expected) in [
            (Arch::Mipsel64, 5000, ALLOW),
            (Arch::Mipsel64, 4999, DEFAULT),
            (Arch::Mipsel64, 5058, ALLOW),
            (Arch::Mipsel64, 5059, ENOSYS),
            (Arch::Mipsel, 4003, ALLOW),
            (Arch::Mipsel, 3, DEFAULT),
            (Arch::Mipsel64N32, 6058, ALLOW),
            (Arch::Mipsel64N32, 6057, DEFAULT),
        ] {
            assert_eq!(verdict(Arch::Mipsel64, &text, arch, number), expected, "{arch:?} {number}");
        }
    }
}
