//! What the state keeps of a config, for the commands that come later.

use std::collections::BTreeMap;

use crate::spec::{Hooks, Process, Spec, Text};

/// The annotations, for `state` and hooks.
pub fn owned_annotations(spec: &Spec<'_>) -> BTreeMap<String, String> {
    spec.annotations.iter().flatten().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// What an exec'd process takes from the container's where it says nothing itself.
pub fn defaults_for_exec(process: Option<&Process<'_>>) -> Process<'static> {
    let Some(p) = process else { return Process::default() };
    let own = |t: &Option<Text<'_>>| t.clone().map(Text::into_owned);
    let texts = |l: &Option<Vec<Text<'_>>>| l.as_ref().map(|l| l.iter().cloned().map(Text::into_owned).collect());
    Process {
        capabilities: p.capabilities.as_ref().map(|c| crate::spec::Capabilities {
            bounding: texts(&c.bounding),
            effective: texts(&c.effective),
            inheritable: texts(&c.inheritable),
            permitted: texts(&c.permitted),
            ambient: texts(&c.ambient),
        }),
        rlimits: p.rlimits.as_ref().map(|limits| {
            let own_limit =
                |l: &crate::spec::Rlimit<'_>| crate::spec::Rlimit { kind: own(&l.kind), soft: l.soft, hard: l.hard };
            limits.iter().map(own_limit).collect()
        }),
        no_new_privileges: p.no_new_privileges,
        apparmor_profile: own(&p.apparmor_profile),
        selinux_label: own(&p.selinux_label),
        oom_score_adj: p.oom_score_adj,
        ..Process::default()
    }
}

/// poststart and poststop, which outlive this command.
pub fn later_hooks(hooks: Option<&Hooks<'_>>) -> Hooks<'static> {
    let own = |list: &Option<Vec<crate::spec::Hook<'_>>>| {
        list.as_ref().map(|hooks| {
            let texts =
                |l: &Option<Vec<Text<'_>>>| l.as_ref().map(|l| l.iter().cloned().map(Text::into_owned).collect());
            let own_hook = |h: &crate::spec::Hook<'_>| crate::spec::Hook {
                path: h.path.clone().map(Text::into_owned),
                args: texts(&h.args),
                env: texts(&h.env),
                timeout: h.timeout,
            };
            hooks.iter().map(own_hook).collect()
        })
    };
    Hooks {
        poststart: hooks.and_then(|h| own(&h.poststart)),
        poststop: hooks.and_then(|h| own(&h.poststop)),
        ..Hooks::default()
    }
}
