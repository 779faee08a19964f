//! Why a system call gets the answer it gets.

use std::fmt;

use super::action::{Action, RETURN_KILL_THREAD, describe_return};
use super::compile::policies;
use super::error::Error;
use super::host::HostSeccomp;
use super::interpret::{Call, run};
use super::model::Profile;
use super::policy::{Branch, Entry, Policy};
use super::program::Program;
use super::ranges::{Target, groups};
use super::resolve::{Resolved, resolve};
use super::table::{Syscall, X32_BIT};
use super::vocabulary::Arch;

/// A question: this call, with these arguments, on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The architecture.
    pub arch: Arch,
    /// The number there, x32's bit included; see [`Syscall::number`](super::Syscall::number).
    pub number: u32,
    /// The arguments; zero where unknown.
    pub args: [u64; 6],
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule: a JSON pointer relative to `/linux/seccomp`, to the rule or to one of its
    /// conditions.
    Rule {
        /// The pointer.
        pointer: String,
        /// Whether other arguments could get another answer.
        depends_on_arguments: bool,
    },
    /// No rule matched.
    Default {
        /// Whether other arguments could get another answer.
        depends_on_arguments: bool,
    },
    /// The call is newer than all that the profile names.
    NewerThanProfile,
    /// The profile has no such architecture.
    ForeignArch,
    /// The program is not what the profile compiles to here.
    OtherProgram,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let for_these = |depends: &bool| if *depends { " for these arguments" } else { "" };
        match self {
            Self::Rule { pointer, depends_on_arguments } => {
                write!(f, "rule {pointer}{}", for_these(depends_on_arguments))
            }
            Self::Default { depends_on_arguments } => {
                write!(f, "default action: no rule matches{}", for_these(depends_on_arguments))
            }
            Self::NewerThanProfile => f.write_str("newer than every system call that the profile names"),
            Self::ForeignArch => f.write_str("an architecture that the profile does not name"),
            Self::OtherProgram => f.write_str("the program is not the one of this profile"),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The program's return value; [`describe_return`](super::describe_return) words it.
    pub returns: u32,
    /// How many instructions it took.
    pub steps: usize,
    /// Whether the kernel answers without running the filter.
    pub cacheable: bool,
    /// What decided.
    pub reason: Reason,
}

/// Runs `program` for the query, and finds in `profile` what decided. `None` if the program is not
/// valid BPF.
pub fn explain(
    profile: &Profile,
    program: &Program,
    host: &HostSeccomp,
    query: &Query,
) -> Result<Option<Explanation>, Error> {
    let Some(outcome) = run(&program.filter, &Call::new(query.arch, query.number, query.args)) else {
        return Ok(None);
    };
    let resolved = resolve(profile, host)?;
    let policies = policies(profile, &resolved)?;
    let (returns, reason) = decide(&policies, &resolved, query);
    let reason = if outcome.returns == returns { reason } else { Reason::OtherProgram };
    Ok(Some(Explanation { returns: outcome.returns, steps: outcome.steps, cacheable: outcome.cacheable, reason }))
}

/// Why the program cannot even be executed under its own filter, in words; `None` where it can, or
/// its arguments decide.
pub fn refusal_to_execute(profile: &Profile, program: &Program, host: &HostSeccomp) -> Option<String> {
    let number = Syscall::from_name("execve")?.number(host.native)?;
    let query = Query { arch: host.native, number, args: [0; 6] };
    let outcome = run(&program.filter, &Call::new(query.arch, query.number, query.args))?;
    let goes_on = [Action::Allow, Action::Log, Action::Trace, Action::Notify];
    if Action::from_return(outcome.returns).is_none_or(|action| goes_on.contains(&action)) {
        return None;
    }
    match explain(profile, program, host, &query).ok()??.reason {
        Reason::Rule { depends_on_arguments: true, .. } | Reason::Default { depends_on_arguments: true } => None,
        reason => {
            let answer = describe_return(outcome.returns);
            Some(format!("the program could not be executed: execve gets {answer}, by {reason}"))
        }
    }
}

/// What the profile says, without the program.
fn decide(policies: &[Policy], resolved: &Resolved, query: &Query) -> (u32, Reason) {
    let groups = groups(policies, resolved, true);
    let Some(group) = groups.iter().find(|group| group.audit == query.arch.audit()) else {
        return (RETURN_KILL_THREAD, Reason::ForeignArch);
    };
    let at = group.ranges.partition_point(|range| range.start <= query.number) - 1;
    let target = group.ranges[at].target;
    let arch = match query.arch {
        Arch::X86_64 | Arch::X32 if query.number & X32_BIT != 0 => Arch::X32,
        Arch::X32 => Arch::X86_64,
        arch => arch,
    };
    let policy = policies.iter().find(|policy| policy.arch == arch);
    let rule =
        |rule: u32, depends_on_arguments| Reason::Rule { pointer: resolved.rule(rule).pointer(), depends_on_arguments };
    match (target, policy.map(|policy| policy.entry(query.number))) {
        (Target::Chain { policy, chain }, _) => {
            let branches = &policies[usize::from(policy)].chains[usize::from(chain)];
            match branches.iter().find(|branch| matches(branch, resolved, arch, query)) {
                Some(branch) => (resolved.rule(branch.rule).returns, rule(branch.rule, true)),
                None => (resolved.default, Reason::Default { depends_on_arguments: true }),
            }
        }
        (Target::Return(returns), Some(Entry::Rule(index))) if returns == resolved.rule(index).returns => {
            (returns, rule(index, false))
        }
        (Target::Return(returns), _) if returns == resolved.default => {
            (returns, Reason::Default { depends_on_arguments: false })
        }
        (Target::Return(returns), None) => (returns, Reason::ForeignArch),
        (Target::Return(returns), Some(_)) => (returns, Reason::NewerThanProfile),
    }
}

fn matches(branch: &Branch, resolved: &Resolved, arch: Arch, query: &Query) -> bool {
    let wide = arch.compares_64_bits();
    let arg = |index: u8| query.args[usize::from(index)] & if wide { u64::MAX } else { 0xffff_ffff };
    branch.conditions(&resolved.rules, wide).iter().all(|condition| condition.holds(arg(condition.arg)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Syscall, compile};

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read", "statx"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "op": "SCMP_CMP_EQ", "value": 17}, {"index": 0, "op": "SCMP_CMP_GT", "value": 4294967295}]},
            {"names": ["socket"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 40}]}
        ]}"#;

    fn explain_one(arch: Arch, number: u32, first: u64) -> Explanation {
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        let host = HostSeccomp { native: Arch::X86_64, ..HostSeccomp::default() };
        let program = compile(&profile, &host).unwrap();
        let query = Query { arch, number, args: [first, 0, 0, 0, 0, 0] };
        explain(&profile, &program, &host, &query).unwrap().unwrap()
    }

    fn number(arch: Arch, name: &str) -> u32 {
        Syscall::from_name(name).unwrap().number(arch).unwrap()
    }

    /// `rt seccomp explain` names the field of config.json that decides.
    #[test]
    fn every_reason_is_found() {
        let rule = |pointer: &str, depends_on_arguments| Reason::Rule { pointer: pointer.into(), depends_on_arguments };
        let cases = [
            (Arch::X86_64, "read", 0, 0x7fff_0000, rule("/syscalls/0", false)),
            (Arch::X86_64, "clone", 17, 0x7fff_0000, rule("/syscalls/1/args/0", true)),
            (Arch::X86_64, "clone", 1 << 32, 0x7fff_0000, rule("/syscalls/1/args/1", true)),
            (Arch::X86_64, "clone", 18, 0x0005_0001, Reason::Default { depends_on_arguments: true }),
            (Arch::X86_64, "socket", 40, 0x0003_0000, rule("/syscalls/2", true)),
            // Through socketcall(2) the family is behind a pointer; the selector decides.
            (Arch::X86, "socketcall", 1, 0x0003_0000, rule("/syscalls/2", true)),
            (Arch::X86, "clone", 1 << 32, 0x0005_0001, Reason::Default { depends_on_arguments: true }),
            (Arch::X86_64, "write", 0, 0x0005_0001, Reason::Default { depends_on_arguments: false }),
            (Arch::X86_64, "openat2", 0, 0x0005_0026, Reason::NewerThanProfile),
            (Arch::X32, "read", 0, 0, Reason::ForeignArch),
            (Arch::Aarch64, "read", 0, 0, Reason::ForeignArch),
        ];
        for (arch, name, first, returns, reason) in cases {
            let explanation = explain_one(arch, number(arch, name), first);
            assert_eq!((explanation.returns, explanation.reason), (returns, reason), "{name} on {arch:?}");
        }
    }

    /// The bitmap of the kernel is what makes allowed calls free.
    #[test]
    fn what_depends_on_arguments_is_not_cacheable() {
        assert!(explain_one(Arch::X86_64, 0, 0).cacheable);
        assert!(!explain_one(Arch::X86_64, number(Arch::X86_64, "clone"), 17).cacheable);
        assert!(!explain_one(Arch::X86_64, 1, 0).cacheable);
    }

    /// A program from the state directory may be older than the profile shown with it.
    #[test]
    fn a_foreign_program_is_noticed() {
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        let other: Profile = serde_json::from_str(r#"{"defaultAction": "SCMP_ACT_LOG"}"#).unwrap();
        let host = HostSeccomp::default();
        let program = compile(&other, &host).unwrap();
        let query = Query { arch: host.native, number: 0, args: [0; 6] };
        let explanation = explain(&profile, &program, &host, &query).unwrap().unwrap();
        assert_eq!(explanation.reason, Reason::OtherProgram);
    }
}
