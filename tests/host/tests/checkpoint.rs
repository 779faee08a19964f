//! Checkpoint and restore with a real CRIU: what a container was it is again, and a failure leaves
//! it running.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rt_tests::checkpoint::{COUNTER, Saved};
use rt_tests::{Bundle, Container, done, eventually, need, need_criu};
use serde_json::{Value, json};

/// What the kernel says of the container's mounts, without numbers that differ each time.
fn mounts(container: &Container) -> Vec<String> {
    let text = container.exec(&["cat", "/proc/self/mountinfo"]);
    let line = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let kind = fields.iter().position(|f| *f == "-").unwrap();
        format!("{} {} {} {}", fields[3], fields[4], fields[5], fields[kind + 1..].join(" "))
    };
    let mut mounts: Vec<_> = text.ok().lines().map(line).collect();
    mounts.sort();
    mounts
}

/// The first promise: the program goes on where it was, in the same surroundings, and is a
/// container of rt in every way.
#[test]
fn a_container_goes_on_where_it_was() {
    let criu = need_criu!();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
    let bundle = Bundle::shell(COUNTER)
        .mount("/volume", "bind", dir.path(), &["rbind"])
        .mount("/linked", "bind", dir.path().join("link"), &["bind"])
        .mount("/volume/sub/inner", "bind", dir.path(), &["bind", "ro"])
        .mount("/scratch", "tmpfs", "tmpfs", &["nosuid", "size=1m"])
        .with(|c| {
            c["root"]["readonly"] = json!(true);
            c["process"]["oomScoreAdj"] = json!(77);
            c["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 23, "additionalGids": [7]});
            c["linux"]["resources"]["pids"] = json!({"limit": 50});
            c["linux"]["resources"]["memory"] = json!({"limit": 100 << 20});
        });
    let saved = Saved::new(&bundle, &criu);
    eventually("the counter", || saved.count() > 3);
    saved.container.exec(&["sh", "-c", "echo content > /scratch/file"]).ok();
    let identity = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let wanted =
            ["Umask", "Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp:", "NSpid", "Cpus_allowed:"];
        let line = |l: &&str| wanted.iter().any(|w| l.starts_with(w)) && !l.starts_with("NSpid");
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        (status.lines().filter(line).map(str::to_owned).collect::<Vec<_>>(), score)
    };
    let before = (mounts(&saved.container), identity(saved.container.pid()), saved.count());
    let hostname = saved.container.exec(&["hostname"]).ok().to_owned();

    saved.checkpoint(&[]);
    saved.container.rt(&["state", &saved.container.id]).fails(1, "does not exist");
    assert!(saved.container.leftovers().is_empty(), "{:?}", saved.container.leftovers());
    for name in ["inventory.img", "descriptors.json", "dump.log", "stats-dump"] {
        assert!(saved.image().join(name).exists(), "{name}");
    }

    let pid_file = saved.dir.path().join("pid");
    saved.restore(&["--pid-file", pid_file.to_str().unwrap()]);
    let state = saved.container.state();
    assert_eq!(state["status"], "running");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), state["pid"].to_string());
    assert!(saved.count() >= before.2, "it began anew");
    let count = saved.count();
    eventually("the counter to go on", || saved.count() > count + 3);
    assert_eq!(mounts(&saved.container), before.0);
    assert_eq!(identity(saved.container.pid()), before.1);
    assert_eq!(saved.container.exec(&["cat", "/scratch/file"]).ok(), "content\n");
    assert_eq!(saved.container.exec(&["hostname"]).ok(), hostname);
    assert_ne!(saved.container.exec(&["touch", "/x"]).code, 0, "the rootfs can be written");
    let limit =
        saved.container.exec(&["sh", "-c", "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2> /dev/null"]);
    assert_eq!(limit.out.trim(), "50");
    assert!(saved.container.exec(&["ip", "-o", "addr"]).ok().contains("127.0.0.1"), "the loopback device is down");

    saved.container.rt(&["pause", &saved.container.id]).ok();
    assert_eq!(saved.container.status(), "paused");
    saved.container.rt(&["resume", &saved.container.id]).ok();
    saved.container.rt(&["update", "--pids-limit", "40", &saved.container.id]).ok();
    // Once more, with the image of before replaced.
    saved.checkpoint(&[]);
    saved.restore(&[]);
    saved.container.rt(&["kill", &saved.container.id, "KILL"]).ok();
    saved.container.await_status("stopped");
    saved.container.rt(&["delete", &saved.container.id]).ok();
}

/// A restored process must not hold what belongs to the shell from which rt was called.
#[test]
fn nothing_of_the_caller_is_inherited() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let saved = Saved::new(&bundle, &criu);
    let cpus = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find(|l| l.starts_with("Cpus_allowed:")).unwrap().to_owned()
    };
    let before = cpus(saved.container.pid());
    let key = |container: &Container| container.exec(&["cat", "/proc/keys"]).out;
    assert_eq!(key(&saved.container), "", "/proc/keys is masked, so the name is looked up from outside");
    saved.checkpoint(&[]);
    bundle.write();
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(rt_tests::rt()).arg("--root").arg(saved.container.root()).arg("--criu").arg(&criu);
    command
        .args(["restore", "-d", "--image-path"])
        .arg(saved.image())
        .arg("-b")
        .arg(bundle.path())
        .arg(&saved.container.id);
    done(command).ok();
    let pid = saved.container.pid();
    assert_eq!(cpus(pid), before, "the CPUs of the caller");
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(open.len(), 3, "{open:?}");
}

/// `--leave-running`, and a container that was paused stays so.
#[test]
fn it_may_run_on() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let saved = Saved::new(&bundle, &criu);
    eventually("the counter", || saved.count() > 1);
    saved.checkpoint(&["--leave-running"]);
    let count = saved.count();
    eventually("the counter to go on", || saved.count() > count + 2);
    saved.container.rt(&["pause", &saved.container.id]).ok();
    saved.checkpoint(&["--leave-running"]);
    assert_eq!(saved.container.status(), "paused");
    saved.container.rt(&["resume", &saved.container.id]).ok();
    // It is there already.
    saved.try_restore(&[]).fails(1, "container with given ID already exists");
}

/// Memory is saved in rounds, the last of which is short.
#[test]
fn memory_is_saved_in_rounds() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let saved = Saved::new(&bundle, &criu);
    eventually("the counter", || saved.count() > 1);
    let tracks = Command::new(&criu).args(["check", "--feature", "mem_dirty_track"]).output().unwrap();
    need!(tracks.status.success(), "this kernel does not track memory (CONFIG_MEM_SOFT_DIRTY)");
    let first = saved.dir.path().join("first");
    let mut command = saved.container.command();
    command
        .arg("--criu")
        .arg(&criu)
        .args(["checkpoint", "--pre-dump", "--image-path"])
        .arg(&first)
        .arg(&saved.container.id);
    done(command).ok();
    assert_eq!(saved.container.status(), "running");
    assert!(first.join("pages-1.img").exists());
    saved.try_checkpoint(&["--parent-path", "/absolute"]).fails(1, "--parent-path must be relative");
    saved.try_checkpoint(&["--parent-path", "../nothing"]).fails(1, "invalid --parent-path");
    let count = saved.count();
    saved.checkpoint(&["--parent-path", "../first"]);
    assert!(saved.image().join("parent").exists());
    saved.restore(&[]);
    assert!(saved.count() >= count);
}

/// The standard streams of a restored container are those of `rt restore`, where they were pipes or
/// files that the container cannot see; and the foreground waits for its end.
#[test]
fn standard_streams_are_connected_anew() {
    let criu = need_criu!();
    let bundle = Bundle::shell("while read line; do echo \"got $line\"; done; exit 7");
    bundle.write();
    let container = Container::new();
    let dir = tempfile::tempdir().unwrap();
    let mut command = container.command();
    command.args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&container.id);
    let log = fs::File::create(dir.path().join("log")).unwrap();
    command.stdin(std::process::Stdio::piped()).stdout(log).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    assert!(child.wait().unwrap().success());
    std::io::Write::write_all(&mut input, b"one\n").unwrap();
    let log = || fs::read_to_string(dir.path().join("log")).unwrap();
    eventually("the answer", || log() == "got one\n");
    let image = dir.path().join("image");
    let mut command = container.command();
    command.arg("--criu").arg(&criu).args(["checkpoint", "--image-path"]).arg(&image).arg(&container.id);
    done(command).ok();
    drop(input);

    let mut command = container.command();
    command.arg("--criu").arg(&criu).args(["restore", "--image-path"]).arg(&image);
    command.arg("--bundle").arg(bundle.path()).arg(&container.id);
    let file = fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
    command.stdin(std::process::Stdio::piped()).stdout(file);
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"two\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(log(), "got one\ngot two\n");
    container.rt(&["state", &container.id]).fails(1, "does not exist");
}

/// Hooks as the specification and runc have them: the network of an engine is made by them.
#[test]
fn hooks_prepare_the_namespaces() {
    let criu = need_criu!();
    let dir = tempfile::tempdir().unwrap();
    let hook = |name: &str| {
        let file = dir.path().join(name);
        let script =
            format!("cat > {}; readlink /proc/$(cut -d, -f1 /dev/null)self/ns/net > /dev/null", file.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
    };
    let bundle = Bundle::shell(COUNTER).with(|c| {
        c["hooks"] = json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"), "poststop": hook("poststop"),
        });
    });
    let saved = Saved::new(&bundle, &criu);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(dir.path().join(name)).unwrap()).unwrap() };
    saved.checkpoint(&[]);
    assert_eq!(read("poststop")["status"], "stopped");
    for name in ["prestart", "createRuntime"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    saved.restore(&[]);
    for name in ["prestart", "createRuntime"] {
        assert_eq!(read(name)["pid"], saved.container.pid(), "{name}");
    }
    // A hook that fails takes everything back.
    saved.checkpoint(&[]);
    let failing = json!([{"path": "/bin/false"}]);
    let broken = Bundle::shell(COUNTER).with(|c| c["hooks"] = json!({"createRuntime": failing}));
    broken.write();
    let mut command = saved.container.command();
    command.arg("--criu").arg(&criu).args(["restore", "-d", "--image-path"]).arg(saved.image());
    command.arg("-b").arg(broken.path()).arg(&saved.container.id);
    done(command).fails(1, "createRuntime");
    assert!(saved.container.leftovers().is_empty(), "{:?}", saved.container.leftovers());
}

/// A terminal: the engine, or rt in the foreground, gets the master of the restored terminal.
#[test]
fn a_terminal_is_restored() {
    let criu = need_criu!();
    let dir = tempfile::tempdir().unwrap();
    let bundle =
        Bundle::shell("while read line; do echo \"got $line\"; done").with(|c| c["process"]["terminal"] = json!(true));
    bundle.write();
    let container = Container::new();
    let socket = dir.path().join("console");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let master = || {
        let (stream, _) = listener.accept().unwrap();
        let (_, fd) = rt_sys::socket::receive(std::os::fd::AsFd::as_fd(&stream), &mut [0; 64]).unwrap();
        fs::File::from(fd.unwrap())
    };
    let says = |master: &fs::File, line: &str| {
        std::io::Write::write_all(&mut &*master, format!("{line}\n").as_bytes()).unwrap();
        let mut said = String::new();
        eventually("the terminal's answer", || {
            let mut space = [0; 1024];
            let n = std::io::Read::read(&mut &*master, &mut space).unwrap();
            said.push_str(&String::from_utf8_lossy(&space[..n]));
            said.contains(&format!("got {line}"))
        });
    };
    let mut command = container.command();
    command.args(["run", "-d", "--console-socket"]).arg(&socket).arg("-b").arg(bundle.path()).arg(&container.id);
    done(command).ok();
    let first = master();
    says(&first, "one");
    let image = dir.path().join("image");
    let mut command = container.command();
    command.arg("--criu").arg(&criu).args(["checkpoint", "--image-path"]).arg(&image).arg(&container.id);
    done(command).ok();
    drop(first);
    let restore = |options: &[&str]| {
        let mut command = container.command();
        command.arg("--criu").arg(&criu).args(["restore", "-d", "--image-path"]).arg(&image).args(options);
        command.arg("-b").arg(bundle.path()).arg(&container.id);
        done(command)
    };
    restore(&[]).fails(1, "without setting console socket");
    restore(&["--console-socket", socket.to_str().unwrap()]).ok();
    says(&master(), "two");
}

/// What stops a dump is said in the container's terms, with what to do; the container runs on, and
/// nothing but CRIU's log is left.
/// What a restore would fail at is said before the container is saved.
#[test]
fn a_read_only_root_without_tmp() {
    let criu = need_criu!();
    for (has_tmp, code) in [(false, 1), (true, 0)] {
        let bundle = Bundle::new(&["sleep", "1000"]).with(|config| config["root"]["readonly"] = true.into());
        let _ = fs::remove_dir(bundle.rootfs().join("tmp"));
        if has_tmp {
            fs::create_dir(bundle.rootfs().join("tmp")).unwrap();
        }
        let said = Saved::new(&bundle, &criu).check(&[]);
        assert_eq!((said.code, said.out.contains("/root/readonly: ")), (code, !has_tmp), "{said:?}");
    }
}

#[test]
fn a_failed_dump_says_why() {
    let criu = need_criu!();
    // A listener and a client over the loopback device.
    let script = "nc -l -p 99 -e sleep 100 & sleep 0.3; sleep 100 | nc 127.0.0.1 99 & wait";
    let bundle = Bundle::shell(script);
    let saved = Saved::new(&bundle, &criu);
    let connected = || saved.container.exec(&["cat", "/proc/net/tcp"]).out.contains("0100007F:0063 01 ");
    eventually("the connection", connected);
    let failed = saved.try_checkpoint(&[]);
    failed.fails(1, "criu dump failed: the container has established TCP connections");
    assert!(failed.err.contains("--tcp-established"), "{failed:?}");
    assert!(failed.err.contains(&saved.image().join("dump.log").display().to_string()), "{failed:?}");
    assert_eq!(saved.container.status(), "running");
    let left: Vec<_> = fs::read_dir(saved.image()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["dump.log"]);
    saved.checkpoint(&["--tcp-established"]);
    saved.restore(&["--tcp-established"]);
    assert!(connected(), "the connection is lost");
}

/// No criu, no image, a damaged one, a wrong bundle: one clear error, and nothing is left.
#[test]
fn bad_input_is_one_clear_error() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let mut saved = Saved::new(&bundle, &criu);
    let id = saved.container.id.clone();
    let nothing = PathBuf::from("/no/such/criu");
    saved.criu = &nothing;
    saved.try_checkpoint(&[]).fails(1, "criu: no such file or directory");
    let old = PathBuf::from("/bin/true");
    saved.criu = &old;
    saved.try_checkpoint(&[]).fails(1, "criu ended in the middle of its work");
    assert_eq!(saved.container.status(), "running");
    saved.criu = &criu;
    for (options, text) in [
        (&["--page-server", "x"][..], "--page-server \"x\": use ADDRESS:PORT"),
        (&["--empty-ns", "pid"], "--empty-ns: namespace \"pid\" is not supported"),
        (&["--status-fd", "99", "--lazy-pages"], "invalid --status-fd argument 99: bad file descriptor"),
        (&["--work-path", "/proc/nothing"], "--work-path: /proc/nothing"),
    ] {
        saved.try_checkpoint(options).fails(1, text);
        assert_eq!(saved.container.status(), "running", "{options:?}");
    }
    saved.container.rt(&["checkpoint", "--image-path", "/proc/x", &id]).fails(1, "--image-path: /proc/x");
    saved.container.rt(&["checkpoint", "--manage-cgroups-mode", "x", &id]);
    saved.checkpoint(&[]);
    saved.container.rt(&["checkpoint", &id]).fails(1, "container does not exist");
    let leftovers =
        |saved: &Saved<'_>| assert!(saved.container.leftovers().is_empty(), "{:?}", saved.container.leftovers());

    // The image.
    let image = saved.image();
    let moved = saved.dir.path().join("moved");
    fs::rename(&image, &moved).unwrap();
    saved.try_restore(&[]).fails(1, "--image-path");
    fs::create_dir(&image).unwrap();
    saved.try_restore(&[]).fails(1, "a directory without a checkpoint");
    fs::remove_dir(&image).unwrap();
    fs::rename(&moved, &image).unwrap();
    for (name, text) in [
        ("pstree.img", "pstree.img: is cut short"),
        ("core-1.img", "the image is damaged: one of its files is cut short"),
        ("descriptors.json", "descriptors.json"),
        ("pages-1.img", "pages-1.img: lacks pages"),
    ] {
        let whole = fs::read(image.join(name)).unwrap();
        fs::write(image.join(name), &whole[..whole.len() / 2]).unwrap();
        saved.try_restore(&[]).fails(1, text);
        leftovers(&saved);
        fs::write(image.join(name), whole).unwrap();
    }
    // Links in it do not lead rt, or CRIU, to files outside.
    let victim = saved.dir.path().join("victim");
    fs::write(&victim, "whole").unwrap();
    let _ = fs::remove_file(image.join("restore.log"));
    std::os::unix::fs::symlink(&victim, image.join("restore.log")).unwrap();
    saved.try_restore(&[]).fails(1, "restore.log: is a symlink");
    fs::remove_file(image.join("restore.log")).unwrap();
    std::os::unix::fs::symlink(saved.dir.path(), image.join(format!("restore-{id}"))).unwrap();
    let mut command = saved.container.command();
    command.arg("--criu").arg(&criu).args(["restore", "-d", "--as", &id, "--image-path"]).arg(&image);
    command.arg("-b").arg(saved.bundle.path());
    done(command).fails(1, "is a symlink");
    fs::remove_file(image.join(format!("restore-{id}"))).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "whole");
    leftovers(&saved);
    // The bundle: a mount that the image does not have is no error of CRIU's; a source that is missing is.
    let missing = Bundle::shell(COUNTER).mount("/volume", "bind", "/no/such/source", &["bind"]);
    saved.bundle = &missing;
    saved.try_restore(&[]).fails(1, "/mounts/7");
    leftovers(&saved);
    saved.bundle = &bundle;
    saved.restore(&[]);
}

/// Only a container that runs can be saved.
#[test]
fn only_what_runs_can_be_saved() {
    let criu = need_criu!();
    let bundle = Bundle::new(&["true"]);
    let container = bundle.create();
    let checkpoint = || {
        let mut command = container.command();
        command.arg("--criu").arg(&criu).args(["checkpoint", "--image-path"]).arg(container.root().join("image"));
        command.arg(&container.id);
        done(command)
    };
    checkpoint().fails(1, "Container cannot be checkpointed in created state");
    container.rt(&["start", &container.id]).ok();
    container.await_status("stopped");
    checkpoint().fails(1, "Container cannot be checkpointed in stopped state");
    assert!(!container.root().join("image").exists());
}

/// A network namespace from outside is neither saved nor made: the container is in it again.
#[test]
fn namespaces_from_outside_are_joined() {
    let criu = need_criu!();
    let holder = Bundle::new(&["sleep", "1000"]).start();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", holder.pid());
    let bundle = Bundle::shell(COUNTER).with(|c| {
        for namespace in c["linux"]["namespaces"].as_array_mut().unwrap() {
            match namespace["type"].as_str().unwrap() {
                "network" => namespace["path"] = json!(path("net")),
                "ipc" => namespace["path"] = json!(path("ipc")),
                _ => {}
            }
        }
    });
    let saved = Saved::new(&bundle, &criu);
    let name = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    saved.checkpoint(&[]);
    saved.restore(&[]);
    for kind in ["net", "ipc"] {
        assert_eq!(name(saved.container.pid(), kind), name(holder.pid(), kind), "{kind}");
    }
    assert_ne!(name(saved.container.pid(), "pid"), name(holder.pid(), "pid"));
}

/// The annotation names a file of CRIU's, which overrides what rt asks for.
#[test]
fn the_annotation_configures_criu() {
    let criu = need_criu!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("criu.conf");
    fs::write(&file, "log-file special.log\n").unwrap();
    let bundle = Bundle::shell(COUNTER).with(|c| c["annotations"] = json!({"org.criu.config": file}));
    let saved = Saved::new(&bundle, &criu);
    saved.checkpoint(&[]);
    assert!(saved.image().join("special.log").exists() && !saved.image().join("dump.log").exists());
    saved.restore(&[]);
}

/// Any number of containers from one image, at once, while the first still runs: each with its own
/// name, cgroup, network, rootfs and volume.
#[test]
fn clones_live_beside_the_first() {
    let criu = need_criu!();
    let volume = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("who"), text).unwrap();
        dir
    };
    let (first, other) = (volume("first"), volume("other"));
    let bundle = Bundle::shell(COUNTER)
        .mount("/volume", "bind", first.path(), &["bind"])
        .with(|c| c["linux"]["cgroupsPath"] = json!(format!("/rt-test-first-{}", std::process::id())));
    let saved = Saved::on_the_null_device(&bundle, &criu);
    eventually("the counter", || saved.count() > 2);
    saved.checkpoint(&["--leave-running"]);
    let copy = Bundle::shell(COUNTER);
    let clones: Vec<_> = (0..4).map(|_| Container::new()).collect();
    let start = |clone: &Container| {
        let mut command = clone.command();
        command.arg("--criu").arg(&criu).args(["restore", "-d", "--as", &clone.id, "--image-path"]).arg(saved.image());
        command.arg("-b").arg(bundle.path()).args(["--hostname", &clone.id, "--rootfs"]).arg(copy.rootfs());
        command.arg("--bind").arg(format!("/volume={}", other.path().display()));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let started: Vec<_> = clones.iter().map(start).collect();
    for mut started in started {
        assert!(started.wait().unwrap().success());
    }
    assert_eq!(saved.container.status(), "running");
    for clone in &clones {
        let before: u32 = clone.exec(&["cat", "/dev/shm/n"]).ok().trim().parse().unwrap();
        assert!(before > 2, "it began anew");
        eventually("the counter of a clone", || {
            clone.exec(&["cat", "/dev/shm/n"]).out.trim().parse::<u32>().is_ok_and(|now| now > before)
        });
        assert_eq!(clone.exec(&["hostname"]).ok().trim(), clone.id);
        assert_eq!(clone.exec(&["cat", "/volume/who"]).ok(), "other");
        assert!(copy.rootfs().join("volume").is_dir());
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", clone.pid())).unwrap();
        assert!(cgroup.contains(&clone.id) && !cgroup.contains("rt-test-first"), "{cgroup}");
        assert!(!cgroup.lines().any(|line| line.matches("rt-test").count() > 1), "a cgroup in a cgroup: {cgroup}");
        let net = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_ne!(net(clone.pid()), net(saved.container.pid()));
    }
    let left: Vec<_> =
        fs::read_dir(saved.image()).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("restore-")), "{left:?}");

    // `run --from` is the same in the foreground, or detached.
    let warm = Container::new();
    let mut command = warm.command();
    command
        .arg("--criu")
        .arg(&criu)
        .args(["run", "-d", "--from"])
        .arg(saved.image())
        .arg("-b")
        .arg(bundle.path())
        .arg(&warm.id);
    done(command).ok();
    assert_eq!(warm.status(), "running");
    for (options, text) in [
        (&["--bind", "/nothing=/tmp"][..], "--bind /nothing: the config has no mount with this destination"),
        (&["--bind", "x"], "--bind \"x\": use DEST=SOURCE"),
        (&["--rootfs", "/no/such"], "/root/path"),
    ] {
        let broken = Container::new();
        let mut command = broken.command();
        command.arg("--criu").arg(&criu).args(["restore", "-d", "--as", &broken.id, "--image-path"]).arg(saved.image());
        command.args(options).arg("-b").arg(bundle.path());
        done(command).fails(1, text);
    }
    let id = saved.container.id.as_str();
    for (words, text) in [
        (&["restore", "--hostname", "x", id][..], "need --as NEWID"),
        (&["restore", "--as", "x", id], "give either --as NEWID or ID"),
        (&["restore"], "requires exactly 1 argument"),
    ] {
        saved.container.rt(words).fails(1, text);
    }
}

/// rt or CRIU killed at any moment of a checkpoint: the container goes on, or has ended as asked, and
/// a forced delete leaves nothing.
#[test]
fn a_checkpoint_that_is_killed_harms_nothing() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let mut fates = std::collections::BTreeMap::<String, u32>::new();
    for step in 0..24_u64 {
        let saved = Saved::on_the_null_device(&bundle, &criu);
        eventually("the counter", || saved.container.exec(&["cat", "/dev/shm/n"]).code == 0);
        let mut command = saved.container.command();
        command
            .arg("--criu")
            .arg(&criu)
            .args(["checkpoint", "--image-path"])
            .arg(saved.image())
            .arg(&saved.container.id);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(step / 2 * 14));
        let victim = if step % 2 == 0 { Some(child.id()) } else { child_of(child.id()) };
        if let Some(victim) = victim {
            kill(victim);
        }
        let _ = child.wait();
        // CRIU may still be at work, or rolling back.
        eventually("CRIU's end", || !criu_works_on(saved.dir.path()));
        let state = saved.container.rt(&["state", &saved.container.id]);
        let fate = if state.code != 0 { "deleted".to_owned() } else { saved.container.status() };
        *fates.entry(fate.clone()).or_default() += 1;
        match fate.as_str() {
            "running" => {
                let count = saved.count();
                eventually("the counter to go on", || saved.count() > count + 1);
                // And it can be saved.
                saved.checkpoint(&[]);
            }
            // rt was killed after CRIU had saved the container.
            "stopped" => {}
            "deleted" => {}
            other => panic!("{other} after step {step}"),
        }
    }
    eprintln!("{fates:?}");
    assert!(fates.get("running").is_some_and(|n| *n > 4), "{fates:?}");
}

/// The same for a restore: what is left is a container, or nothing that a forced delete does not
/// find.
#[test]
fn a_restore_that_is_killed_leaves_nothing() {
    let criu = need_criu!();
    let bundle = Bundle::shell(COUNTER);
    let saved = Saved::on_the_null_device(&bundle, &criu);
    eventually("the counter", || saved.count() > 1);
    saved.checkpoint(&[]);
    for step in 0..24_u64 {
        let mut command = saved.container.command();
        command.arg("--criu").arg(&criu).args(["restore", "-d", "--image-path"]).arg(saved.image());
        command.arg("-b").arg(bundle.path()).arg(&saved.container.id);
        let null = std::process::Stdio::null;
        let mut child = command.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(step / 2 * 12));
        let victim = if step % 2 == 0 { Some(child.id()) } else { child_of(child.id()) };
        if let Some(victim) = victim {
            kill(victim);
        }
        let _ = child.wait();
        eventually("CRIU's end", || !criu_works_on(saved.dir.path()));
        saved.container.rt(&["delete", "--force", &saved.container.id]).ok();
        assert!(saved.container.leftovers().is_empty(), "step {step}: {:?}", saved.container.leftovers());
    }
    saved.restore(&[]);
}

fn kill(pid: u32) {
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid as i32).unwrap(),
        rustix::process::Signal::KILL,
    );
}

fn child_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Whether a CRIU runs whose image or working directory is below `dir`.
fn criu_works_on(dir: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).any(|pid| {
        let inside = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        inside && String::from_utf8_lossy(&line).contains("criu")
    })
}
