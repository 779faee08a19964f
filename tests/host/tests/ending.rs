//! How a container's init ended, which `state` tells when rt has come to know it.

use rt_tests::{Bundle, Container, need, need_host};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use serde_json::{Value, json};

/// `run --keep` of a bundle; the container and its exit code.
fn kept(bundle: &Bundle) -> (Container, i32) {
    bundle.write();
    let c = Container::new();
    let code = c.rt(&["run", "--keep", "-b", bundle.path().to_str().unwrap(), &c.id]).code;
    (c, code)
}

/// The record without its time, which has to be one.
fn exit_of(c: &Container) -> Value {
    let mut state = c.state();
    assert_eq!(state["status"], "stopped");
    let exit = state["exit"].take();
    let seen = exit["seen"].as_str().unwrap_or_default();
    assert!(seen.starts_with("20") && seen.ends_with('Z') && seen.contains('T'), "{exit}");
    let without_time = exit.as_object().unwrap().iter().filter(|(key, _)| *key != "seen");
    without_time.map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// Whoever comes later reads what `run` has seen.
#[test]
fn run_records_the_exit_code_or_the_signal() {
    need_host!();
    let (c, code) = kept(&Bundle::shell("exit 42"));
    assert_eq!(code, 42);
    assert_eq!(exit_of(&c), json!({"code": 42, "oomKilled": false}));
    let list: Value = serde_json::from_str(c.rt(&["list", "--format", "json"]).ok()).unwrap();
    assert_eq!(list[0]["exit"]["code"], 42);
    // In a pid namespace of its own nobody inside can kill init.
    let (c, code) = kept(&Bundle::shell("kill -USR1 $$").without_namespace("pid"));
    assert_eq!(code, 138);
    assert_eq!(exit_of(&c), json!({"signal": 10, "oomKilled": false}));
}

/// A container that died for memory says so, with the limit beside it.
#[test]
fn an_end_for_memory_is_told_apart_from_a_kill() {
    need_host!();
    let hog = ["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60"];
    let limit = |c: &mut Value| c["linux"]["resources"] = json!({"memory": {"limit": 8_388_608}});
    let (c, code) = kept(&Bundle::new(&hog).with(limit));
    assert_eq!(code, 137);
    assert_eq!(exit_of(&c), json!({"signal": 9, "oomKilled": true}));
    assert_eq!(c.state()["reachedLimits"][0]["limit"], 8_388_608);
}

/// An init that nobody has waited for yet tells its end to whoever looks; what was seen once stays
/// known.
#[test]
fn an_unreaped_init_tells_its_end() {
    need_host!();
    set_child_subreaper(Some(Pid::INIT)).unwrap();
    for (script, wanted) in
        [("exit 3", json!({"code": 3, "oomKilled": false})), ("sleep 1000", json!({"signal": 9, "oomKilled": false}))]
    {
        let c = Bundle::shell(script).create();
        let pid = Pid::from_raw(c.pid()).unwrap();
        assert_eq!(c.state()["exit"], Value::Null, "it lives");
        c.rt(&["start", &c.id]).ok();
        if script.starts_with("sleep") {
            c.rt(&["kill", &c.id, "KILL"]).ok();
        }
        c.await_status("stopped");
        assert_eq!(exit_of(&c), wanted, "{script}");
        waitpid(Some(pid), WaitOptions::empty()).unwrap().expect("init has become our child");
        assert_eq!(exit_of(&c), wanted, "{script}, reaped");
    }
}

/// Somebody without rights over init sees a 0 in its place: that must not become an end in good
/// order.
#[test]
fn an_end_that_may_not_be_seen_is_unknown() {
    need_host!();
    need!(std::path::Path::new("/usr/bin/setpriv").exists(), "needs setpriv of util-linux");
    set_child_subreaper(Some(Pid::INIT)).unwrap();
    let c = Bundle::shell("exit 3").create();
    let zombie = format!("/proc/{}/stat", c.pid());
    c.rt(&["start", &c.id]).ok();
    rt_tests::eventually("the end", || std::fs::read_to_string(&zombie).is_ok_and(|stat| stat.contains(") Z ")));
    let open = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        for entry in std::iter::once(path.to_owned()).chain(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()))
        {
            let mode = if entry.is_dir() { 0o755 } else { 0o644 };
            let _ = std::fs::set_permissions(entry, std::fs::Permissions::from_mode(mode));
        }
    };
    open(c.root());
    open(&c.root().join(&c.id));
    let mut stranger = std::process::Command::new("setpriv");
    stranger.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(rt_tests::rt());
    stranger.arg("--root").arg(c.root()).args(["state", &c.id]);
    let seen: Value = serde_json::from_str(rt_tests::done(stranger).ok()).unwrap();
    assert_eq!((&seen["status"], &seen["exit"]), (&json!("stopped"), &Value::Null));
    assert_eq!(exit_of(&c)["code"], 3);
}
