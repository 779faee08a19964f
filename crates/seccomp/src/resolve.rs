//! First step of the compiler: words to values, and each rule of the profile to rules whose
//! conditions all have to hold.

use super::action::Action;
use super::error::Error;
use super::host::HostSeccomp;
use super::model::{Arg, Profile, Rule};
use super::program::NEW_LISTENER;
use super::vocabulary::{Arch, Flag, Named, Op, Vocabulary};

/// A condition on one argument: `arg & mask` compared with `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub arg: u8,
    pub op: Op,
    pub mask: u64,
    pub value: u64,
}

impl Condition {
    /// What remains when only the low word of arguments counts.
    pub fn low_word(self) -> Self {
        const LOW: u64 = 0xffff_ffff;
        Self { mask: self.mask & LOW, value: self.value & LOW, ..self }
    }

    /// Whether it cannot fail: no bit is compared.
    pub fn always_holds(self) -> bool {
        self.op == Op::MaskedEq && self.mask == 0
    }

    /// Whether `arg` satisfies it.
    pub fn holds(self, arg: u64) -> bool {
        match self.op {
            Op::Ne => arg != self.value,
            Op::Lt => arg < self.value,
            Op::Le => arg <= self.value,
            Op::Eq => arg == self.value,
            Op::Ge => arg >= self.value,
            Op::Gt => arg > self.value,
            Op::MaskedEq => arg & self.mask == self.value,
        }
    }
}

/// A rule with all words resolved.
pub(super) struct ResolvedRule {
    /// The rule of the profile it comes from.
    pub source: usize,
    /// The condition it comes from, where each condition became a rule.
    pub part: Option<usize>,
    /// The filter's return value.
    pub returns: u32,
    /// Sorted by argument, one per argument.
    pub conditions: Vec<Condition>,
}

impl ResolvedRule {
    /// Its place in the profile.
    pub fn pointer(&self) -> String {
        match self.part {
            None => format!("/syscalls/{}", self.source),
            Some(part) => format!("/syscalls/{}/args/{part}", self.source),
        }
    }
}

/// A profile with all words resolved.
pub(super) struct Resolved {
    /// The return value when no rule matches.
    pub default: u32,
    /// The default action.
    pub default_action: Action,
    /// The native architecture first, then the others in the profile's order.
    pub archs: Vec<Arch>,
    /// For seccomp(2).
    pub flags: u32,
    /// Whether a rule asks an agent.
    pub notify: bool,
    /// In the profile's order, without those that only repeat the default action.
    pub rules: Vec<ResolvedRule>,
}

impl Resolved {
    /// A rule by its index.
    pub fn rule(&self, index: u32) -> &ResolvedRule {
        &self.rules[index as usize]
    }
}

/// Resolves `profile`, or says which field is wrong.
pub(super) fn resolve(profile: &Profile, host: &HostSeccomp) -> Result<Resolved, Error> {
    let default_action = action(&profile.default_action, host, || "/defaultAction".into())?;
    if default_action == Action::Notify {
        return Err(Error::NotifyByDefault { pointer: "/defaultAction".into() });
    }
    let default = default_action.returns(errno(profile.default_errno_ret, || "/defaultErrnoRet".into())?);
    let archs = archs(profile, host)?;
    let mut flags = flags(profile, host)?;
    let mut notify = false;
    let mut rules = Vec::with_capacity(profile.syscalls.len());
    for (source, rule) in profile.syscalls.iter().enumerate() {
        let action = action(&rule.action, host, || format!("/syscalls/{source}/action"))?;
        let returns = action.returns(errno(rule.errno_ret, || format!("/syscalls/{source}/errnoRet"))?);
        let conditions = conditions(rule, source)?;
        check_names(rule, source, action)?;
        notify |= action == Action::Notify && !rule.names.is_empty();
        // Nothing to add; and libseccomp has no word for it, so runc skips such a rule before it
        // could shadow another.
        if returns != default {
            push(&mut rules, source, returns, conditions);
        }
    }
    if notify {
        flags |= NEW_LISTENER;
    } else {
        // Without a listener the kernel refuses the flag (EINVAL).
        flags &= !Flag::WaitKillableRecv.bit();
    }
    Ok(Resolved { default, default_action, archs, flags, notify, rules })
}

/// Adds a rule of the profile: as one rule, or as one for each condition if two are on the same
/// argument. That "any of them" is runc's reading, from the time when conditions could not be
/// combined.
fn push(rules: &mut Vec<ResolvedRule>, source: usize, returns: u32, mut conditions: Vec<Condition>) {
    let repeated = |(i, c): (usize, &Condition)| conditions[..i].iter().any(|earlier| earlier.arg == c.arg);
    // Seven conditions cannot be on different arguments, so the search ends early whatever their
    // number.
    if conditions.iter().take(7).enumerate().any(repeated) {
        let parts = conditions.into_iter().enumerate();
        rules.extend(parts.map(|(i, c)| ResolvedRule { source, part: Some(i), returns, conditions: vec![c] }));
    } else {
        conditions.sort_unstable_by_key(|c| c.arg);
        rules.push(ResolvedRule { source, part: None, returns, conditions });
    }
}

fn action(word: &Named<Action>, host: &HostSeccomp, pointer: impl Fn() -> String) -> Result<Action, Error> {
    let action = word.known().map_err(|word| Error::UnknownAction { pointer: pointer(), word: word.into() })?;
    if !host.has_action(*action) {
        return Err(Error::UnsupportedAction { pointer: pointer(), action: action.word() });
    }
    Ok(*action)
}

fn errno(errno: Option<u32>, pointer: impl Fn() -> String) -> Result<Option<u16>, Error> {
    errno.map(|value| u16::try_from(value).map_err(|_| Error::ErrnoRange { pointer: pointer(), value })).transpose()
}

fn archs(profile: &Profile, host: &HostSeccomp) -> Result<Vec<Arch>, Error> {
    let mut archs = Vec::with_capacity(1 + profile.architectures.len());
    archs.push(host.native);
    for (i, word) in profile.architectures.iter().enumerate() {
        let pointer = || format!("/architectures/{i}");
        let arch = *word.known().map_err(|word| Error::UnknownArch { pointer: pointer(), word: word.into() })?;
        if arch.big_endian() != host.native.big_endian() {
            return Err(Error::ForeignByteOrder { pointer: pointer(), arch: arch.word() });
        }
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    Ok(archs)
}

/// An absent list means SPEC_ALLOW where the kernel has it, an empty one means none: runc's
/// reading.
fn flags(profile: &Profile, host: &HostSeccomp) -> Result<u32, Error> {
    let Some(words) = &profile.flags else {
        return Ok(if host.has_flag(Flag::SpecAllow) { Flag::SpecAllow.bit() } else { 0 });
    };
    let mut bits = 0;
    for (i, word) in words.iter().enumerate() {
        let pointer = || format!("/flags/{i}");
        let flag = *word.known().map_err(|word| Error::UnknownFlag { pointer: pointer(), word: word.into() })?;
        if flag == Flag::Tsync {
            continue;
        }
        if !host.has_flag(flag) {
            return Err(Error::UnsupportedFlag { pointer: pointer(), flag: flag.word() });
        }
        bits |= flag.bit();
    }
    Ok(bits)
}

fn conditions(rule: &Rule, source: usize) -> Result<Vec<Condition>, Error> {
    let resolve = |(i, arg): (usize, &Arg)| {
        let op = arg.op.known().map_err(|word| Error::UnknownOperator {
            pointer: format!("/syscalls/{source}/args/{i}/op"),
            word: word.into(),
        })?;
        if arg.index > 5 {
            let pointer = format!("/syscalls/{source}/args/{i}/index");
            return Err(Error::ArgumentIndex { pointer, index: arg.index });
        }
        // The spec's "value" is the mask of a masked comparison; bits outside of it do not count on
        // either side.
        let (mask, value) = match op {
            Op::MaskedEq => (arg.value, arg.value_two & arg.value),
            _ => (u64::MAX, arg.value),
        };
        Ok(Condition { arg: arg.index as u8, op: *op, mask, value })
    };
    rule.args.iter().enumerate().map(resolve).collect()
}

fn check_names(rule: &Rule, source: usize, action: Action) -> Result<(), Error> {
    for (i, name) in rule.names.iter().enumerate() {
        let pointer = || format!("/syscalls/{source}/names/{i}");
        match name {
            Named::Unknown(name) if name.is_empty() => {
                return Err(Error::EmptyName { pointer: pointer() });
            }
            Named::Known(call) if action == Action::Notify && call.name() == "write" => {
                return Err(Error::NotifyOnWrite { pointer: pointer() });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Profile, compile};

    fn error(profile: &str) -> Error {
        let profile: Profile = serde_json::from_str(profile).unwrap();
        let host = HostSeccomp { native: Arch::X86_64, ..HostSeccomp::default() };
        compile(&profile, &host).unwrap_err()
    }

    /// Each error names the value and its place; engines match runc's wording where runc has one.
    #[test]
    fn errors_name_the_value_and_the_field() {
        let rule = |text: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW"}}, {text}]}}"#
            )
        };
        for (profile, pointer, text) in [
            (r#"{"defaultAction": "SCMP_ACT_X"}"#.into(), "/defaultAction", r#""SCMP_ACT_X" is not a seccomp action"#),
            (r#"{"defaultAction": null}"#.into(), "/defaultAction", r#""" is not a seccomp action"#),
            (
                r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.into(),
                "/defaultAction",
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536}"#.into(),
                "/defaultErrnoRet",
                "errno 65536 is larger than 65535",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_VAX"]}"#.into(),
                "/architectures/1",
                r#""SCMP_ARCH_VAX" is not a known seccomp architecture"#,
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_S390X"]}"#.into(),
                "/architectures/0",
                "SCMP_ARCH_S390X has another byte order than this machine",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["LOG"]}"#.into(),
                "/flags/0",
                r#""LOG" is not a seccomp flag"#,
            ),
            (
                rule(r#"{"names": ["read"], "action": "ALLOW"}"#),
                "/syscalls/1/action",
                r#""ALLOW" is not a seccomp action"#,
            ),
            (
                rule(r#"{"names": ["read", ""], "action": "SCMP_ACT_TRAP"}"#),
                "/syscalls/1/names/1",
                "the empty string is not a system call",
            ),
            (
                rule(r#"{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}"#),
                "/syscalls/1/names/1",
                "SCMP_ACT_NOTIFY cannot be used for the write syscall",
            ),
            (
                rule(r#"{"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}"#),
                "/syscalls/1/args/0/index",
                "a system call has no argument 6; the last one is 5",
            ),
            (
                rule(r#"{"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 5, "op": "EQ"}]}"#),
                "/syscalls/1/args/0/op",
                r#""EQ" is not a seccomp operator"#,
            ),
        ] {
            let error = error(&profile);
            assert_eq!((error.pointer(), error.to_string().as_str()), (pointer, text));
        }
    }

    /// Both rules are named, and where they meet.
    #[test]
    fn contradictions_name_both_rules() {
        let error = error(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
                {"names": ["socket"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]},
                {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#,
        );
        assert_eq!(error.pointer(), "/syscalls/1");
        let text = "contradicts /syscalls/0: the same conditions for socketcall on SCMP_ARCH_X86, but another action";
        assert_eq!(error.to_string(), text);
    }

    /// What the kernel lacks is an error, as with libseccomp; only the default flag is optional.
    #[test]
    fn an_old_kernel_is_respected() {
        let old =
            HostSeccomp { native: Arch::X86_64, actions: vec![Action::Kill, Action::Errno], flags: vec![Flag::Log] };
        let compile = |text: &str| compile(&serde_json::from_str::<Profile>(text).unwrap(), &old);
        assert_eq!(compile(r#"{"defaultAction": "SCMP_ACT_KILL_THREAD"}"#).unwrap().flags, 0);
        let error = compile(r#"{"defaultAction": "SCMP_ACT_KILL_PROCESS"}"#).unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no seccomp action SCMP_ACT_KILL_PROCESS");
        let error =
            compile(r#"{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}"#).unwrap_err();
        assert_eq!((error.pointer(), matches!(error, Error::UnsupportedFlag { .. })), ("/flags/0", true));
    }

    /// The numbers are those that runc's tests/integration/seccomp.bats expects.
    #[test]
    fn flags_are_runcs() {
        let flags = |flags: &str| {
            let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {flags} "syscalls": []}}"#);
            compile(&serde_json::from_str::<Profile>(&text).unwrap(), &HostSeccomp::default()).unwrap().flags
        };
        assert_eq!(flags(""), 4);
        assert_eq!(flags(r#""flags": null,"#), 4);
        assert_eq!(flags(r#""flags": [],"#), 0);
        assert_eq!(flags(r#""flags": ["SECCOMP_FILTER_FLAG_LOG"],"#), 2);
        assert_eq!(flags(r#""flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"#), 4);
        assert_eq!(flags(r#""flags": ["SECCOMP_FILTER_FLAG_TSYNC"],"#), 0);
        assert_eq!(flags(r#""flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],"#), 2);
        assert_eq!(flags(r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#), 0);
    }

    /// The listener's flag comes with the first rule that wants one.
    #[test]
    fn notify_asks_for_a_listener() {
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "listenerPath": "/run/agent.sock", "syscalls": [{"names": ["mknod"], "action": "SCMP_ACT_NOTIFY"}]}"#;
        let program = compile(&serde_json::from_str::<Profile>(text).unwrap(), &HostSeccomp::default()).unwrap();
        assert_eq!((program.notify, program.flags), (true, 1 << 3 | 1 << 5));
    }
}
