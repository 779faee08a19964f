//! System calls newer than the profile, and the form in which a program is stored.

use rt_seccomp::{Action, Arch, Call, Named, Options, Program, Syscall, compile_with, run};

#[allow(dead_code, reason = "shared with other tests")]
mod oracle;
use oracle::fixture;
use oracle::random::{Random, Style};

/// The ENOSYS ranges, against a reading of runc's stub
/// (libcontainer/seccomp/patchbpf/enosys_linux.go): instructions in front of the filter that
/// compare the number with the largest one named, per architecture.
#[test]
fn newer_calls_are_what_runc_makes_of_them() {
    let names: Vec<Syscall> = Syscall::all().collect();
    let real = ["docker-default-x86_64.json", "podman-default-x86_64.json"].map(fixture);
    let random = (0..400).map(|seed| Random(seed).profile(&names, Style::OneRuleEach));
    let mut hidden = 0;
    for profile in real.into_iter().chain(random) {
        let compile = |enosys| compile_with(&profile, &oracle::host(), Options { enosys }).expect("compiles");
        let (with, without) = (compile(true), compile(false));
        let has = |arch| arch == Arch::X86_64 || profile.architectures.contains(&Named::Known(arch));
        let largest = |arch: Arch| {
            let calls = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| name.known().ok());
            calls.filter_map(|call| call.number(arch)).max().filter(|number| *number != 0)
        };
        let permissive =
            [Action::Allow, Action::Log, Action::Trace].map(Named::Known).contains(&profile.default_action);
        let stub = |arch: Arch, number: u32| {
            let abi = match arch {
                Arch::X86_64 if number & (1 << 30) != 0 => Arch::X32,
                arch => arch,
            };
            !permissive && has(abi) && largest(abi).is_some_and(|largest| number > largest)
        };
        for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64] {
            let seams =
                [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xc000_0200, 0xffff_fffe, u32::MAX];
            for number in (0..620).chain(0x4000_0000..0x4000_0000 + 620).chain(seams) {
                // runc's stub would hide socketcall(2) and ipc(2) from rules for calls that they
                // carry.
                if arch == Arch::X86 && [102, 117].contains(&number) {
                    continue;
                }
                let call = Call::new(arch, number, [0; 6]);
                let verdict = |program: &Program| run(&program.filter, &call).expect("a valid program").returns;
                let expected = if stub(arch, number) { 0x0005_0026 } else { verdict(&without) };
                assert_eq!(
                    verdict(&with),
                    expected,
                    "{arch:?} {number:#x} {}",
                    serde_json::to_string(&profile).unwrap()
                );
                hidden += usize::from(stub(arch, number));
            }
        }
    }
    assert!(hidden > 10_000, "{hidden}");
}

/// exec runs what create compiled.
#[test]
fn the_stored_program_is_the_compiled_one() {
    let names: Vec<Syscall> = Syscall::all().collect();
    for seed in 0..50 {
        let profile = Random(seed).profile(&names, Style::Anything);
        if let Ok(program) = compile_with(&profile, &oracle::host(), Options::default()) {
            assert_eq!(Program::from_bytes(&program.to_bytes()).as_ref(), Ok(&program));
        }
    }
}
