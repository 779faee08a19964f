//! `rt doctor`: what it says about this host, and about hosts that are not ready.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rt_tests::{Bundle, Container, Done, need_host};
use serde_json::{Value, json};

/// Levels and messages by what they are about.
fn findings(done: &Done) -> (bool, Vec<(String, String, String)>) {
    let document: Value = serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let list = document["findings"].as_array().unwrap().iter();
    let found = list.map(|f| {
        assert_eq!(f["level"] == "ok", f["remedy"].is_null(), "{f}");
        (text(f, "level"), text(f, "about"), text(f, "message"))
    });
    (document["ok"].as_bool().unwrap(), found.collect())
}

/// A host on which all tests pass is ready; people and programs are told the same.
#[test]
fn this_host_is_ready() {
    need_host!();
    let c = Container::new();
    let done = c.rt(&["doctor", "--json"]);
    let (ready, found) = findings(&done);
    assert!(ready && done.code == 0, "{found:?}");
    for about in ["kernel", "namespaces", "seccomp", "cgroups", "state", "user namespaces"] {
        assert!(found.iter().any(|(_, a, _)| a == about), "{about}: {found:?}");
    }
    let text = c.rt(&["doctor"]);
    assert!(found.iter().all(|(level, about, message)| {
        text.ok().lines().any(|l| l.starts_with(level) && l.contains(about) && l.ends_with(message))
    }));
    assert!(text.out.contains("this host is ready for containers"), "{text:?}");
}

/// Whoever may write to the state of containers decides what root executes; and a CRIU that is too
/// old is found before a checkpoint fails.
#[test]
fn what_is_wrong_has_a_remedy() {
    need_host!();
    let c = Container::new();
    fs::set_permissions(c.root(), fs::Permissions::from_mode(0o777)).unwrap();
    let criu = c.root().join("criu");
    fs::write(&criu, "#!/bin/sh\necho 'Version: 3.17.1'\n").unwrap();
    fs::set_permissions(&criu, fs::Permissions::from_mode(0o755)).unwrap();
    let doctor = ["--criu", criu.to_str().unwrap(), "doctor"];
    let done = c.rt(&[&doctor[..], &["--json"]].concat());
    let (ready, found) = findings(&done);
    assert_eq!((ready, done.code), (false, 1));
    let level = |about: &str| found.iter().find(|(_, a, _)| a == about).map(|(level, ..)| level.clone());
    assert_eq!(level("state").as_deref(), Some("wrong"), "{found:?}");
    assert_eq!(level("criu").as_deref(), Some("warning"), "{found:?}");
    assert!(c.rt(&doctor).out.contains("this host is not ready: 1 thing is wrong, with 1 warning"));
}

/// rt inside a container: the profile around it, from before openat2(2), is what fails.
#[test]
fn an_old_profile_around_rt() {
    need_host!();
    let bundle = Bundle::new(&["/rt", "doctor", "--json"]).with(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["openat2", "pidfd_open"], "action": "SCMP_ACT_ERRNO"}
        ]});
    });
    fs::copy(rt_tests::rt(), bundle.rootfs().join("rt")).unwrap();
    let (_, found) = findings(&bundle.run());
    let refused = found.iter().find(|(_, about, _)| about == "system calls");
    let (level, _, message) = refused.unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(level, "warning");
    assert!(message.contains("openat2 (operation not permitted), pidfd_open (operation not permitted)"), "{message}");
}
