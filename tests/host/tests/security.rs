//! The security invariants of docs/architecture.md and the CVEs behind them: each test breaks if
//! one is lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rt_tests::{Bundle, Container, need, need_host, rt};
use rustix::fs::{CWD, RenameFlags, SealFlags};
use serde_json::json;

/// A container must not get at the host through a descriptor that rt leaks (CVE-2024-21626).
#[test]
fn no_working_directory_outside_the_container() {
    need_host!();
    for fd in 3..24 {
        let cwd = format!("/proc/self/fd/{fd}");
        // Not pwd, which fails by itself where the working directory has no path.
        let done = Bundle::new(&["true"]).with(|c| c["process"]["cwd"] = cwd.clone().into()).run();
        assert_ne!(done.code, 0, "{cwd}: {done:?}");
    }
    let c = Bundle::new(&["sleep", "1000"]).start();
    for fd in 3..24 {
        let cwd = format!("/proc/self/fd/{fd}");
        assert_ne!(c.exec_with(&["--cwd", &cwd], &["true"]).code, 0, "{cwd}");
    }
}

/// Nothing but the standard descriptors crosses into the program; 3 is the directory that the shell
/// reads.
#[test]
fn no_descriptor_is_leaked() {
    need_host!();
    assert_eq!(Bundle::shell("echo /proc/self/fd/*").run().ok().replace("/proc/self/fd/", ""), "0 1 2 3\n");
    let c = Bundle::new(&["sleep", "1000"]).start();
    assert_eq!(c.exec(&["sh", "-c", "echo /proc/self/fd/*"]).ok().replace("/proc/self/fd/", ""), "0 1 2 3\n");
}

/// A symlinked /proc or /sys in the image would put the mount, and the masks, somewhere else
/// (CVE-2019-19921, CVE-2023-27561).
#[test]
fn proc_and_sys_must_be_real_directories() {
    need_host!();
    for name in ["proc", "sys"] {
        let bundle = Bundle::new(&["true"]);
        fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("elsewhere", bundle.rootfs().join(name)).unwrap();
        let done = bundle.run();
        assert_eq!(done.code, 1, "{name}: {done:?}");
        assert!(done.err.contains("too many levels of symbolic links"), "{name}: {done:?}");
    }
}

/// An image whose /dev leads out of the rootfs must not make rt touch the host (CVE-2026-41579,
/// CVE-2026-47766).
#[test]
fn a_symlinked_dev_stays_inside() {
    need_host!();
    for relative in [false, true] {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("ptmx"), "host").unwrap();
        let bundle = Bundle::new(&["true"]).with(|c| {
            c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        });
        fs::remove_dir(bundle.rootfs().join("dev")).unwrap();
        let target = if relative {
            format!("../../../..{}", outside.path().display())
        } else {
            outside.path().display().to_string()
        };
        symlink(target, bundle.rootfs().join("dev")).unwrap();
        let _ = bundle.run();
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["ptmx"], "the host's directory was changed");
        assert_eq!(fs::read_to_string(outside.path().join("ptmx")).unwrap(), "host");
    }
}

/// HOME comes from the image's /etc/passwd. In its place may be what never ends, or blocks.
#[test]
fn an_images_passwd_without_an_end() {
    need_host!();
    let with = |make: fn(&Path)| {
        let bundle = Bundle::shell("echo $HOME").with(|c| c["process"]["env"] = json!(["PATH=/bin"]));
        let passwd = bundle.rootfs().join("etc/passwd");
        let _ = fs::remove_file(&passwd);
        make(&passwd);
        bundle.run()
    };
    let endless = with(|passwd| symlink("/dev/zero", passwd).unwrap());
    assert_eq!(endless.ok(), "/\n");
    let huge = with(|passwd| fs::File::create(passwd).unwrap().set_len(1 << 40).unwrap());
    assert_eq!(huge.ok(), "/\n");
    let fifo = with(|passwd| nix::unistd::mkfifo(passwd, nix::sys::stat::Mode::S_IRWXU).unwrap());
    assert_eq!(fifo.ok(), "/\n");
}

/// Masks come from the host's verified null device, whatever the image has at /dev/null
/// (CVE-2025-31133).
#[test]
fn masking_ignores_the_images_dev_null() {
    need_host!();
    let bundle = Bundle::shell("cat /etc/secret; ls -l /dev/null").with(|c| {
        c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        c["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    });
    fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/null")).unwrap();
    let done = bundle.run();
    // The node cannot be made where the image has something else, and nothing of the image is
    // mounted as a mask.
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("/dev/null") && done.err.contains("file exists"), "{done:?}");
}

/// A mount destination that leads out by symlinks ends inside the rootfs (CVE-2019-18837,
/// CVE-2021-30465).
#[test]
fn mount_destinations_stay_inside() {
    need_host!();
    let outside = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("mark"), "").unwrap();
    let bundle = Bundle::shell("ls /escape/sub").mount("/escape/sub", "bind", source.path(), &["bind"]);
    symlink(outside.path(), bundle.rootfs().join("escape")).unwrap();
    assert_eq!(bundle.run().ok(), "mark\n");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was made on the host");
    let inside = bundle.rootfs().join(outside.path().strip_prefix("/").unwrap()).join("sub");
    assert!(inside.is_dir(), "the destination is made where the link leads inside the rootfs");
}

/// The program that waits in a created container is not rt, cannot be written, read or traced from
/// inside (CVE-2019-5736 and the window before the program's own exec).
#[test]
fn the_stub_is_sealed_and_untraceable() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).create();
    let pid = c.pid();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(exe.to_string_lossy().contains("memfd:rt-init"), "{exe:?}");
    // While it runs nobody can open it for writing anyway; the seals and the mode are what lasts.
    let file = fs::File::open(format!("/proc/{pid}/exe")).unwrap();
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL), "{seals:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o111);
    // Not dumpable: its /proc files belong to root of the host, not to the container's user.
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    let c = bundle.create();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(format!("/proc/{}/mem", c.pid())).unwrap().uid(), 0);
}

/// A tmpfs with a fake /proc/self/attr must not get the label, nor a fake sysctl its value
/// (CVE-2019-16884, CVE-2025-52881).
#[test]
fn procfs_writes_go_to_procfs() {
    need_host!();
    let fake = tempfile::tempdir().unwrap();
    fs::create_dir_all(fake.path().join("net/ipv4")).unwrap();
    fs::write(fake.path().join("net/ipv4/ip_forward"), "fake").unwrap();
    let bundle = Bundle::new(&["true"]);
    // A mount of the config over /proc/sys is refused, so the cover is put there by a program in
    // the container's mount namespace.
    let cover = format!("mount --bind {} {}/proc/sys", fake.path().display(), bundle.rootfs().display());
    let bundle = bundle.with(|c| {
        c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        c["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", cover]}]});
    });
    let done = bundle.run();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("/linux/sysctl/net.ipv4.ip_forward: "), "{done:?}");
    assert_eq!(fs::read_to_string(fake.path().join("net/ipv4/ip_forward")).unwrap(), "fake");
}

/// The container cannot be made with somebody else's processes in its cgroup.
#[test]
fn a_cgroup_in_use_is_refused() {
    need_host!();
    let path = format!("/rt-test-shared-{}", std::process::id());
    let bundle = Bundle::new(&["sleep", "1000"]).with(|c| c["linux"]["cgroupsPath"] = path.clone().into());
    let first = bundle.start();
    let second = Container::new();
    bundle.try_create(&second, &[]).fails(1, "container's cgroup is not empty");
    assert_eq!(first.status(), "running");
}

/// A pid that was reused is not the container's init: start time is compared.
#[test]
fn a_recycled_pid_is_not_init() {
    need_host!();
    let c = Bundle::new(&["sleep", "1000"]).start();
    let file = c.root().join(&c.id).join("state.json");
    let original = fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&original).unwrap();
    state["startTime"] = (state["startTime"].as_u64().unwrap() - 1).into();
    fs::write(&file, state.to_string()).unwrap();
    assert_eq!(c.status(), "stopped");
    c.rt(&["kill", &c.id, "KILL"]).fails(1, "container not running");
    fs::write(&file, original).unwrap();
    assert_eq!(c.status(), "running");
}

/// An image's /dev/console is a symlink to a file of the host, or to where one could be made: the
/// terminal is not bound there, and none is made (CVE-2026-88264, CVE-2025-52565).
#[test]
fn a_symlinked_console_stays_inside() {
    need_host!();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "host").unwrap();
    for target in ["file", "missing"] {
        console_to(&outside.path().join(target));
        assert_eq!(fs::read_to_string(&file).unwrap(), "host");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{target}: made on the host");
    }
}

fn console_to(target: &std::path::Path) {
    let bundle = Bundle::shell("exec 2>&1; ls -l /dev/console; echo written > /dev/console").with(|c| {
        c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
        c["process"]["terminal"] = true.into();
    });
    fs::create_dir(bundle.rootfs().join("dev/pts")).unwrap();
    symlink(target, bundle.rootfs().join("dev/console")).unwrap();
    let socket = bundle.path().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let container = Container::new();
    let created = bundle.try_create(&container, &["--console-socket", socket.to_str().unwrap()]);
    // What the container makes of it is its own affair, and nothing of the host may change. But it
    // has to come as far as its terminal, or this test would say nothing.
    if created.code == 0 {
        let _connection = listener.accept().unwrap();
        container.rt(&["start", &container.id]).ok();
        container.await_status("stopped");
    } else {
        assert!(created.err.contains("/dev/console") || created.err.contains(": terminal: "), "{created:?}");
    }
}

/// More id mappings than fit in 16 bits of a length, or in the kernel's table, are an error with
/// the field's name; nothing is cut off in silence (CVE-2021-43784).
#[test]
fn a_flood_of_id_mappings_is_refused_whole() {
    need_host!();
    let many: Vec<_> = (0..4000).map(|i| json!({"containerID": i, "hostID": 100_000 + 2 * i, "size": 1})).collect();
    let done = Bundle::new(&["true"])
        .with(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            c["linux"]["uidMappings"] = many.clone().into();
            c["linux"]["gidMappings"] = many.into();
        })
        .run();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("/linux/uidMappings"), "{done:?}");
}

/// The program's own image names rt as its program, by way of /proc/self/exe, and would get at rt's
/// file (CVE-2019-5736).
#[test]
fn proc_self_exe_is_never_the_runtime() {
    need_host!();
    let before = fs::metadata(rt_tests::rt()).unwrap().modified().unwrap();
    let done = Bundle::new(&["/proc/self/exe"]).run();
    // It is the stub: sealed, in memory, and without a plan it ends.
    assert_ne!(done.code, 0, "{done:?}");
    let c = Bundle::new(&["sleep", "1000"]).start();
    let done = c.exec(&["/proc/self/exe"]);
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(fs::metadata(rt_tests::rt()).unwrap().modified().unwrap(), before);
}

/// What is mounted over a file of /proc takes what init writes there, such as the label of the
/// program, or feigns what the program reads (CVE-2019-16884): only the files that lxcfs and its
/// like serve may be covered, and /proc only by a procfs.
#[test]
fn nothing_covers_proc() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "fake\n").unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    let (file, directory) = (dir.path().join("file"), dir.path().join("directory"));
    for place in [
        "/proc/self/attr/current",
        "/proc/1/environ",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "proc/cmdline",
    ] {
        let done = Bundle::new(&["true"]).mount(place, "bind", &file, &["bind"]).run();
        done.fails(1, "cannot be mounted because it is inside /proc");
    }
    for (place, kind, options) in
        [("/proc/sys", "bind", &["bind"][..]), ("/proc/sys", "tmpfs", &[]), ("/proc/../proc/scsi", "tmpfs", &[])]
    {
        let done = Bundle::new(&["true"]).mount(place, kind, &directory, options).run();
        done.fails(1, "cannot be mounted because it is inside /proc");
    }
    for (kind, options) in [("tmpfs", &[][..]), ("sysfs", &[]), ("bind", &["bind"])] {
        let done = Bundle::new(&["true"]).mount("/proc", kind, &directory, options).run();
        done.fails(1, "cannot be mounted because it is not of type proc");
    }
    // A symlink of the image, or of a volume, is the same place by another name.
    for (link, target) in [("etc/link", "/proc/sys/kernel"), ("etc/file", "../proc/version"), ("p", "proc")] {
        let bundle = Bundle::new(&["true"]);
        symlink(target, bundle.rootfs().join(link)).unwrap();
        let source = if link == "etc/file" { &file } else { &directory };
        let done = bundle.mount(&format!("/{link}"), "bind", source, &["bind"]).run();
        done.fails(1, "cannot be mounted because it is inside /proc");
    }
    for place in ["/proc/cpuinfo", "/proc/meminfo", "/proc/uptime", "/proc/loadavg", "/proc/stat"] {
        let done = Bundle::new(&["cat", place]).mount(place, "bind", &file, &["bind", "ro"]).run();
        assert_eq!(done.ok(), "fake\n", "{place}");
    }
    let own = Bundle::new(&["ls", "-d", "/proc/self"]).with(|c| {
        c["mounts"][0] = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    });
    assert_eq!(own.run().ok(), "/proc/self\n", "the host's, for a privileged container");
}

/// An old-style mount (its source is too long for fsconfig(2)) gets its attributes, although
/// somebody who can write to the volume that holds its destination renames it at just this moment.
#[test]
fn a_renamed_destination_does_not_take_a_mounts_attributes() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let volume = tempfile::tempdir().unwrap();
    for name in ["x", "y"] {
        fs::create_dir(volume.path().join(name)).unwrap();
    }
    let source = "long".repeat(80);
    let bundle = Bundle::shell("grep longlong /proc/self/mountinfo")
        .mount("/vol", "bind", volume.path().to_str().unwrap(), &["bind", "rw"])
        .mount("/vol/x", "tmpfs", &source, &["nosuid", "nodev", "noexec"]);
    bundle.write();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = |name: &str| volume.path().join(name);
            while !done.load(Relaxed) {
                rustix::fs::renameat_with(CWD, at("x"), CWD, at("y"), RenameFlags::EXCHANGE).unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        for _ in 0..5 {
            let container = Container::new();
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=mount:delay_exit=50000", "--"]);
            command.arg(rt()).arg("--root").arg(container.root()).args(["run", "--bundle"]).arg(bundle.path());
            let ended = rt_tests::done({
                command.arg(&container.id);
                command
            });
            if ended.code != 0 || !ended.out.contains("nosuid,nodev,noexec") {
                done.store(true, Relaxed);
                panic!("{ended:?}");
            }
        }
        done.store(true, Relaxed);
    });
}
