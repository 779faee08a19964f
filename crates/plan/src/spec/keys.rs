//! The keys that the specification knows, for `rt check`. A runtime must ignore all others
//! (config.md, "Extensibility"), so a misspelt key has no effect and is no error: `option` for
//! `options` makes a mount writable.

use serde_json::Value;

use super::{Document, Fault, Problem, SpecError, escape};

const IDS: &[&str] = &["containerID", "hostID", "size"];
const HOOK: &[&str] = &["path", "args", "env", "timeout"];
const RATE: &[&str] = &["major", "minor", "rate"];

/// The keys of each kind of object in config.json, those for other platforms included. `*` is any
/// element of a list, or any key of a map.
const OBJECTS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ociVersion",
            "root",
            "mounts",
            "process",
            "hostname",
            "domainname",
            "hooks",
            "annotations",
            "linux",
            "solaris",
            "windows",
            "vm",
            "zos",
            "freebsd",
        ],
    ),
    ("/root", &["path", "readonly"]),
    ("/mounts/*", &["destination", "type", "source", "options", "uidMappings", "gidMappings"]),
    ("/mounts/*/uidMappings/*", IDS),
    ("/mounts/*/gidMappings/*", IDS),
    (
        "/process",
        &[
            "terminal",
            "consoleSize",
            "user",
            "args",
            "commandLine",
            "env",
            "cwd",
            "capabilities",
            "rlimits",
            "noNewPrivileges",
            "apparmorProfile",
            "oomScoreAdj",
            "scheduler",
            "selinuxLabel",
            "ioPriority",
            "execCPUAffinity",
        ],
    ),
    ("/process/consoleSize", &["height", "width"]),
    ("/process/user", &["uid", "gid", "umask", "additionalGids", "username"]),
    ("/process/capabilities", &["bounding", "effective", "inheritable", "permitted", "ambient"]),
    ("/process/rlimits/*", &["type", "soft", "hard"]),
    ("/process/scheduler", &["policy", "nice", "priority", "flags", "runtime", "deadline", "period"]),
    ("/process/ioPriority", &["class", "priority"]),
    ("/process/execCPUAffinity", &["initial", "final"]),
    ("/hooks", &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]),
    ("/hooks/*/*", HOOK),
    (
        "/linux",
        &[
            "uidMappings",
            "gidMappings",
            "sysctl",
            "resources",
            "cgroupsPath",
            "namespaces",
            "devices",
            "netDevices",
            "seccomp",
            "rootfsPropagation",
            "maskedPaths",
            "readonlyPaths",
            "mountLabel",
            "intelRdt",
            "memoryPolicy",
            "personality",
            "timeOffsets",
        ],
    ),
    ("/linux/uidMappings/*", IDS),
    ("/linux/gidMappings/*", IDS),
    ("/linux/namespaces/*", &["type", "path"]),
    ("/linux/devices/*", &["path", "type", "major", "minor", "fileMode", "uid", "gid"]),
    ("/linux/netDevices/*", &["name"]),
    (
        "/linux/intelRdt",
        &["closID", "schemata", "l3CacheSchema", "memBwSchema", "enableMonitoring", "enableCMT", "enableMBM"],
    ),
    ("/linux/memoryPolicy", &["mode", "nodes", "flags"]),
    ("/linux/personality", &["domain", "flags"]),
    ("/linux/timeOffsets/*", &["secs", "nanosecs"]),
    (
        "/linux/resources",
        &["devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "rdma", "unified"],
    ),
    ("/linux/resources/devices/*", &["allow", "type", "major", "minor", "access"]),
    (
        "/linux/resources/memory",
        &[
            "limit",
            "reservation",
            "swap",
            "kernel",
            "kernelTCP",
            "swappiness",
            "disableOOMKiller",
            "useHierarchy",
            "checkBeforeUpdate",
        ],
    ),
    (
        "/linux/resources/cpu",
        &["shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle"],
    ),
    ("/linux/resources/pids", &["limit"]),
    (
        "/linux/resources/blockIO",
        &[
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ],
    ),
    ("/linux/resources/blockIO/weightDevice/*", &["major", "minor", "weight", "leafWeight"]),
    ("/linux/resources/blockIO/throttleReadBpsDevice/*", RATE),
    ("/linux/resources/blockIO/throttleWriteBpsDevice/*", RATE),
    ("/linux/resources/blockIO/throttleReadIOPSDevice/*", RATE),
    ("/linux/resources/blockIO/throttleWriteIOPSDevice/*", RATE),
    ("/linux/resources/hugepageLimits/*", &["pageSize", "limit"]),
    ("/linux/resources/network", &["classID", "priorities"]),
    ("/linux/resources/network/priorities/*", &["name", "priority"]),
    ("/linux/resources/rdma/*", &["hcaHandles", "hcaObjects"]),
    (
        "/linux/seccomp",
        &["defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata", "syscalls"],
    ),
    ("/linux/seccomp/syscalls/*", &["names", "action", "errnoRet", "args"]),
    ("/linux/seccomp/syscalls/*/args/*", &["index", "value", "valueTwo", "op"]),
];

/// The keys of a config that no specification knows.
pub fn unknown_keys(document: &Document) -> Result<Vec<Problem>, SpecError> {
    let mut found = Vec::new();
    look(&document.parse()?, "", "", &mut found);
    Ok(found)
}

fn look(value: &Value, kind: &str, pointer: &str, found: &mut Vec<Problem>) {
    match value {
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                look(value, &format!("{kind}/*"), &format!("{pointer}/{i}"), found);
            }
        }
        Value::Object(map) => {
            let keys = OBJECTS.iter().find(|(object, _)| *object == kind).map(|(_, keys)| *keys);
            for (key, value) in map {
                let pointer = format!("{pointer}/{}", escape(key));
                if keys.is_some_and(|keys| !keys.contains(&key.as_str())) {
                    let meant = keys.and_then(|keys| nearest(key, keys));
                    found.push(Problem { pointer, fault: Fault::Key { meant } });
                    continue;
                }
                // A map has keys of the user's own; hooks are the same behind each of theirs.
                let below = if keys.is_none() || kind == "/hooks" { "*" } else { key };
                look(value, &format!("{kind}/{below}"), &pointer, found);
            }
        }
        _ => {}
    }
}

/// The key that was meant, if there is one that differs by case or by two letters.
fn nearest(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &key.to_lowercase());
    let nearest = keys.iter().copied().min_by_key(|known| distance(known))?;
    let most = if key.len() < 4 { 1 } else { 2 };
    (distance(nearest) <= most).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let found = unknown_keys(&Document::new("config.json", text.as_bytes().to_vec())).unwrap();
        found.iter().map(Problem::to_string).collect()
    }

    /// Each is ignored without a word by every runtime.
    #[test]
    fn misspelt_keys() {
        for (config, message) in [
            (
                r#"{"mounts": [{}, {"option": ["ro"]}]}"#,
                "/mounts/1/option: no specification knows this key, so it has no effect; did you mean \"options\"?",
            ),
            (
                r#"{"process": {"NoNewPrivileges": true}}"#,
                "/process/NoNewPrivileges: no specification knows this key, so it has no effect; did you mean \"noNewPrivileges\"?",
            ),
            (
                r#"{"root": {"readOnly": true}}"#,
                "/root/readOnly: no specification knows this key, so it has no effect; did you mean \"readonly\"?",
            ),
            (
                r#"{"linux": {"resources": {"memory": {"max": 1}}}}"#,
                "/linux/resources/memory/max: no specification knows this key, so it has no effect",
            ),
            (
                r#"{"hooks": {"poststop": [{"timout": 5}]}}"#,
                "/hooks/poststop/0/timout: no specification knows this key, so it has no effect; did you mean \"timeout\"?",
            ),
            (
                r#"{"linux": {"netDevices": {"eth0": {"nam": "x"}}}}"#,
                "/linux/netDevices/eth0/nam: no specification knows this key, so it has no effect; did you mean \"name\"?",
            ),
            (
                r#"{"linux": {"seccomp": {"syscalls": [{"names": [], "args": [{"values": 1}]}]}}}"#,
                "/linux/seccomp/syscalls/0/args/0/values: no specification knows this key, so it has no effect; did you mean \"value\"?",
            ),
            (r#"{"a/b": 1}"#, "/a~1b: no specification knows this key, so it has no effect"),
        ] {
            assert_eq!(of(config), [message]);
        }
    }

    /// Maps have keys of the user's own, and other platforms keys that are theirs.
    #[test]
    fn keys_without_a_specification_are_free() {
        let config = r#"{"annotations": {"any": "x"}, "linux": {"sysctl": {"net.x": "1"}, "resources": {"unified": {"a.b": "1"},
            "rdma": {"mlx5": {"hcaHandles": 1}}}, "timeOffsets": {"monotonic": {"secs": 1}}}, "windows": {"layerFolders": [], "x": {"y": 1}}}"#;
        assert_eq!(of(config), [""; 0]);
    }
}
