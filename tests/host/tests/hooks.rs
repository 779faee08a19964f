//! Hooks: when they run, where, and what they are told (config.md "POSIX-platform Hooks").

use std::fs;

use rt_tests::{Bundle, need_host};
use serde_json::{Value, json};

/// Six kinds, each writing its name, the state it was given, and the mount namespace it was in.
#[test]
fn all_kinds_run_in_their_order_and_place() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    let log = bundle.path().join("log");
    fs::write(bundle.rootfs().join("tmp/log"), "").unwrap();
    let hook = |kind: &str, inside: bool| {
        let file = if inside { "/tmp/log".to_owned() } else { log.display().to_string() };
        let script = format!("echo {kind} $(readlink /proc/self/ns/net) $(cat) >> {file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let bundle = bundle.with(|c| {
        c["hooks"] = json!({
            "prestart": hook("prestart", false), "createRuntime": hook("createRuntime", false),
            "createContainer": hook("createContainer", false), "startContainer": hook("startContainer", true),
            "poststart": hook("poststart", false), "poststop": hook("poststop", false)
        });
        c["annotations"] = json!({"k": "v"});
    });
    let c = bundle.create();
    let pid = c.pid();
    let inside = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap().to_string_lossy().into_owned();
    let outside = fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    let lines = |path: &std::path::Path| -> Vec<(String, String, Value)> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|l| {
                let mut parts = l.splitn(3, ' ');
                let (kind, ns) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
                (kind, ns, serde_json::from_str(parts.next().unwrap()).unwrap())
            })
            .collect()
    };
    let created = lines(&log);
    assert_eq!(
        created.iter().map(|l| l.0.as_str()).collect::<Vec<_>>(),
        ["prestart", "createRuntime", "createContainer"]
    );
    assert_eq!(created.iter().map(|l| l.1.as_str()).collect::<Vec<_>>(), [&outside, &outside, &inside]);
    for (kind, _, state) in &created {
        assert_eq!(state["status"], "creating", "{kind}");
        assert_eq!(state["id"], c.id.as_str(), "{kind}");
        assert_eq!(state["annotations"]["k"], "v", "{kind}");
        let expected = if kind == "createContainer" { 1 } else { pid };
        assert_eq!(state["pid"], expected, "{kind}: the pid as seen from where the hook runs");
    }
    c.rt(&["start", &c.id]).ok();
    c.await_status("stopped");
    let started = lines(&bundle.rootfs().join("tmp/log"));
    assert_eq!((started[0].0.as_str(), started[0].1.as_str()), ("startContainer", inside.as_str()));
    assert_eq!(started[0].2["status"], "created");
    c.rt(&["delete", &c.id]).ok();
    let all = lines(&log);
    assert_eq!(all.iter().skip(3).map(|l| l.0.as_str()).collect::<Vec<_>>(), ["poststart", "poststop"]);
    assert_eq!(all[3].2["status"], "running");
    assert_eq!(all[4].2["status"], "stopped");
}

/// A failing poststop hook does not keep the container from being deleted.
#[test]
fn poststop_failures_are_warnings() {
    need_host!();
    let c = Bundle::new(&["true"]).with(|c| c["hooks"] = json!({"poststop": [{"path": "/bin/false"}]})).create();
    c.rt(&["delete", &c.id]).ok();
    assert!(c.leftovers().is_empty());
}

/// A hook need not read its standard input, however large the state is.
#[test]
fn a_hook_may_ignore_the_state() {
    need_host!();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["annotations"] = json!({"large": "x".repeat(200_000)});
        c["hooks"] = json!({"prestart": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}],
            "poststart": [{"path": "/bin/true"}]});
    });
    for _ in 0..10 {
        bundle.run().ok();
    }
}
