//! Profiles to programs, which must say what the rules say: judged by the reference that the
//! differential tests use.

use std::cell::RefCell;

use rt_seccomp::{
    Action, Arch, Call, HostSeccomp, MAX_INSTRUCTIONS, Options, Profile, Program, Syscall, check, compile,
    compile_with, describe_return, disassemble, run as interpret,
};

#[allow(dead_code, unused_imports, missing_docs, clippy::expect_used, reason = "shared with the tests of rt-seccomp")]
#[path = "../../../crates/seccomp/tests/oracle/mod.rs"]
mod oracle;
use oracle::Oracle;
use oracle::random::Random;
use oracle::reference::Reference;

/// Compiles a profile for each kind of machine; on this kind, every rule is tried. True if it was
/// compiled for this kind.
pub fn run(data: &[u8]) -> bool {
    let Ok(profile) = serde_json::from_slice::<Profile>(data) else { return false };
    for native in [Arch::X86_64, Arch::Aarch64, Arch::S390x] {
        let host = HostSeccomp { native, ..HostSeccomp::default() };
        match compile(&profile, &host) {
            Ok(program) => sound(&program),
            Err(error) => assert!(!error.to_string().is_empty() && !error.pointer().starts_with("//")),
        }
    }
    let host = oracle::host();
    let _ = check(&profile, &host);
    let Ok(program) = compile_with(&profile, &host, Options { enosys: false }) else { return false };
    if comparable(&profile) {
        agree(&profile, &program);
    }
    true
}

/// The kernel will take it, the state directory will keep it.
fn sound(program: &Program) {
    assert!(program.filter.len() <= MAX_INSTRUCTIONS);
    if program.filter.is_empty() {
        return;
    }
    assert_eq!(Program::from_bytes(&program.to_bytes()).as_ref(), Ok(program));
    assert!(!disassemble(&program.filter).is_empty());
    for arch in Arch::ALL {
        for number in [0, 1, 59, 335, 450, 0x3fff_ffff, 0x4000_0000, u32::MAX] {
            assert!(
                interpret(&program.filter, &Call::new(*arch, number, [u64::MAX; 6])).is_some(),
                "{arch:?} {number}"
            );
        }
    }
}

/// What the reference can read: known words only, on the architectures of this machine.
fn comparable(profile: &Profile) -> bool {
    let archs = [Arch::X86_64, Arch::X86, Arch::X32];
    profile.architectures.iter().all(|arch| arch.known().is_ok_and(|arch| archs.contains(arch)))
        && profile.default_action.known().is_ok()
        && profile.syscalls.iter().all(|rule| {
            rule.action.known().is_ok()
                && rule.names.iter().all(|name| name.known().is_ok())
                && rule.args.iter().all(|arg| arg.op.known().is_ok() && arg.index < 6)
        })
}

thread_local! {
    static ORACLE: RefCell<Option<Oracle>> = RefCell::new(Oracle::start());
}

/// Every number that a rule is about, and some that none is about, with arguments that the rules
/// look at.
fn agree(profile: &Profile, program: &Program) {
    let reference = ORACLE.with_borrow_mut(|oracle| oracle.as_mut().map(|oracle| Reference::new(oracle, profile)));
    // Without libseccomp's numbers there is no reference; the rest has been looked at.
    let Some(reference) = reference else { return };
    let mut random = Random(profile.syscalls.len() as u64);
    let mut ask = |arch: Arch, number: u32, rules: &[(u32, Vec<rt_seccomp::Arg>)]| {
        for args in random.arguments(rules) {
            let Some(ours) = interpret(&program.filter, &Call::new(arch, number, args)) else {
                panic!("a program that ends nowhere")
            };
            let allowed = reference.actions(arch, number, &args);
            let words = || allowed.iter().map(|a| describe_return(*a)).collect::<Vec<_>>().join(" or ");
            assert!(
                allowed.contains(&ours.returns),
                "{} for {arch:?} {number:#x} {args:x?}, and not {}",
                describe_return(ours.returns),
                words()
            );
        }
    };
    for ((arch, number), rules) in &reference.rules {
        ask(*arch, *number, rules);
    }
    for arch in &reference.archs {
        for call in Syscall::all().step_by(7) {
            if let Some(number) = call.number(*arch)
                && !reference.rules.contains_key(&(*arch, number))
            {
                ask(*arch, number, &[]);
            }
        }
    }
    let foreign = Call::new(Arch::Aarch64, 63, [0; 6]);
    assert_eq!(interpret(&program.filter, &foreign).map(|o| o.returns), Some(Action::Kill.returns(None)));
}
