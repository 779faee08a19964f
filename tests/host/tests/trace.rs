//! `rt --trace`: what took how long, in rt and in init.

use std::collections::BTreeMap;
use std::fs;

use rt_tests::{Bundle, Container, done, need_host};
use serde_json::Value;

/// The bars of a file: their names with the process that they belong to, begin and duration in
/// microseconds.
fn bars(path: &std::path::Path) -> Vec<(String, String, f64, f64)> {
    let events: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut names = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "M") {
        names.insert(event["pid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap().to_owned());
    }
    let bars = events.iter().filter(|event| event["ph"] == "X");
    bars.map(|bar| {
        let process = names[&bar["pid"].as_u64().unwrap()].clone();
        let number = |key: &str| bar[key].as_f64().unwrap();
        (process, bar["name"].as_str().unwrap().to_owned(), number("ts"), number("dur"))
    })
    .collect()
}

fn traced(c: &Container, file: &std::path::Path, words: &[&str]) {
    let mut command = c.command();
    command.arg("--trace").arg(file).args(words);
    done(command).ok();
}

/// Every step has its time, init's too, and they lie where the command lies.
#[test]
fn run_shows_both_sides() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let file = tempfile::NamedTempFile::new().unwrap();
    let c = Container::new();
    traced(&c, file.path(), &["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
    let bars = bars(file.path());
    let of = |process: &str, name: &str| {
        let found = bars.iter().find(|(p, n, ..)| p == process && n.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} of {process} in {bars:#?}"))
    };
    let whole = of("rt run", "rt run");
    for name in [
        "parse config.json",
        "lower",
        "claim the id",
        "make the cgroup",
        "clone",
        "write the state",
        "the program runs",
    ] {
        of("rt run", name);
    }
    for name in ["rootfs", "mount of proc", "join network", "mask", "pivot_root", "bounding", "find program"] {
        let bar = of("init", name);
        assert!(bar.2 > whole.2 && bar.2 + bar.3 < whole.2 + whole.3, "{bar:?} in {whole:?}");
    }
    let init: f64 = bars.iter().filter(|(process, ..)| process == "init").map(|bar| bar.3).sum();
    assert!(init > whole.3 / 100.0 && init < whole.3, "{init} of {}", whole.3);
}

/// The commands of an engine, which calls one after another, add up in one file; start tells of
/// what init did after its wait.
#[test]
fn commands_append() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let file = tempfile::NamedTempFile::new().unwrap();
    let c = Container::new();
    traced(&c, file.path(), &["create", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
    let created = bars(file.path()).len();
    traced(&c, file.path(), &["start", &c.id]);
    let started = bars(file.path());
    let names = |all: &[(String, String, f64, f64)]| all.iter().map(|(_, name, ..)| name.clone()).collect::<Vec<_>>();
    assert!(!names(&started[..created]).contains(&"exec sleep".to_owned()));
    assert!(names(&started[created..]).contains(&"exec sleep".to_owned()), "{:?}", names(&started[created..]));
    traced(&c, file.path(), &["exec", &c.id, "true"]);
    let last = names(&bars(file.path())[started.len()..]);
    assert!(last.contains(&"rt exec".to_owned()) && last.contains(&"find program".to_owned()), "{last:?}");
}

/// Commands that end at the same time lose no events of each other, and a file that is no trace keeps
/// what it has.
#[test]
fn many_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let trace = |file: &std::path::Path| {
        let mut command = std::process::Command::new(rt_tests::rt());
        command.arg("--trace").arg(file).arg("features");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..20).map(|_| trace(&file)).collect();
    assert!(children.into_iter().all(|child| child.wait_with_output().unwrap().status.success()));
    assert_eq!(bars(&file).iter().filter(|(_, name, ..)| name == "rt features").count(), 20);
    let other = dir.path().join("config.json");
    fs::write(&other, "{}").unwrap();
    let refused = trace(&other).wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no trace"), "{refused:?}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "{}");
}

/// Without the option nothing is noted, and a file that cannot be written is a warning: the
/// container is what counts.
#[test]
fn it_is_off_by_default_and_never_in_the_way() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let c = bundle.create();
    assert!(!c.root().join(&c.id).join("timeline").exists());
    let second = Container::new();
    let mut command = second.command();
    command.args([
        "--trace",
        "/nosuch/file",
        "run",
        "--detach",
        "--bundle",
        bundle.path().to_str().unwrap(),
        &second.id,
    ]);
    command.stdout(std::process::Stdio::null());
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stderr(log.reopen().unwrap());
    assert!(command.status().unwrap().success());
    let said = fs::read_to_string(log.path()).unwrap();
    assert!(said.contains("--trace: ") && said.contains("no such file"), "{said}");
    assert_eq!(second.status(), "running");
}
