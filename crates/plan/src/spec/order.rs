//! The order of the specification (config.md, then config-linux.md where it says "linux"), in which
//! mistakes are reported.

use super::Problem;

const ORDER: &[&str] = &[
    "ociVersion",
    "root",
    "mounts",
    "process/terminal",
    "process/consoleSize",
    "process/cwd",
    "process/env",
    "process/args",
    "process/rlimits",
    "process/apparmorProfile",
    "process/capabilities",
    "process/noNewPrivileges",
    "process/oomScoreAdj",
    "process/scheduler",
    "process/selinuxLabel",
    "process/ioPriority",
    "process/execCPUAffinity",
    "process/user",
    "process",
    "hostname",
    "domainname",
    "linux/namespaces",
    "linux/uidMappings",
    "linux/gidMappings",
    "linux/timeOffsets",
    "linux/devices",
    "linux/netDevices",
    "linux/cgroupsPath",
    "linux/resources",
    "linux/intelRdt",
    "linux/memoryPolicy",
    "linux/sysctl",
    "linux/seccomp",
    "linux/rootfsPropagation",
    "linux/maskedPaths",
    "linux/readonlyPaths",
    "linux/mountLabel",
    "linux/personality",
    "linux",
    "hooks",
    "annotations",
];

fn rank(pointer: &str) -> usize {
    let path = pointer.trim_start_matches('/');
    let below = |prefix: &&str| path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ORDER.iter().position(below).unwrap_or(ORDER.len())
}

/// Sorts problems as the specification has their fields; those of one field stay as they were
/// found.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| rank(&problem.pointer));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Fault;

    #[test]
    fn problems_have_the_specifications_order() {
        let pointers = [
            "/linux/namespaces/1",
            "/hooks/prestart/0/path",
            "/process/user",
            "/process/cwd",
            "/mounts/2",
            "/mounts/0",
            "/root",
            "/linux/namespaces/0",
            "/x",
        ];
        let mut problems = pointers.map(|p| Problem { pointer: p.into(), fault: Fault::Missing });
        sort(&mut problems);
        let sorted = problems.map(|p| p.pointer);
        assert_eq!(
            sorted,
            [
                "/root",
                "/mounts/2",
                "/mounts/0",
                "/process/cwd",
                "/process/user",
                "/linux/namespaces/1",
                "/linux/namespaces/0",
                "/hooks/prestart/0/path",
                "/x"
            ]
        );
    }
}
