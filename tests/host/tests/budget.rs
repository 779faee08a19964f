//! What a start costs, in counts: they may grow only together with the numbers below, in the same
//! commit. hack/bench has the times.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, done, need, need_host, on_cgroup2, rt};
use serde_json::json;

/// System calls of rt and init in `rt run` of the default config on cgroup v2, those of the program
/// included.
const RUN_CALLS: u32 = 290;
/// The same for `rt state`.
const STATE_CALLS: u32 = 16;
/// Bytes of the binary.
const BINARY: u64 = 2_830_000;

/// Page faults of `rt run`, `rt create` and `rt state`, with those of the program, on cgroup v2. They are what a short command
/// costs: a stale list of functions, a larger table or an eager allocation shows here first.
const RUN_FAULTS: u32 = 104;
const CREATE_FAULTS: u32 = 61;
const STATE_FAULTS: u32 = 31;

/// How many page faults `rt` takes with these arguments on cgroup v2, the least of some tries. After each the container is deleted,
/// where its cgroup can be seen.
fn faults(container: &Container, arguments: &[&str]) -> u32 {
    const COUNT: &str = "import resource, subprocess, sys
rt, arguments = sys.argv[1:4], sys.argv[4:]
run = lambda words: subprocess.run(rt + words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
# The first start in a mount namespace makes the base of new ones.
run(['run'] + arguments[1:])
if arguments[0] == 'state':
    run(['create'] + arguments[1:])
    arguments = ['state', arguments[-1]]
before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
status = run(arguments)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before)
run(['delete', '--force', arguments[-1]])
sys.exit(status)";
    let once = || {
        let mut counted = on_cgroup2();
        counted.args(["python3", "-c", COUNT]).arg(rt()).arg("--root").arg(container.root()).args(arguments);
        done(counted).ok().trim().parse::<u32>().unwrap()
    };
    (0..5).map(|_| once()).min().unwrap()
}

/// A budget that is far from what is used guards nothing.
fn within(what: &str, count: u32, budget: u32, slack: u32) {
    assert!(count <= budget, "{what}: {count}, the budget is {budget}");
    assert!(count + slack >= budget, "{what}: {count}; lower the budget of {budget}");
}

#[test]
fn a_start_stays_within_its_page_faults() {
    need_host!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["root"]["readonly"] = json!(true);
        c["process"]["args"] = json!(["/bin/true"]);
    });
    bundle.write();
    let container = Container::new();
    let bundle = bundle.path().to_str().unwrap();
    let faults = |verb| faults(&container, &[verb, "--bundle", bundle, &container.id]);
    within("page faults of rt run", faults("run"), RUN_FAULTS, 15);
    within("page faults of rt create", faults("create"), CREATE_FAULTS, 15);
    within("page faults of rt state", faults("state"), STATE_FAULTS, 10);
}

/// How many system calls a command makes, with all that it starts, when it is repeated: the first start in a mount namespace makes
/// the base of new ones.
fn calls(command: &Command) -> u32 {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut traced = on_cgroup2();
    let twice = "log=$1; shift; \"$@\" && exec strace -f -qq -c -U calls,name -o $log \"$@\"";
    traced.args(["sh", "-c", twice, "sh"]).arg(log.path());
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
