//! What a start costs, in counts: they may grow only together with the numbers below, in the same
//! commit. hack/bench has the times.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, done, need, need_host, on_cgroup2, rt};
use serde_json::json;

/// System calls of rt and init in `rt run` of the default config on cgroup v2, those of the program
/// included.
const RUN_CALLS: u32 = 280;
/// The same for `rt state`.
const STATE_CALLS: u32 = 16;
/// Bytes of the binary.
const BINARY: u64 = 2_500_000;

/// How many system calls a command makes, with all that it starts.
fn calls(command: &Command) -> u32 {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut traced = on_cgroup2();
    traced.arg("strace").args(["-f", "-qq", "-c", "-U", "calls,name", "-o"]).arg(log.path());
    traced.arg(command.get_program()).args(command.get_args());
    done(traced).ok();
    let table = fs::read_to_string(log.path()).unwrap();
    let total = table.lines().find(|line| line.trim_end().ends_with("total"));
    let total = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
    total.unwrap_or_else(|| panic!("no total in {table}"))
}

#[test]
fn a_start_stays_within_its_calls() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["root"]["readonly"] = json!(true);
        c["process"]["args"] = json!(["/bin/true"]);
    });
    bundle.write();
    let container = Container::new();
    let mut run = container.command();
    run.arg("run").arg("--bundle").arg(bundle.path()).arg(&container.id);
    // A cgroup that is not quite empty when it is to be removed costs eleven calls for each look,
    // on a busy machine several looks.
    let count = (0..5).map(|_| calls(&run)).min().unwrap();
    assert!(count <= RUN_CALLS, "rt run makes {count} system calls, the budget is {RUN_CALLS}");
    // A budget that is far from what is used guards nothing.
    assert!(count + 80 >= RUN_CALLS, "rt run makes {count} system calls: lower the budget of {RUN_CALLS}");

    let waiting = Bundle::new(&["sleep", "1000"]).create();
    let mut state = waiting.command();
    state.args(["state", &waiting.id]);
    let count = calls(&state);
    assert!(count <= STATE_CALLS, "rt state makes {count} system calls, the budget is {STATE_CALLS}");
}

#[test]
fn the_binary_stays_within_its_size() {
    let size = fs::metadata(rt()).unwrap().len();
    assert!(size <= BINARY, "{} has {size} bytes, the budget is {BINARY}", rt().display());
}
