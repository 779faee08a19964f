//! Nothing left of something: descriptors, disk, processes, cgroups, room in a path or an argument
//! list. One clear error, the right exit code, and nothing left; or it works.

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, Done, done, need, need_host, on_cgroup2, rt};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

/// One line, that ends in the kernel's words.
#[track_caller]
fn one_error(done: &Done, words: &str) {
    assert_eq!(done.code, 1, "{done:?}");
    let lines: Vec<&str> = done.err.trim_end().lines().collect();
    assert!(lines.len() == 1 && lines[0].ends_with(words), "{done:?}");
}

/// Limits of the config cannot be raised above those of the test.
fn without_limits(config: &mut Value) {
    config["process"].as_object_mut().unwrap().remove("rlimits");
}

/// With too few descriptors there is no container, and no trace of one; four dozen are enough even
/// with all of cgroup v1.
#[test]
fn descriptors() {
    need_host!();
    need!(Path::new("/usr/bin/prlimit").exists(), "needs prlimit of util-linux");
    let bundle = Bundle::new(&["true"]).with(without_limits);
    bundle.write();
    let mut least = None;
    for limit in 4..52 {
        let c = Container::new();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(rt()).arg("--root").arg(c.root());
        command.args(["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
        let done = done(command);
        match done.code {
            0 => least = least.or(Some(limit)),
            _ => one_error(&done, "too many open files"),
        }
        assert!(c.leftovers().is_empty(), "{limit}: {:?}", c.leftovers());
    }
    assert!(least.is_some_and(|least| least <= 48), "{least:?}");
}

/// A small filesystem for as long as the value lives.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Small {
        let dir = tempfile::Builder::new().prefix("rt-small-").tempdir().unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(&*std::ffi::CString::new(options).unwrap()))
            .unwrap();
        Small(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// rt with its states on it.
    fn rt(&self, words: &[&str]) -> Done {
        let mut command = Command::new(rt());
        command.arg("--root").arg(self.path()).args(words);
        done(command)
    }

    /// Takes all that is left.
    fn fill(&self) {
        for n in 0.. {
            if fs::write(self.path().join(format!("filler-{n}")), vec![0_u8; 1 << 16]).is_err() {
                break;
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// The disk with the states is full at any moment of a creation.
#[test]
fn the_disk_of_the_states() {
    need_host!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let mut created = 0;
    for (blocks, inodes) in (0..6).flat_map(|b| (2..8).map(move |i| (b, i))) {
        let disk = Small::new(&format!("size={},nr_inodes={inodes}", blocks.max(1) * 4096));
        if blocks == 0 {
            disk.fill();
        }
        let c = Container::new();
        let run = |words: &[&str]| disk.rt(words);
        let create = run(&["create", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
        if create.code == 0 {
            created += 1;
            assert!(run(&["state", &c.id]).ok().contains("\"created\""));
        } else {
            one_error(&create, "no space left on device");
            assert!(!disk.path().join(&c.id).exists(), "{create:?}");
        }
        run(&["delete", "--force", &c.id]).ok();
        assert!(!disk.path().join(&c.id).exists());
        assert!(rt_tests::cgroups_named(&c.id).is_empty());
    }
    assert!((1..36).contains(&created), "{created} of the containers were created: the disks are of the wrong size");
}

/// A disk that fills up later: the container lives on with the state it has, and can be ended.
#[test]
fn a_disk_that_fills_up() {
    need_host!();
    let disk = Small::new("size=256k");
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| c["linux"]["resources"] = json!({"pids": {"limit": 50}}));
    bundle.write();
    let c = Container::new();
    let run = |words: &[&str]| disk.rt(words);
    run(&["create", "--bundle", bundle.path().to_str().unwrap(), &c.id]).ok();
    disk.fill();
    run(&["start", &c.id]).ok();
    assert!(run(&["state", &c.id]).ok().contains("\"running\""));
    run(&["exec", &c.id, "true"]).ok();
    run(&["pause", &c.id]).ok();
    run(&["resume", &c.id]).ok();
    // What cannot be written down is not done either.
    one_error(&run(&["update", "--pids-limit", "60", &c.id]), "no space left on device");
    let pid = serde_json::from_str::<Value>(run(&["state", &c.id]).ok()).unwrap()["pid"].as_i64().unwrap();
    let limit = rt_tests::cgroup_dir(pid as i32, "pids").join("pids.max");
    if limit.exists() {
        assert_eq!(fs::read_to_string(limit).unwrap(), "50\n");
    }
    run(&["kill", &c.id, "KILL"]).ok();
    rt_tests::eventually("the end", || run(&["state", &c.id]).ok().contains("\"stopped\""));
    run(&["delete", &c.id]).ok();
    assert!(!disk.path().join(&c.id).exists());
}

/// No room in the rootfs for what has to be made there.
#[test]
fn the_disk_of_the_rootfs() {
    need_host!();
    let bundle = Bundle::new(&["true"]).mount("/new/place", "tmpfs", "tmpfs", &[]);
    let disk = Small::new("size=4m,nr_inodes=120");
    let mut copy = Command::new("cp");
    copy.args(["-a"]).arg(bundle.rootfs()).arg(disk.path());
    done(copy).ok();
    for n in 0.. {
        if fs::write(disk.path().join(format!("inode-{n}")), "").is_err() {
            break;
        }
    }
    let rootfs = disk.path().join("rootfs");
    let failed = bundle.with(|c| c["root"]["path"] = rootfs.display().to_string().into()).run();
    one_error(&failed, "no space left on device");
    assert!(failed.err.contains("/mounts/") && failed.err.contains("/new/place"), "{failed:?}");
}

/// The caller may start no more processes.
#[test]
fn processes() {
    need_host!();
    let pids = Path::new("/sys/fs/cgroup/pids");
    need!(pids.join("cgroup.procs").exists(), "needs the pids controller of cgroup v1");
    let own = pids.join(format!("rt-test-processes-{}", std::process::id()));
    fs::create_dir(&own).unwrap();
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let c = Container::new();
    fs::write(own.join("pids.max"), "1").unwrap();
    let script = "echo 0 > \"$0/cgroup.procs\"; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&own).arg(rt()).arg("--root").arg(c.root());
    command.args(["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
    let done = done(command);
    let left = c.leftovers();
    fs::remove_dir(&own).unwrap();
    one_error(&done, "resource temporarily unavailable");
    assert!(left.is_empty(), "{left:?}");
}

/// A tree that may have no more cgroups, as a host gives it to a tenant.
#[test]
fn cgroups() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    let c = Container::new();
    let parent = format!("rt-test-tenant-{}", std::process::id());
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = format!("/{parent}/{}", c.id).into());
    bundle.write();
    let script = "mkdir /sys/fs/cgroup/$0 || exit 77
        echo 0 > /sys/fs/cgroup/$0/cgroup.max.descendants
        \"$@\"; code=$?
        rmdir /sys/fs/cgroup/$0; exit $code";
    let mut command = on_cgroup2();
    command.args(["sh", "-c", script, &parent]).arg(rt());
    command.arg("--root").arg(c.root()).args(["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
    let done = done(command);
    need!(done.code != 77, "cannot mount cgroup2 here");
    one_error(&done, "resource temporarily unavailable");
    assert!(done.err.contains("cgroup") && c.leftovers().is_empty(), "{done:?} {:?}", c.leftovers());
}

/// What the kernel takes as arguments and environment is passed on whole; beyond that the error
/// names the field.
#[test]
fn arguments_and_environment() {
    need_host!();
    // One string may have 128 KiB with its end (MAX_ARG_STRLEN).
    let long = "x".repeat(131_071);
    let script = "echo ${#1} $#";
    let counted = Bundle::new(&["sh", "-c", script, "sh", &long, "b"]).run();
    assert_eq!(counted.ok(), "131071 2\n");
    let too_long = Bundle::new(&["sh", "-c", script, "sh", &(long + "x")]).run();
    one_error(&too_long, "argument list too long");
    let environment = |n: usize| {
        // Of the small programs only those that do not sort their environment come to an end with
        // so much of it.
        Bundle::new(&["env"]).with(|c| {
            let list = c["process"]["env"].as_array_mut().unwrap();
            list.extend((0..n).map(|i| json!(format!("V{i:x}="))));
        })
    };
    let seen = environment(100_000).run();
    assert_eq!(seen.ok().lines().filter(|l| l.starts_with('V') && l.ends_with('=')).count(), 100_000);
    one_error(&environment(400_000).run(), "argument list too long");
}

/// Ten thousand mounts are many, but no reason to fail.
#[test]
fn ten_thousand_mounts() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    let bundle = Bundle::new(&["cat", "/proc/self/mountinfo"]).with(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.extend((0..10_000).map(|i| {
            json!({"destination": format!("/many/{i}"), "type": "bind", "source": source.path(), "options": ["bind", "ro"]})
        }));
    });
    assert_eq!(bundle.run().ok().matches(" /many/").count(), 10_000);
}

/// Paths as long as the kernel takes them, and longer.
#[test]
fn long_paths() {
    need_host!();
    let part = format!("/{}", "d".repeat(250));
    // 4,095 bytes and the end of the string.
    let longest = part.repeat(16) + &"e".repeat(4095 - 16 * 251);
    assert_eq!(longest.len(), 4095);
    let with = |destination: String| Bundle::new(&["true"]).mount(&destination, "tmpfs", "tmpfs", &[]).run();
    one_error(&with(longest.clone() + "f"), "file name too long");
    let there = with(part.repeat(15));
    assert!(there.code == 0, "{there:?}");
    let cwd = Bundle::new(&["true"]).with(|c| c["process"]["cwd"] = (longest + "f").into()).run();
    one_error(&cwd, "file name too long");
    let c = Container::new();
    one_error(&c.rt(&["create", &"i".repeat(300)]), "no such file or directory");
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    one_error(&c.rt(&["create", "--bundle", bundle.path().to_str().unwrap(), &"i".repeat(300)]), "file name too long");
}
