//! Limits on cgroup v1: set, read back, changed, and kept to. The VM tests say the same of cgroup
//! v2 (hack/vm/tests/limits.sh).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rt_tests::{Bundle, Container, cgroup_dir, eventually, need, need_host};
use serde_json::{Value, json};

fn is_v1() -> bool {
    Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists()
}

macro_rules! need_v1 {
    () => {
        need_host!();
        need!(is_v1(), "needs cgroup v1; hack/test vm covers v2");
    };
}

fn limited(args: &[&str], resources: Value) -> Bundle {
    Bundle::new(args).with(|c| c["linux"]["resources"] = resources)
}

fn file(container: &Container, controller: &str, name: &str) -> String {
    fs::read_to_string(cgroup_dir(container.pid(), controller).join(name)).unwrap().trim().to_owned()
}

/// Every controller's limits are in the kernel's files after create, and after update; what update
/// does not name stays.
#[test]
fn limits_are_set_and_changed() {
    need_v1!();
    let c = limited(
        &["sleep", "1000"],
        json!({
            "memory": {"limit": 67108864, "reservation": 33554432, "swappiness": 10},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 33}
        }),
    )
    .start();
    let expect = |files: &[(&str, &str, &str)]| {
        for (controller, name, value) in files {
            assert_eq!(file(&c, controller, name), *value, "{name}");
        }
    };
    expect(&[
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "10"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "33"),
    ]);
    c.rt(&["update", "--memory", "96M", "--cpu-share", "1024", "--cpu-quota", "20000", "--pids-limit", "-1", &c.id])
        .ok();
    expect(&[
        ("memory", "memory.limit_in_bytes", "100663296"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("pids", "pids.max", "max"),
    ]);
}

/// A refused change changes nothing, and names the field, the file and the value.
#[test]
fn a_refused_update_changes_nothing() {
    need_v1!();
    let c = limited(&["sleep", "1000"], json!({"memory": {"limit": 67108864}, "pids": {"limit": 33}})).start();
    let refused = c.rt(&["update", "--pids-limit", "44", "--cpuset-cpus", "4000", &c.id]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["/linux/resources/cpu/cpus", "cpuset.cpus", "4000"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert_eq!(file(&c, "pids", "pids.max"), "33");
}

/// A limit that `create` refuses for its value is refused by `update`, too: 5 as a weight became 1.
#[test]
fn an_update_is_checked_as_create_is() {
    need_host!();
    let c = limited(&["sleep", "1000"], json!({})).start();
    for (option, value, at, why) in [
        ("--blkio-weight", "5", "/linux/resources/blockIO/weight", "valid range is 10-1000"),
        ("--cpu-idle", "2", "/linux/resources/cpu/idle", "neither 0 nor 1"),
        ("--cpuset-mems", "a", "/linux/resources/cpu/mems", "not a list of numbers and ranges like \"0-3,7\""),
        ("--memory-swap", "64M", "/linux/resources/memory/swap", "unable to set swap limit without memory limit"),
    ] {
        c.rt(&["update", option, value, &c.id]).fails(1, &format!("{at}: {why}"));
    }
}

/// Processor time in nanoseconds that the container gets in `wall`, per nanosecond.
fn share(c: &Container, wall: Duration) -> f64 {
    let used = || file(c, "cpuacct", "cpuacct.usage").parse::<f64>().unwrap();
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(wall);
    (used() - before) / start.elapsed().as_nanos() as f64
}

/// Sees a share within ten percent, and never more than eleven periods' worth in a second of ten
/// (and what reading the clock costs); a machine that is busy otherwise may take it away for a
/// while.
#[track_caller]
fn gets_share(c: &Container, wanted: f64) {
    let shares: Vec<f64> = (0..6).map(|_| share(c, Duration::from_secs(1))).collect();
    assert!(shares.iter().all(|s| *s < wanted * 1.15), "more than {wanted}: {shares:?}");
    assert!(shares.iter().any(|s| *s > wanted * 0.9), "never {wanted}: {shares:?}");
}

/// A program that never rests gets its quota and no more, and another one as soon as that is
/// changed.
#[test]
fn a_burner_gets_its_quota() {
    need_v1!();
    let c = limited(&["sh", "-c", "while :; do :; done"], json!({"cpu": {"quota": 20000, "period": 100000}})).start();
    gets_share(&c, 0.2);
    c.rt(&["update", "--cpu-quota", "40000", &c.id]).ok();
    gets_share(&c, 0.4);
}

/// A loop device over a file; detached when dropped.
struct Loop {
    path: String,
    _file: tempfile::NamedTempFile,
}

impl Loop {
    fn new() -> Option<Loop> {
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        file.as_file().set_len(256 << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output().ok()?;
        let path = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        made.status.success().then_some(Loop { path, _file: file })
    }

    fn minor(&self) -> u32 {
        self.path.trim_start_matches("/dev/loop").parse().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("--detach").arg(&self.path).status();
        assert!(detached.is_ok_and(|s| s.success()), "{} is still attached", self.path);
    }
}

/// A writer gets the bytes per second that it may have, and more when it may have more.
#[test]
fn a_writer_keeps_to_its_rate() {
    need_v1!();
    need!(Path::new("/sys/fs/cgroup/blkio/cgroup.procs").exists(), "needs the blkio controller");
    let device = Loop::new();
    need!(device.is_some(), "needs a loop device");
    let device = device.unwrap();
    let (major, minor) = (7, device.minor());
    const MIB: u64 = 1 << 20;
    let c = limited(
        &["sleep", "1000"],
        json!({
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": major, "minor": minor, "access": "rw"}],
            "blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 4 * MIB}]}
        }),
    )
    .with(|c| c["linux"]["devices"] = json!([{"path": "/dev/disk", "type": "b", "major": major, "minor": minor}]))
    .start();
    let rate = |mib: u64| {
        let start = Instant::now();
        c.exec(&["dd", "if=/dev/zero", "of=/dev/disk", "bs=256k", &format!("count={}", mib * 4), "oflag=direct"]).ok();
        (mib * MIB) as f64 / start.elapsed().as_secs_f64() / MIB as f64
    };
    let first = rate(12);
    assert!((3.2..4.8).contains(&first), "4 MiB/s allowed, {first:.2} written");
    let change = json!({"blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 8 * MIB}]}});
    let path = c.root().join("resources.json");
    fs::write(&path, change.to_string()).unwrap();
    c.rt(&["update", "--resources", path.to_str().unwrap(), &c.id]).ok();
    let second = rate(24);
    assert!((6.4..9.6).contains(&second), "8 MiB/s allowed, {second:.2} written");
}

/// events tells of an OOM when it happens, not at its next interval; afterwards state and start's
/// error name the limit.
#[test]
fn an_oom_is_told_at_once_and_remembered() {
    need_v1!();
    let hog = "sleep 2; dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
    let c = limited(&["sh", "-c", &format!("{hog}; sleep 1000")], json!({"memory": {"limit": 16777216}})).start();
    let mut events = c.command().args(["events", "--interval", "1h", &c.id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["type"], "stats");
    let oom = next();
    assert_eq!(oom["type"], "oom", "{oom}");
    assert_eq!(oom["data"]["limit"], 16777216, "{oom}");
    c.rt(&["kill", &c.id, "KILL"]).ok();
    assert!(events.wait().unwrap().success(), "events ends with the container");
    c.await_status("stopped");
    let state = c.state();
    assert_eq!(state["reachedLimits"][0]["resource"], "memory", "{state}");
    assert_eq!(state["reachedLimits"][0]["limit"], 16777216, "{state}");
    assert!(state["reachedLimits"][0]["peak"].as_u64().is_some_and(|peak| peak <= 16777216), "{state}");
    c.rt(&["exec", &c.id, "true"])
        .fails(255, "cannot exec in a stopped container: it reached its memory limit of 16777216 bytes");
}

/// A run that dies of its limit says so beside its exit code.
#[test]
fn a_run_that_is_killed_for_memory_says_so() {
    need_v1!();
    let done =
        limited(&["dd", "if=/dev/zero", "of=/dev/null", "bs=60M", "count=1"], json!({"memory": {"limit": 16777216}}))
            .run();
    assert_eq!(done.code, 137, "{done:?}");
    assert!(done.err.contains("it reached its memory limit of 16777216 bytes"), "{done:?}");
}

/// stats shows what the container uses, as a table and as JSON.
#[test]
fn stats_for_people_and_programs() {
    need_v1!();
    let c = limited(
        &["sh", "-c", "while :; do :; done"],
        json!({"cpu": {"quota": 50000, "period": 100000}, "memory": {"limit": 67108864}, "pids": {"limit": 9}}),
    )
    .start();
    let table = c.rt(&["stats", "--no-stream"]);
    let row = table.ok().lines().find(|l| l.contains(&c.id)).unwrap_or_else(|| panic!("{table:?}")).to_owned();
    assert!(row.contains("/ 64.0 MiB") && row.contains("1/9"), "{row}");
    // The share is that of the interval just passed.
    eventually("half a processor", || {
        let line: Value =
            serde_json::from_str(c.rt(&["stats", "--no-stream", "--format", "json", &c.id]).ok()).unwrap();
        assert_eq!(line["memoryLimit"], 67108864);
        assert_eq!(line["pids"], 1);
        line["cpuPercent"].as_f64().is_some_and(|cpu| (40.0..60.0).contains(&cpu))
    });
    c.rt(&["stats", "--no-stream", "nobody"]).fails(1, "container does not exist");
    // A pipe gets one header, and then a line for each look.
    let mut command = c.command();
    command.args(["stats", "--interval", "10ms", &c.id]).stdout(std::process::Stdio::piped());
    let mut stats = command.spawn().unwrap();
    let output = std::io::BufReader::new(stats.stdout.take().unwrap());
    let lines: Vec<String> = std::io::BufRead::lines(output).take(4).map(Result::unwrap).collect();
    stats.kill().unwrap();
    stats.wait().unwrap();
    assert_eq!(
        lines.iter().map(|line| line.starts_with("ID ")).collect::<Vec<_>>(),
        [true, false, false, false],
        "{lines:?}"
    );
}

fn keys(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, inner) in map {
            let path = format!("{at}/{key}");
            keys(inner, &path, found);
            found.push(path);
        }
    }
}

/// Programs that read runc's `events --stats` find the same keys, and the same values, in ours.
#[test]
fn stats_have_runcs_keys() {
    need_v1!();
    need!(Path::new("/usr/sbin/runc").exists(), "needs runc");
    let bundle = limited(&["sleep", "1000"], json!({"memory": {"limit": 67108864}, "pids": {"limit": 9}}));
    let ours = bundle.start();
    let theirs = format!("{}-runc", ours.id);
    let root = ours.root().join("runc");
    let runc = |args: &[&str]| {
        let mut command = Command::new("/usr/sbin/runc");
        command.arg("--root").arg(&root).args(args);
        rt_tests::done(command)
    };
    runc(&["run", "--detach", "--bundle", bundle.path().to_str().unwrap(), &theirs]).ok();
    let stats = runc(&["events", "--stats", &theirs]);
    let deleted = runc(&["delete", "--force", &theirs]);
    let theirs: Value = serde_json::from_str(stats.ok()).unwrap();
    deleted.ok();
    let ours: Value = serde_json::from_str(ours.rt(&["events", "--stats", &ours.id]).ok()).unwrap();
    let (mut their_keys, mut our_keys) = (Vec::new(), Vec::new());
    keys(&theirs, "", &mut their_keys);
    keys(&ours, "", &mut our_keys);
    // What is 0 is left out by both, so a counter that one of them saw still at 0 is not in its
    // list.
    let counters =
        |key: &&String| !key.starts_with("/data/memory/raw") && !key.ends_with("/cache") && !key.ends_with("/failcnt");
    let missing: Vec<_> = their_keys.iter().filter(counters).filter(|key| !our_keys.contains(key)).collect();
    assert!(missing.is_empty(), "runc has, rt has not: {missing:?}\nrunc: {theirs}\nrt: {ours}");
    // runc leaves out hugetlb where v2 has it and v1 the rest.
    let hugetlb = |key: &&String| !key.starts_with("/data/hugetlb/");
    let extra: Vec<_> =
        our_keys.iter().filter(counters).filter(hugetlb).filter(|key| !their_keys.contains(key)).collect();
    assert!(extra.is_empty(), "rt has, runc has not: {extra:?}\nrunc: {theirs}\nrt: {ours}");
    for same in ["/data/memory/usage/limit", "/data/pids/limit", "/data/pids/current", "/data/cpuset/cpus"] {
        assert_eq!(ours.pointer(same), theirs.pointer(same), "{same}");
    }
}
