//! `rt --trace` under Docker. With RT_TRACE_TO=FILE the trace is kept there: the picture in
//! docs/benchmarks.md is made of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rt_tests::docker::Daemon;
use rt_tests::{need_docker, need_host, rt};

/// One `docker run` shows as create, start and delete, with what init did in each.
#[test]
fn a_docker_run_from_create_to_delete() {
    need_host!();
    need_docker!();
    let dir = tempfile::tempdir().unwrap();
    let (wrapper, trace) = (dir.path().join("rt-traced"), dir.path().join("trace.json"));
    // Engines pass no such option; runtimeArgs in daemon.json makes dockerd write such a script,
    // too.
    let script = format!("#!/bin/sh\nexec {} --trace {} \"$@\"\n", rt().display(), trace.display());
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let d = Daemon::start_with("", &["--add-runtime", &format!("traced={}", wrapper.display())]);
    // The first finds nothing in the page cache.
    for _ in 0..2 {
        let _ = fs::remove_file(&trace);
        assert_eq!(d.run(&["--runtime", "traced", "--network", "none", "bb", "echo", "traced"]).ok(), "traced\n");
    }
    let text = fs::read_to_string(&trace).unwrap();
    for step in ["rt create", "rt start", "rt delete", "mount of proc", "pivot_root", "exec"] {
        assert!(text.contains(&format!("\"name\":\"{step}")), "{step}: {text}");
    }
    if let Some(file) = std::env::var_os("RT_TRACE_TO") {
        fs::copy(&trace, file).unwrap();
    }
}
