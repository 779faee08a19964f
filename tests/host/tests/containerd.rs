//! containerd with rt as the binary of its shim: many tasks at once, and what is left when the
//! daemon or a shim goes.

use std::fs;
use std::path::Path;
use std::process::Child;

use rt_tests::containerd::{Containerd, SHIM, processes_with};
use rt_tests::{cgroups_named, eventually, need_containerd, need_host, need_shim, rt};

#[test]
fn a_hundred_tasks() {
    need_host!();
    need_containerd!();
    many_tasks(rt().to_str().unwrap());
}

#[test]
fn a_hundred_tasks_under_our_shim() {
    need_host!();
    need_containerd!();
    need_shim!();
    many_tasks(SHIM);
}

/// A hundred tasks, started ten at a time: each is there, does as it is told, and is gone without a
/// trace.
fn many_tasks(runtime: &str) {
    let d = Containerd::start();
    let name = d.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let ids: Vec<String> = (0..100).map(|n| format!("{name}-{n}")).collect();
    let in_tens = |arguments: &dyn Fn(&str) -> Vec<String>| {
        for ten in ids.chunks(10) {
            let calls = ten.iter().map(|id| {
                let arguments = arguments(id);
                d.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap()
            });
            let mut calls: Vec<Child> = calls.collect();
            assert!(calls.iter_mut().all(|call| call.wait().unwrap().success()), "{ten:?}");
        }
    };
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();

    in_tens(&|id| owned(d.task(runtime, &format!("/{name}/{id}"), id, &["sleep", "1000"])));
    let tasks = d.tasks();
    assert_eq!(tasks.len(), 100);
    for (id, pid, status) in &tasks {
        assert!(ids.contains(id) && status == "RUNNING", "{id} {status}");
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(cgroup.contains(&format!("/{name}/{id}\n")), "{id} is in {cgroup}");
    }
    in_tens(&|id| owned(vec!["task", "kill", "--signal", "KILL", id]));
    eventually("the end of all", || d.tasks().iter().all(|(_, _, status)| status == "STOPPED"));
    in_tens(&|id| owned(vec!["task", "delete", "--force", id]));
    in_tens(&|id| owned(vec!["container", "delete", id]));
    assert!(d.tasks().is_empty());
    assert_eq!(ids.iter().flat_map(|id| cgroups_named(id)).collect::<Vec<_>>(), Vec::<String>::new());
    eventually("the end of the shims", || processes_with(&format!("-id {name}")).is_empty());
    let state = d.dir().join("state/runc/default");
    assert_eq!(fs::read_dir(&state).map_or(0, Iterator::count), 0, "{}", state.display());
}

/// What a user sees after containerd was restarted, and after the shim was killed; the story has to
/// be runc's.
fn story(d: &mut Containerd, runtime: &str, id: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let name = d.dir().file_name().unwrap().to_str().unwrap().to_owned();
    d.ctr(&d.task(runtime, &format!("/{name}/{id}"), id, &["sleep", "1000"])).ok();
    let (_, pid, _) = d.tasks().remove(0);
    d.restart();
    let exec = d.ctr(&["task", "exec", "--exec-id", "e", id, "echo", "inside"]);
    seen.push(format!("after a restart: {} {:?}", exec.code, exec.out));
    d.ctr(&["task", "pause", id]).ok();
    seen.push(format!("paused: {}", d.tasks()[0].2));
    d.ctr(&["task", "resume", id]).ok();
    let metrics = d.ctr(&["task", "metrics", id]);
    seen.push(format!("metrics: {} {}", metrics.code, metrics.out.contains("memory")));
    let [shim] = processes_with(&format!("-id {id} "))[..] else { panic!("not one shim of {id}") };
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    eventually("containerd to notice", || d.tasks().iter().all(|(_, _, status)| status != "RUNNING"));
    seen.push(format!("without its shim: {:?}", d.tasks().iter().map(|(.., status)| status).collect::<Vec<_>>()));
    eventually("the end of the program", || {
        !Path::new(&format!("/proc/{pid}")).exists()
            || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    d.ctr(&["task", "delete", "--force", id]);
    d.ctr(&["container", "delete", id]).ok();
    let state = d.dir().join("state/runc/default");
    seen.push(format!("state left: {}", fs::read_dir(state).map_or(0, Iterator::count)));
    seen.push(format!("cgroups left: {}", cgroups_named(id).len()));
    d.remove_socket(id);
    seen
}

/// Tasks outlive containerd, and what a killed shim leaves is cleaned up by the next one's
/// `delete`.
#[test]
fn a_restart_and_a_killed_shim() {
    need_host!();
    need_containerd!();
    let mut d = Containerd::start();
    let name = d.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let ours = story(&mut d, rt().to_str().unwrap(), &format!("{name}-rt"));
    assert_eq!(&ours[..3], ["after a restart: 0 \"inside\\n\"", "paused: PAUSED", "metrics: 0 true"]);
    assert_eq!(&ours[4..], ["state left: 0", "cgroups left: 0"]);
    if rt().with_file_name("containerd-shim-rt-v1").exists() {
        assert_eq!(story(&mut d, SHIM, &format!("{name}-shim")), ours);
    }
    if std::process::Command::new("runc").arg("--version").output().is_ok() {
        let id = format!("{name}-runc");
        let runcs = story(&mut d, "runc", &id);
        // On a quiet machine runc leaves the cgroups, which nobody has to repeat.
        assert_eq!(ours[..5], runcs[..5]);
        for left in cgroups_named(&id) {
            fs::remove_dir(left.trim_start_matches("cgroup ")).unwrap();
        }
    }
}
