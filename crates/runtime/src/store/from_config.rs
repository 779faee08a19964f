//! What the state keeps of a config, for the commands that come later.

use std::collections::BTreeMap;

use rt_plan::spec::{
    CpuAffinity, Hooks, IoPriority, Linux, List, MemoryPolicy, Personality, Process, Scheduler, Spec, Text, User,
};

use super::state::Surroundings;

/// The annotations, for `state` and hooks.
pub fn owned_annotations(spec: &Spec<'_>) -> BTreeMap<String, String> {
    spec.annotations.iter().flatten().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// What an exec'd process takes from the container's where it says nothing itself.
pub fn defaults_for_exec(process: Option<&Process<'_>>) -> Process<'static> {
    let Some(p) = process else { return Process::default() };
    Process {
        capabilities: p.capabilities.as_ref().map(|c| rt_plan::spec::Capabilities {
            bounding: texts(&c.bounding),
            effective: texts(&c.effective),
            inheritable: texts(&c.inheritable),
            permitted: texts(&c.permitted),
            ambient: texts(&c.ambient),
        }),
        rlimits: p.rlimits.as_ref().map(|limits| {
            let own_limit = |l: &rt_plan::spec::Rlimit<'_>| rt_plan::spec::Rlimit {
                kind: own(&l.kind),
                soft: l.soft,
                hard: l.hard,
            };
            limits.iter().map(own_limit).collect()
        }),
        no_new_privileges: p.no_new_privileges,
        apparmor_profile: own(&p.apparmor_profile),
        selinux_label: own(&p.selinux_label),
        oom_score_adj: p.oom_score_adj,
        user: p.user.as_ref().and_then(|user| user.umask).map(|umask| User { umask: Some(umask), ..User::default() }),
        scheduler: p.scheduler.as_ref().map(|s| Scheduler {
            policy: own(&s.policy),
            nice: s.nice,
            priority: s.priority,
            flags: texts(&s.flags),
            runtime: s.runtime,
            deadline: s.deadline,
            period: s.period,
        }),
        io_priority: p.io_priority.as_ref().map(|io| IoPriority { class: own(&io.class), priority: io.priority }),
        exec_cpu_affinity: p
            .exec_cpu_affinity
            .as_ref()
            .map(|cpus| CpuAffinity { initial: own(&cpus.initial), last: own(&cpus.last) }),
        ..Process::default()
    }
}

/// What of /linux an exec'd process gets; None if the config has nothing of it.
pub fn surroundings_for_exec(linux: Option<&Linux<'_>>) -> Option<Surroundings> {
    let linux = linux.filter(|linux| linux.personality.is_some() || linux.memory_policy.is_some())?;
    Some(Surroundings {
        personality: linux.personality.as_ref().map(|p| Personality { domain: own(&p.domain), flags: texts(&p.flags) }),
        memory_policy: linux.memory_policy.as_ref().map(|p| MemoryPolicy {
            mode: own(&p.mode),
            nodes: own(&p.nodes),
            flags: texts(&p.flags),
        }),
    })
}

fn own(text: &Option<Text<'_>>) -> Option<Text<'static>> {
    text.clone().map(Text::into_owned)
}

fn texts(list: &List<Text<'_>>) -> List<Text<'static>> {
    list.as_ref().map(|list| list.iter().cloned().map(Text::into_owned).collect())
}

/// poststart and poststop, which outlive this command.
pub fn later_hooks(hooks: Option<&Hooks<'_>>) -> Hooks<'static> {
    let own_list = |list: &List<rt_plan::spec::Hook<'_>>| {
        list.as_ref().map(|hooks| {
            let own_hook = |h: &rt_plan::spec::Hook<'_>| rt_plan::spec::Hook {
                path: own(&h.path),
                args: texts(&h.args),
                env: texts(&h.env),
                timeout: h.timeout,
            };
            hooks.iter().map(own_hook).collect()
        })
    };
    Hooks {
        poststart: hooks.and_then(|h| own_list(&h.poststart)),
        poststop: hooks.and_then(|h| own_list(&h.poststop)),
        ..Hooks::default()
    }
}
