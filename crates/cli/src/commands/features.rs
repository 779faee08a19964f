//! `rt features`: what this build can do (runtime-spec, features.md, features-linux.md). Engines
//! switch functions on by it.

use rt_seccomp::{Action, Arch, Flag, Op, Vocabulary};
use serde::Serialize;
use serde_json::{Serializer, json};

use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::Grammar;

/// Arguments of `features`.
pub const GRAMMAR: Grammar = Grammar {
    name: "features",
    about: "Print what this runtime can do, as JSON",
    options: &[],
    words: &[],
    rest: None,
};

fn seccomp() -> serde_json::Value {
    fn words<T: Vocabulary>(all: &[T]) -> Vec<&'static str> {
        all.iter().map(Vocabulary::word).collect()
    }
    json!({
        "enabled": true,
        "actions": words(Action::ALL),
        "operators": words(Op::ALL),
        "archs": words(Arch::ALL),
        "knownFlags": words(Flag::ALL),
        "supportedFlags": words(Flag::ALL),
    })
}

/// `rt features`.
pub fn run(_: &Context, _: &Arguments) -> Result<i32, Failure> {
    let options: Vec<_> = rt_plan::mount_option_names().collect();
    let namespaces: Vec<_> = {
        let mut names = rt_plan::NamespaceKind::ALL.map(|k| k.name);
        names.sort_unstable();
        names.to_vec()
    };
    let document = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": options,
        "linux": {
            "namespaces": namespaces,
            "capabilities": rt_plan::capability_names(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": ["MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_LOCAL"],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true }
        },
        "annotations": {
            "org.rt.version": env!("CARGO_PKG_VERSION"),
            "org.rt.commit": env!("RT_COMMIT"),
            // By runc's name, which is what callers look for.
            "org.opencontainers.runc.checkpoint.enabled": "true"
        },
        "potentiallyUnsafeConfigAnnotations": ["org.criu.config", "org.systemd.property.", "run.oci.keep_original_groups"]
    });
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = Serializer::with_formatter(&mut out, formatter);
    let written = document.serialize(&mut serializer);
    written.map_err(|e| Failure::usage(e.to_string()))?;
    out.push(b'\n');
    print(&String::from_utf8_lossy(&out))?;
    Ok(0)
}
