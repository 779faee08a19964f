//! Random profiles, made to collide: few system calls, few values, all operators and actions.

use std::collections::BTreeSet;

use rt_seccomp::{Action, Arch, Arg, Named, Op, Profile, Rule, Syscall};

/// What a random profile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// One rule per call, with any conditions.
    OneRuleEach,
    /// Many rules per call, one equality each: what is in the profiles of engines.
    Equalities,
    /// Many rules per call, up to three equalities each.
    Combinations,
    /// Many rules per call, up to three conditions each.
    Anything,
}

/// A small generator of its own, so that a failing profile can be had again from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Values that meet each other, in one word or in both.
    pub fn value(&mut self) -> u64 {
        const VALUES: [u64; 14] = [
            0,
            1,
            2,
            9,
            16,
            40,
            0x7e02_0000,
            0xffff_ffff,
            1 << 32,
            (1 << 32) | 16,
            (2 << 32) | 1,
            0xffff_ffff_0000_0000,
            u64::MAX - 1,
            u64::MAX,
        ];
        if self.below(12) == 0 { self.next() } else { self.one(&VALUES) }
    }

    pub fn action(&mut self) -> (Named<Action>, Option<u32>) {
        use Action::*;
        let action = self.one(&[Allow, Allow, Errno, Errno, Errno, Kill, KillThread, KillProcess, Trap, Trace, Log]);
        let errno = if action.carries_errno() { self.one(&[None, Some(1), Some(22), Some(38)]) } else { None };
        (Named::Known(action), errno)
    }

    pub fn profile(&mut self, names: &[Syscall], style: Style) -> Profile {
        const BUSY: [&str; 12] = [
            "socket",
            "clone",
            "personality",
            "semop",
            "shmat",
            "read",
            "ioctl",
            "socketcall",
            "ipc",
            "accept",
            "sendmsg",
            "prctl",
        ];
        let (default_action, default_errno_ret) = self.action();
        let mut architectures = Vec::new();
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            if self.below(3) > 0 {
                architectures.push(Named::Known(arch));
            }
        }
        // One action for all in half of the profiles: then order cannot matter.
        let single = (self.below(2) == 0).then(|| self.action());
        let length = 1 + self.below(10);
        let ops = match style {
            Style::OneRuleEach | Style::Anything => Op::ALL,
            Style::Equalities => &[Op::Eq, Op::MaskedEq],
            Style::Combinations => &[Op::Eq, Op::Ne, Op::MaskedEq],
        };
        let mut used = BTreeSet::new();
        let syscalls = (0..length).map(|_| {
            let (action, errno_ret) = single.clone().unwrap_or_else(|| self.action());
            let names = (0..1 + self.below(4))
                .map(|_| if self.below(3) > 0 { Named::new(self.one(&BUSY)) } else { Named::Known(self.one(names)) });
            let mut names: Vec<Named<Syscall>> = names.collect();
            let args = match style {
                _ if self.below(4) == 0 => 0,
                Style::Equalities => 1,
                _ => 1 + self.below(3),
            };
            let args = (0..args).map(|_| Arg {
                index: self.below(3) as u32,
                value: self.value(),
                value_two: self.value(),
                op: Named::Known(self.one(ops)),
            });
            let mut args: Vec<Arg> = args.collect();
            if style == Style::OneRuleEach {
                // Calls that share a number on x86 are one call here.
                names.retain(|name| used.insert(multiplexer(name.as_str()).unwrap_or(name.as_str()).to_owned()));
                args.sort_by_key(|arg| arg.index);
                args.dedup_by_key(|arg| arg.index);
            }
            Rule { names, action, errno_ret, args }
        });
        let syscalls = syscalls.collect();
        Profile { default_action, default_errno_ret, architectures, syscalls, ..Profile::default() }
    }

    /// Arguments that could make a difference to the rules of a call: the values compared with,
    /// their neighbours, their words swapped for others.
    pub fn arguments(&mut self, rules: &[(u32, Vec<Arg>)]) -> Vec<[u64; 6]> {
        let mut all = vec![[0; 6]];
        let mut values = vec![self.next(), u64::MAX];
        for arg in rules.iter().flat_map(|(_, args)| args) {
            let (a, b) = (arg.value, arg.value_two);
            values.extend([a, a.wrapping_add(1), a.wrapping_sub(1), b, b & a, a ^ (1 << 32), a & 0xffff_ffff]);
        }
        if rules.iter().all(|(_, args)| args.is_empty()) {
            all.push([values[0]; 6]);
            return all;
        }
        for (_, args) in rules {
            for _ in 0..12 {
                let mut call = [0; 6];
                call.iter_mut().for_each(|arg| *arg = self.one(&values));
                // Most of the time the rule matches, or fails in one argument.
                for arg in args {
                    if self.below(6) > 0 {
                        call[arg.index as usize] = match arg.op.known().unwrap() {
                            Op::MaskedEq => arg.value_two & arg.value | call[arg.index as usize] & !arg.value,
                            Op::Ne | Op::Gt => arg.value.wrapping_add(1),
                            Op::Lt => arg.value.wrapping_sub(1),
                            _ => arg.value,
                        };
                    }
                }
                all.push(call);
            }
        }
        all
    }
}

/// What the random generator takes for a family of calls with one number on x86; by their names,
/// roughly.
fn multiplexer(name: &str) -> Option<&'static str> {
    let begins = |with: &[&str]| with.iter().any(|with| name.starts_with(with));
    if begins(&[
        "socket", "bind", "connect", "listen", "accept", "getsock", "getpeer", "send", "recv", "shutdown", "setsock",
    ]) {
        Some("socketcall")
    } else if begins(&["ipc", "sem", "msg", "shm"]) {
        Some("ipc")
    } else {
        None
    }
}
