//! `rt spec`: a config.json to start from, the same as runc's.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use rt_cgroups::Layout;
use serde::Serializer;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, path, text};

/// Arguments of `spec`.
pub const GRAMMAR: Grammar = Grammar {
    name: "spec",
    about: "Write a config.json to start from",
    options: &[&[
        path("bundle", "DIR", "Write it there [default: .]").short('b'),
        path("file", "FILE", "Write FILE instead of the bundle's config.json; - is standard output").short('f'),
        flag("rootless", "For a container without root"),
        flag("no-terminal", "For a program without a terminal, as `rt create` wants it"),
        text("arg", "WORD", "A word of the program's command line [default: sh]").many(),
    ]],
    words: &[],
    rest: None,
};

/// `rt spec`.
pub fn run(_: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let mut config = template();
    if !cgroups_are_unified()
        && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
    {
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
    if arguments.flag("no-terminal") {
        config["process"]["terminal"] = false.into();
    }
    let program = arguments.texts("arg");
    if !program.is_empty() {
        config["process"]["args"] = program.into();
    }
    if arguments.flag("rootless") {
        rootless(&mut config);
    }
    let text = formatted(&config)?;
    if arguments.value("file").is_some_and(|file| file == "-") {
        print(&text)?;
        return Ok(0);
    }
    let in_bundle = || arguments.path("bundle").unwrap_or_else(|| ".".into()).join("config.json");
    let file = arguments.path("file").unwrap_or_else(in_bundle);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&file);
    let written = match opened {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let name = file.file_name().unwrap_or(file.as_os_str()).display();
            return Err(Failure::usage(format!("File {name} exists. Remove it first")));
        }
        other => other.and_then(|mut f| f.write_all(text.as_bytes())),
    };
    written.map_err(|e| Failure::from(e).prefixed(&format!("write {}: ", file.display())))?;
    Ok(0)
}

/// With tabs, as runc's, and first what people change first.
fn formatted(config: &Value) -> Result<String, Failure> {
    const ORDER: [&str; 6] = ["ociVersion", "process", "root", "hostname", "mounts", "linux"];
    let mut out = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    let parts = ORDER.iter().filter_map(|name| Some((name, config.get(name)?)));
    serializer.collect_map(parts).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Whether the host has cgroup v2 only. Elsewhere a container gets no cgroup namespace by default,
/// as with runc.
fn cgroups_are_unified() -> bool {
    matches!(rt_cgroups::detect(), Ok(Layout::V2 { .. }))
}

fn template() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "rt",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" }
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Without root: a user namespace of one's own id, the host's network, /sys bound, no limits, no
/// owner for the terminals.
fn rootless(config: &mut Value) {
    let namespaces = &mut config["linux"]["namespaces"];
    if let Some(list) = namespaces.as_array_mut() {
        list.retain(|ns| ns["type"] != "network" && ns["type"] != "user");
        list.push(json!({ "type": "user" }));
    }
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    config["linux"]["uidMappings"] = map(rustix::process::geteuid().as_raw());
    config["linux"]["gidMappings"] = map(rustix::process::getegid().as_raw());
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("resources");
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        for mount in mounts.iter_mut() {
            if mount["destination"] == "/sys" {
                *mount = json!({
                    "destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]
                });
            }
            if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
                options.retain(|o| !o.as_str().is_some_and(|o| o.starts_with("gid=") || o.starts_with("uid=")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program comes first, and nothing is left out.
    #[test]
    fn the_order_of_the_parts() {
        let text = formatted(&template()).unwrap();
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again, template());
        assert!(text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {"), "{text}");
    }

    /// The specification's own types must accept what we write, field by field.
    #[test]
    fn the_template_is_a_valid_spec() {
        for change in [false, true] {
            let mut config = template();
            if change {
                rootless(&mut config);
            }
            let spec: oci_spec::runtime::Spec = serde_json::from_value(config.clone()).unwrap();
            let again = serde_json::to_value(&spec).unwrap();
            assert_eq!(again["mounts"], config["mounts"]);
            assert_eq!(again["root"], config["root"]);
            assert_eq!(
                again["linux"]["namespaces"].as_array().unwrap().len(),
                config["linux"]["namespaces"].as_array().unwrap().len()
            );
        }
    }
}
