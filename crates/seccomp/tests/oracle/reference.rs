//! A reading of profiles that has nothing in common with the compiler: all rules, without order,
//! evaluated in full.

use std::collections::{BTreeMap, BTreeSet};

use rt_seccomp::{Action, Arch, Arg, Named, Op, Profile, Syscall};

use super::Oracle;

/// The rules of a call: each an action and its conditions.
pub type Rules = Vec<(u32, Vec<Arg>)>;

/// All rules of a profile by architecture and number, without order.
pub struct Reference {
    /// The default action.
    pub default: u32,
    /// The native architecture and those of the profile.
    pub archs: Vec<Arch>,
    /// By architecture and number.
    pub rules: BTreeMap<(Arch, u32), Rules>,
}

impl Reference {
    pub fn new(oracle: &mut Oracle, profile: &Profile) -> Self {
        let returns =
            |action: &Named<Action>, errno: Option<u32>| action.known().unwrap().returns(errno.map(|e| e as u16));
        let default = returns(&profile.default_action, profile.default_errno_ret);
        let mut archs = vec![Arch::X86_64];
        archs.extend(
            profile.architectures.iter().map(|arch| *arch.known().unwrap()).filter(|arch| *arch != Arch::X86_64),
        );
        let mut rules: BTreeMap<(Arch, u32), Vec<_>> = BTreeMap::new();
        for rule in &profile.syscalls {
            let action = returns(&rule.action, rule.errno_ret);
            if action == default {
                continue;
            }
            let repeated = (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
            let alternatives = if repeated {
                rule.args.iter().map(|arg| vec![arg.clone()]).collect()
            } else {
                vec![rule.args.clone()]
            };
            for name in &rule.names {
                let call = *name.known().unwrap();
                for (arch, args) in archs.iter().flat_map(|arch| alternatives.iter().map(move |args| (*arch, args))) {
                    if let Some(number) = call.number(arch) {
                        rules.entry((arch, number)).or_default().push((action, args.clone()));
                    }
                    if arch == Arch::X86
                        && let Some(direct) = Direct::of(oracle, call)
                    {
                        let number = Syscall::from_name(direct.through).unwrap().number(arch).unwrap();
                        let selector = Arg { index: 0, value: direct.selector, value_two: 0, op: Named::Known(Op::Eq) };
                        let others = args.iter().filter(|arg| arg.index != 0).cloned();
                        let args = std::iter::once(selector).chain(others).collect();
                        rules.entry((arch, number)).or_default().push((action, args));
                    }
                }
            }
        }
        Self { default, archs, rules }
    }

    /// The actions that some reading of the profile gives this call.
    pub fn actions(&self, arch: Arch, number: u32, args: &[u64; 6]) -> BTreeSet<u32> {
        let wide = arch == Arch::X86_64;
        let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
        let holds = |arg: &Arg| {
            let (actual, value) = (cut(args[arg.index as usize]), cut(arg.value));
            match arg.op.known().unwrap() {
                Op::Ne => actual != value,
                Op::Lt => actual < value,
                Op::Le => actual <= value,
                Op::Eq => actual == value,
                Op::Ge => actual >= value,
                Op::Gt => actual > value,
                Op::MaskedEq => actual & value == cut(arg.value_two) & value,
            }
        };
        let tautology = |arg: &Arg| arg.op == Named::Known(Op::MaskedEq) && cut(arg.value) == 0;
        let rules = self.rules.get(&(arch, number)).map(Vec::as_slice).unwrap_or_default();
        if let Some((action, _)) = rules.iter().find(|(_, args)| args.iter().all(tautology)) {
            return [*action].into();
        }
        let matching: BTreeSet<u32> =
            rules.iter().filter(|(_, args)| args.iter().all(holds)).map(|(action, _)| *action).collect();
        if matching.is_empty() { [self.default].into() } else { matching }
    }
}

/// Names that libseccomp sees as carried by socketcall(2) or ipc(2): its pseudo-numbers say which
/// selector they have.
pub struct Direct {
    /// The carrier.
    pub through: &'static str,
    /// Its first argument.
    pub selector: u64,
}

impl Direct {
    /// How `call` is carried on x86.
    pub fn of(oracle: &mut Oracle, call: Syscall) -> Option<Self> {
        match oracle.resolve(Arch::X86, call.name()) {
            n @ -120..=-101 => Some(Self { through: "socketcall", selector: (-n - 100) as u64 }),
            n @ -224..=-201 => Some(Self { through: "ipc", selector: (-n - 200) as u64 }),
            _ => None,
        }
    }
}
