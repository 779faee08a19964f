//! Our seccomp programs against libseccomp's: every system-call number, many arguments, real and
//! random profiles.
//!
//! Three parties answer each question: our program, libseccomp's program, and `Reference`, which
//! reads the rules of the profile without order: the set of actions of all rules that match. Ours
//! must always be in that set; libseccomp's must equal ours. Two exceptions are counted, and
//! allowed in few places, see `explainable`:
//!
//! * libseccomp is not in the set. Its generator shares code between rules that go on differently
//!   when they fail, so that a later rule is not tried: of `arg0 < 0x7e020000` and `arg0 <
//!   0x100000000`, both ALLOW, it refuses 0xffffffff.
//! * The set has several members: the profile contradicts itself for that call. We have
//!   libseccomp's order (order.rs), but for the upper words of several `!=` with different actions
//!   it has two.
//!
//! `RT_SECCOMP_PROFILES` is the number of random profiles, `RT_SECCOMP_SEED` where they begin.

use std::collections::{BTreeMap, BTreeSet};

use rt_seccomp::{
    Action, Arch, Arg, Call, Error, Named, Op, Options, Profile, Syscall, Vocabulary, compile_with, describe_return,
    run,
};
use seccompiler::sock_filter;

#[allow(dead_code, reason = "shared with other tests")]
mod oracle;
use oracle::random::{Random, Style};
use oracle::reference::{Direct, Reference};
use oracle::{Oracle, fixture};

/// What the comparison of one or more profiles found.
#[derive(Default, Debug)]
struct Tally {
    profiles: usize,
    verdicts: usize,
    /// Both refused the profile for contradicting rules.
    both_refused: usize,
    /// libseccomp refused what we can express (its tree cannot hold the rules).
    only_libseccomp_refused: usize,
    /// libseccomp did not come back.
    libseccomp_hung: usize,
    /// libseccomp's program compares the architecture with system-call numbers, because the first
    /// call of its list, which would have loaded the number, has none on that architecture. Every
    /// rule there is void; not compared.
    lost_load: usize,
    /// libseccomp gives an action that no matching rule has.
    libseccomp_wrong: usize,
    libseccomp_wrong_profiles: usize,
    /// Several actions match, and we take another than libseccomp.
    other_order: usize,
    other_order_profiles: usize,
}

/// Docker's and Podman's profiles: no difference of any kind.
#[test]
fn real_profiles_are_what_libseccomp_makes_of_them() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    for name in ["docker-default-x86_64.json", "podman-default-x86_64.json"] {
        let mut profile = fixture(name);
        forget_what_libseccomp_lacks(&mut oracle, &mut profile);
        for archs in [
            &["SCMP_ARCH_X86_64"][..],
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            &["SCMP_ARCH_X32"],
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        ] {
            profile.architectures = archs.iter().map(|arch| Named::new(arch)).collect();
            let mut tally = Tally::default();
            compare(&mut oracle, &profile, &mut Random(1), &mut tally);
            println!("{name} {archs:?}: {} verdicts", tally.verdicts);
            let Tally { libseccomp_wrong, other_order, only_libseccomp_refused, .. } = tally;
            assert_eq!((libseccomp_wrong, other_order, only_libseccomp_refused), (0, 0, 0), "{name} {archs:?}");
        }
    }
}

/// Random profiles, made to collide: few system calls, few values, all operators and actions.
#[test]
fn random_profiles_are_what_libseccomp_makes_of_them() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let number = |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (profiles, seed) = (number("RT_SECCOMP_PROFILES", 2400), number("RT_SECCOMP_SEED", 1));
    let names = known_to_libseccomp(&mut oracle);
    let mut tallies: BTreeMap<Style, Tally> = BTreeMap::new();
    for i in 0..profiles {
        let style = [Style::OneRuleEach, Style::Equalities, Style::Combinations, Style::Anything][i as usize % 4];
        let mut random = Random(seed + i);
        let profile = random.profile(&names, style);
        compare(&mut oracle, &profile, &mut random, tallies.entry(style).or_default());
    }
    let sum = |count: fn(&Tally) -> usize| tallies.values().map(count).sum::<usize>();
    println!("{tallies:#?}");
    println!("{} profiles and {} verdicts compared", sum(|t| t.profiles), sum(|t| t.verdicts));
    // Profiles that go out of their way to make rules overlap; more than now would be news.
    assert!(sum(|t| t.libseccomp_wrong_profiles) * 10 < sum(|t| t.profiles));
    assert!(sum(|t| t.other_order_profiles) * 100 < sum(|t| t.profiles));
    assert!(sum(|t| t.profiles) * 10 > profiles as usize * 9, "most profiles should be comparable");
}

/// Our table of numbers, generated from the kernel's headers, against libseccomp's.
#[test]
fn numbers_are_those_of_libseccomp() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let (mut equal, mut ours, mut theirs) = (0, BTreeSet::new(), BTreeSet::new());
    for &arch in Arch::ALL {
        if arch == Arch::Loongarch64 && oracle.resolve(arch, "read") < 0 {
            continue; // libseccomp before 2.6
        }
        for call in Syscall::all() {
            let number = call.number(arch);
            let direct = !arch.multiplexes() || Direct::of(&mut oracle, call).is_none();
            match (number, oracle.resolve(arch, call.name())) {
                (Some(number), other) if other >= 0 => {
                    assert_eq!(number, other as u32, "{} on {arch:?}", call.name());
                    equal += 1;
                }
                (Some(_), _) if direct => {
                    ours.insert(call.name());
                }
                (None, other) if other >= 0 => {
                    theirs.insert((call.name(), arch.word().to_owned()));
                }
                _ => {}
            }
        }
    }
    println!("{equal} numbers agree; only in ours: {ours:?}; only in libseccomp's: {theirs:?}");
    assert!(equal > 5000);
}

fn known_to_libseccomp(oracle: &mut Oracle) -> Vec<Syscall> {
    Syscall::all().filter(|call| is_known(oracle, *call)).collect()
}

/// Whether libseccomp knows a call on the same architectures as we do; newer calls come to its
/// tables one by one.
fn is_known(oracle: &mut Oracle, call: Syscall) -> bool {
    [Arch::X86_64, Arch::X86, Arch::X32].into_iter().all(|arch| {
        match (call.number(arch), oracle.resolve(arch, call.name())) {
            (Some(number), other) => number as i32 == other || (-299..=-101).contains(&other),
            (None, other) => other < -1,
        }
    })
}

fn forget_what_libseccomp_lacks(oracle: &mut Oracle, profile: &mut Profile) {
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| name.known().is_ok_and(|call| is_known(oracle, *call)));
    }
}

fn compare(oracle: &mut Oracle, profile: &Profile, random: &mut Random, tally: &mut Tally) {
    let ours = compile_with(profile, &oracle::host(), Options { enosys: false });
    let optimize = if profile.syscalls.len() > 32 { 2 } else { 1 };
    let theirs = oracle.build(profile, optimize);
    let show = || serde_json::to_string(profile).unwrap();
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(Error::Contradiction { .. }), Err(_)) => {
            tally.both_refused += 1;
            return;
        }
        (Ok(_), Err(62)) => {
            tally.libseccomp_hung += 1;
            return;
        }
        (Ok(_), Err(errno)) => {
            assert_eq!(errno, 17, "libseccomp refuses for another reason than EEXIST: {}", show());
            tally.only_libseccomp_refused += 1;
            return;
        }
        (Err(error), theirs) => {
            panic!("we refuse ({error} at {}), libseccomp says {theirs:?}: {}", error.pointer(), show())
        }
    };
    let reference = Reference::new(oracle, profile);
    let mut differences = (0, 0);
    let mut lost_load = false;
    let mut ask = |arch: Arch, number: u32, args: [u64; 6], allowed: BTreeSet<u32>, rules: &[(u32, Vec<Arg>)]| {
        let call = Call::new(arch, number, args);
        let ours = run(&ours.filter, &call).expect("a valid program").returns;
        let theirs = run(&theirs, &call).expect("a valid program").returns;
        tally.verdicts += 1;
        let case = || {
            let names = allowed.iter().map(|a| describe_return(*a)).collect::<Vec<_>>().join(" or ");
            format!("{arch:?} {number:#x} {args:x?}: {names}; libseccomp {}\n{}", describe_return(theirs), show())
        };
        assert!(allowed.contains(&ours), "ours is {} for {}", describe_return(ours), case());
        if ours == theirs {
            return;
        }
        assert!(explainable(rules), "ours is {} for {}", describe_return(ours), case());
        let kind = if allowed.contains(&theirs) { &mut differences.1 } else { &mut differences.0 };
        *kind += 1;
        if *kind == 1 && std::env::var_os("RT_SECCOMP_SHOW").is_some() {
            println!("ours is {} for {}", describe_return(ours), case());
        }
    };
    for &arch in &[Arch::X86_64, Arch::X86, Arch::X32] {
        if loses_the_load(&theirs, arch) {
            lost_load = true;
            continue;
        }
        let in_profile = reference.archs.contains(&arch);
        let (from, to) = if arch == Arch::X32 { (0x4000_0000, 0x4000_0000 + 620) } else { (0, 620) };
        for number in from..to {
            let rules = reference.rules.get(&(arch, number)).map(Vec::as_slice).unwrap_or_default();
            for args in random.arguments(rules) {
                let allowed = if in_profile {
                    reference.actions(arch, number, &args)
                } else {
                    [Action::Kill.returns(None)].into()
                };
                ask(arch, number, args, allowed, rules);
            }
        }
    }
    // Numbers that nothing has, at the seams of the ABIs.
    let x32 = reference.archs.contains(&Arch::X32);
    for number in
        [0xffff_ffff, 0xffff_fffe, 0x3fff_ffff, 0x4000_0fff, 0x7fff_ffff, 0x8000_0000, 0xc000_0000, 0xdead_beef]
    {
        let foreign = number >= 0x4000_0000 && number != u32::MAX && !x32;
        let allowed = if foreign { Action::Kill.returns(None) } else { reference.default };
        ask(Arch::X86_64, number, [1; 6], [allowed].into(), &[]);
        if reference.archs.contains(&Arch::X86) {
            ask(Arch::X86, number, [1; 6], [reference.default].into(), &[]);
        }
    }
    ask(Arch::Aarch64, 63, [0; 6], [Action::Kill.returns(None)].into(), &[]);
    tally.profiles += 1;
    tally.lost_load += usize::from(lost_load);
    tally.libseccomp_wrong += differences.0;
    tally.libseccomp_wrong_profiles += usize::from(differences.0 > 0);
    tally.other_order += differences.1;
    tally.other_order_profiles += usize::from(differences.1 > 0);
}

/// Whether libseccomp may differ: several rules with conditions are on one call, and they are more
/// than single equalities. Where at most one rule is concerned, or calls are told apart by one
/// argument's value, there is nothing to explain.
fn explainable(rules: &[(u32, Vec<Arg>)]) -> bool {
    let conditional: Vec<&[Arg]> = rules.iter().map(|(_, args)| &args[..]).filter(|args| !args.is_empty()).collect();
    let plain = |args: &&[Arg]| matches!(args, [Arg { op: Named::Known(Op::Eq | Op::MaskedEq), .. }]);
    conditional.len() > 1 && !conditional.iter().all(plain)
}

/// Whether a program goes on from the check of the architecture without loading the number.
fn loses_the_load(filter: &[sock_filter], arch: Arch) -> bool {
    const JEQ: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const LOAD_NUMBER: (u16, u32) = (0x20, 0);
    let Some(check) = filter.iter().position(|insn| insn.code == JEQ && insn.k == arch.audit()) else {
        return false;
    };
    let next = &filter[check + 1 + usize::from(filter[check].jt)];
    next.code != RETURN && (next.code, next.k) != LOAD_NUMBER
}
