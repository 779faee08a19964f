//! Commands at the same time: a lock per container orders them, and each ends in one of the
//! outcomes that docs/architecture.md lists. None hangs, and nothing is left.

use std::time::Duration;

use rt_tests::{Bundle, Container, Done, need_host};

/// Two commands may meet in many ways; the delay of one against the other walks through them.
const ROUNDS: u64 = 30;

/// Runs both at once, the second a little later than in the round before.
fn both<'a>(
    round: u64,
    first: impl FnOnce() -> Done + Send + 'a,
    second: impl FnOnce() -> Done + Send + 'a,
) -> (Done, Done) {
    std::thread::scope(|s| {
        let first = s.spawn(first);
        std::thread::sleep(Duration::from_micros(round * 120));
        let second = s.spawn(second);
        (first.join().unwrap(), second.join().unwrap())
    })
}

/// Success, or one line of error with one of these texts.
#[track_caller]
fn one_of(done: &Done, code: i32, texts: &[&str]) {
    // The id may stand behind the text.
    let says = |text: &&str| done.err.trim_end().ends_with(*text) || done.err.contains(&format!("{text}: rt-test-"));
    let known = texts.iter().any(says) && done.err.trim_end().lines().count() == 1;
    assert!(done.code == 0 || (done.code == code && known), "{done:?}");
}

fn sleeper() -> Container {
    Bundle::new(&["sleep", "1000"]).create()
}

const GONE: &str = "container does not exist";

/// Start against a forced delete: it ran and is gone, or was never started.
#[test]
fn start_against_delete() {
    need_host!();
    for round in 0..ROUNDS {
        let c = sleeper();
        let (start, delete) = both(round, || c.rt(&["start", &c.id]), || c.rt(&["delete", "--force", &c.id]));
        one_of(&start, 1, &[GONE, "cannot start a container that has stopped"]);
        delete.ok();
        assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
    }
}

/// Without force a container that start came first to is not deleted.
#[test]
fn start_against_a_delete_without_force() {
    need_host!();
    for round in 0..ROUNDS {
        let c = sleeper();
        let (start, delete) = both(round, || c.rt(&["start", &c.id]), || c.rt(&["delete", &c.id]));
        one_of(&start, 1, &[GONE, "cannot start a container that has stopped"]);
        let running = format!("cannot delete container {} that is not stopped: running", c.id);
        one_of(&delete, 1, &[&running]);
        assert_ne!(start.code == 0, delete.code == 0, "one of them: {start:?} {delete:?}");
        match delete.code {
            0 => assert!(c.leftovers().is_empty(), "{:?}", c.leftovers()),
            _ => assert_eq!(c.status(), "running"),
        }
    }
}

/// An exec that meets a kill ran, was killed with the container, or was too late.
#[test]
fn exec_against_kill() {
    need_host!();
    for round in 0..ROUNDS {
        let c = sleeper();
        c.rt(&["start", &c.id]).ok();
        let (exec, kill) = both(round, || c.exec(&["true"]), || c.rt(&["kill", &c.id, "KILL"]));
        kill.ok();
        let late = exec.code == 255 && exec.err.trim_end() == "exec failed: cannot exec in a stopped container";
        assert!(exec.code == 0 || exec.code == 137 || late, "{exec:?}");
        c.await_status("stopped");
    }
}

/// Deleting twice at once is deleting once; with force neither is an error.
#[test]
fn delete_against_delete() {
    need_host!();
    for round in 0..ROUNDS {
        for options in [&["delete"][..], &["delete", "--force"]] {
            let c = sleeper();
            let delete = || c.rt(&[options, &[&c.id]].concat());
            let (one, two) = both(round / 2, delete, delete);
            if options.len() > 1 {
                one.ok();
                two.ok();
            } else {
                one_of(&one, 1, &[GONE]);
                one_of(&two, 1, &[GONE]);
                assert!(one.code == 0 || two.code == 0, "{one:?} {two:?}");
            }
            assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
        }
    }
}

/// Of two creators of one id one wins, and the loser takes nothing of the winner's along.
#[test]
fn create_against_create() {
    need_host!();
    for round in 0..ROUNDS {
        let bundle = Bundle::new(&["sleep", "1000"]);
        bundle.write();
        let c = Container::new();
        let create = || c.rt(&["create", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
        let (one, two) = both(round / 3, create, create);
        let exists = ["container with given ID already exists"];
        one_of(&one, 1, &exists);
        one_of(&two, 1, &exists);
        assert_ne!(one.code == 0, two.code == 0, "{one:?} {two:?}");
        c.rt(&["start", &c.id]).ok();
        assert_eq!(c.status(), "running");
    }
}

/// A creator that is overtaken by a forced delete either finishes or finds its container gone;
/// nothing is left of either.
#[test]
fn create_against_delete() {
    need_host!();
    for round in 0..ROUNDS {
        let bundle = Bundle::new(&["sleep", "1000"]);
        bundle.write();
        let c = Container::new();
        let (create, delete) = both(round, || bundle.try_create(&c, &[]), || c.rt(&["delete", "--force", &c.id]));
        delete.ok();
        create.ok();
        // Deleted before it was there, or after.
        c.rt(&["delete", "--force", &c.id]).ok();
        assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
    }
}

/// Pausing what is being killed leaves nobody frozen.
#[test]
fn pause_against_kill() {
    need_host!();
    for round in 0..ROUNDS {
        let c = sleeper();
        c.rt(&["start", &c.id]).ok();
        let (pause, kill) = both(round, || c.rt(&["pause", &c.id]), || c.rt(&["kill", &c.id, "KILL"]));
        one_of(&pause, 1, &["container not running", GONE]);
        kill.ok();
        c.await_status("stopped");
        c.rt(&["delete", &c.id]).ok();
    }
}

/// Limits that are changed while the container ends: changed, or told why not.
#[test]
fn update_against_delete() {
    need_host!();
    for round in 0..ROUNDS {
        let c = sleeper();
        c.rt(&["start", &c.id]).ok();
        let update = || c.rt(&["update", "--pids-limit", "77", &c.id]);
        let (update, delete) = both(round, update, || c.rt(&["delete", "--force", &c.id]));
        one_of(&update, 1, &["container not running", GONE]);
        delete.ok();
        assert!(c.leftovers().is_empty(), "{:?}", c.leftovers());
    }
}

/// Whoever looks while containers come and go sees a whole container or none.
#[test]
fn looking_while_containers_come_and_go() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let c = Container::new();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        let looker = s.spawn(|| {
            let mut seen = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                one_of(&c.rt(&["state", &c.id]), 1, &[GONE]);
                let list = c.rt(&["list", "--format", "json"]);
                let all: serde_json::Value = serde_json::from_str(list.ok()).unwrap();
                assert_eq!(list.err, "");
                for one in all.as_array().into_iter().flatten() {
                    let status = one["status"].as_str().unwrap();
                    assert!(["created", "running", "stopped"].contains(&status), "{one}");
                    seen += 1;
                }
                one_of(&c.rt(&["ps", &c.id]), 1, &[GONE]);
            }
            seen
        });
        for _ in 0..100 {
            c.rt(&["run", "-b", bundle.path().to_str().unwrap(), &c.id]).ok();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(looker.join().unwrap() > 0, "it has seen none");
    });
}
