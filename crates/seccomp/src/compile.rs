//! The compiler, from end to end.

use super::action::RETURN_KILL_THREAD;
use super::emit::emit;
use super::error::Error;
use super::host::HostSeccomp;
use super::model::Profile;
use super::policy::Policy;
use super::program::{MAX_INSTRUCTIONS, Program};
use super::ranges::groups;
use super::resolve::{Resolved, resolve};

/// What [`compile_with`] may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether system calls newer than all that the profile names fail with ENOSYS (as in runc, not
    /// in libseccomp).
    pub enosys: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { enosys: true }
    }
}

/// Compiles `profile` for this host.
pub fn compile(profile: &Profile, host: &HostSeccomp) -> Result<Program, Error> {
    compile_with(profile, host, Options::default())
}

/// Compiles `profile` for this host.
pub fn compile_with(profile: &Profile, host: &HostSeccomp, options: Options) -> Result<Program, Error> {
    let resolved = resolve(profile, host)?;
    let policies = policies(profile, &resolved)?;
    let groups = groups(&policies, &resolved, options.enosys);
    let filter = emit(&groups, &policies, &resolved, RETURN_KILL_THREAD);
    if filter.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong { instructions: filter.len() });
    }
    Ok(Program { filter, flags: resolved.flags, notify: resolved.notify })
}

/// The rules per architecture.
pub(super) fn policies(profile: &Profile, resolved: &Resolved) -> Result<Vec<Policy>, Error> {
    let mut policies = Vec::with_capacity(resolved.archs.len());
    for &arch in &resolved.archs {
        policies.push(Policy::new(profile, resolved, arch)?);
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::interpret::{Call, run};
    use crate::model::{Arg, Rule};
    use crate::table::Syscall;
    use crate::vocabulary::{Arch, Named, Op};

    fn fixture(name: &str) -> Profile {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        serde_json::from_slice(&std::fs::read(format!("{directory}/{name}")).unwrap()).unwrap()
    }

    fn native(arch: Arch) -> HostSeccomp {
        HostSeccomp { native: arch, ..HostSeccomp::default() }
    }

    /// The shape of the code: attaching costs the kernel one walk per number and architecture.
    #[test]
    fn dockers_profile_is_a_short_program() {
        let program = compile(&fixture("docker-default-x86_64.json"), &native(Arch::X86_64)).unwrap();
        assert!(program.filter.len() < 260, "{}", program.filter.len());
        let worst = |arch: Arch| {
            let numbers = Syscall::all().filter_map(|call| call.number(arch));
            numbers.map(|n| run(&program.filter, &Call::new(arch, n, [0; 6])).unwrap().steps).max()
        };
        assert!(worst(Arch::X86_64) <= Some(20), "{:?}", worst(Arch::X86_64));
        assert_eq!((program.flags, program.notify), (4, false));
    }

    /// The profiles for machines that no test here runs on; what they allow is read back number by
    /// number.
    #[test]
    fn foreign_machines_get_their_own_numbers() {
        for (name, arch, other) in [
            ("docker-default-aarch64.json", Arch::Aarch64, Arch::Arm),
            ("docker-default-s390x.json", Arch::S390x, Arch::S390),
        ] {
            let program = compile(&fixture(name), &native(arch)).unwrap();
            let verdict = |arch, call: &str, args| {
                let number = Syscall::from_name(call).unwrap().number(arch).unwrap();
                run(&program.filter, &Call::new(arch, number, args)).unwrap().returns
            };
            let allow = Action::Allow.returns(None);
            for arch in [arch, other] {
                assert_eq!(verdict(arch, "openat", [0; 6]), allow, "{arch:?}");
                assert_eq!(verdict(arch, "reboot", [0; 6]), 0x0005_0001, "{arch:?}");
                assert_eq!(verdict(arch, "clone3", [0; 6]), 0x0005_0026, "{arch:?}");
                // CLONE_NEWUSER; s390's clone has its first two arguments the other way round.
                let flags = if arch.big_endian() { [0, 0x1000_0000, 0, 0, 0, 0] } else { [0x1000_0000, 0, 0, 0, 0, 0] };
                assert_eq!(verdict(arch, "clone", flags), 0x0005_0001, "{arch:?}");
                assert_eq!(verdict(arch, "clone", [17; 6]), allow, "{arch:?}");
                assert_eq!(verdict(arch, "personality", [8, 0, 0, 0, 0, 0]), allow, "{arch:?}");
                assert_eq!(verdict(arch, "personality", [9, 0, 0, 0, 0, 0]), 0x0005_0001, "{arch:?}");
            }
            assert_eq!(run(&program.filter, &Call::new(Arch::X86_64, 0, [0; 6])).unwrap().returns, 0);
        }
    }

    /// 300 calls with conditions of their own: targets are thousands of instructions away from the
    /// tree.
    fn long(conditions: usize) -> Profile {
        let rule = |(i, call): (usize, Syscall)| Rule {
            names: vec![Named::Known(call)],
            action: Named::Known(Action::Errno),
            errno_ret: Some(i as u32),
            args: (0..conditions)
                .map(|index| Arg {
                    index: index as u32,
                    value: (i as u64) << 20,
                    value_two: 0,
                    op: Named::Known(if index == 0 { Op::Eq } else { Op::Ge }),
                })
                .collect(),
        };
        let calls = Syscall::all().filter(|call| call.number(Arch::X86_64).is_some());
        Profile {
            default_action: Named::Known(Action::Allow),
            syscalls: calls.take(300).enumerate().map(rule).collect(),
            ..Profile::default()
        }
    }

    /// Conditional jumps reach 255 instructions; beyond, the assembler has to help.
    #[test]
    fn far_targets_are_reached() {
        let program = compile(&long(2), &native(Arch::X86_64)).unwrap();
        assert!(program.filter.len() > 2000, "{}", program.filter.len());
        let calls = Syscall::all().filter_map(|call| call.number(Arch::X86_64));
        for (i, number) in calls.enumerate() {
            let verdict = |args| run(&program.filter, &Call::new(Arch::X86_64, number, args)).unwrap().returns;
            let value = (i as u64) << 20;
            let (hit, miss) = if i < 300 { (0x0005_0000 | i as u32, 0x7fff_0000) } else { (0x7fff_0000, 0x7fff_0000) };
            assert_eq!(verdict([value, value, 0, 0, 0, 0]), hit, "{number}");
            assert_eq!(verdict([value, value + (1 << 40), 0, 0, 0, 0]), hit, "{number}");
            assert_eq!(verdict([value + (1 << 40), value, 0, 0, 0, 0]), miss, "{number}");
        }
    }

    /// The kernel's EINVAL would say nothing.
    #[test]
    fn what_the_kernel_would_not_take_is_an_error() {
        let error = compile(&long(6), &native(Arch::X86_64)).unwrap_err();
        assert!(matches!(error, Error::TooLong { instructions: 4097.. }), "{error}");
        assert_eq!(error.pointer(), "");
    }

    /// Compiling is on the way of every container start; nothing in it may grow with the square of
    /// the profile.
    #[test]
    fn a_huge_profile_fails_fast() {
        let mut profile = long(1);
        let rule = profile.syscalls[0].clone();
        profile.syscalls.extend((0..100_000).map(|i| {
            let mut rule = rule.clone();
            rule.args[0].value = i;
            rule
        }));
        let from = std::time::Instant::now();
        assert!(matches!(compile(&profile, &native(Arch::X86_64)), Err(Error::TooLong { .. })));
        assert!(from.elapsed() < std::time::Duration::from_secs(2));
    }
}
