//! The base of new mount namespaces: that it is used, where it must not be, and what becomes of a
//! start without it. That the container is the same in either case is tested with each kind of mount
//! (`mounts.rs`).

use std::fs;
use std::path::Path;
use std::process::Command;

use rt_tests::{Bundle, Container, Done, done, need, need_host, rt};
use serde_json::json;

const BASE: &str = "/run/rt-mounts/base";

/// A mount of the host's own base may have been copied.
const EMPTY_RUN: &str = "umount -l /run/rt-mounts 2>/dev/null || :; mount -t tmpfs none /run";

/// Runs a shell script in a mount namespace of its own with an empty /run. `$RT` is rt with a state
/// directory, `$BUNDLE` the bundle, `$BASE` the base. Other tests' mounts of namespaces are in it, too.
fn in_own_run(bundle: &Bundle, script: &str) -> Done {
    bundle.write();
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{EMPTY_RUN}; {script}")]);
    command.env("RT", format!("{} --root {}", rt().display(), state.path().display()));
    command.env("BUNDLE", bundle.path()).env("BASE", BASE).env("ID", Container::new().id.as_str());
    done(command)
}

/// What `strace` shows of the calls that make namespaces, in a second run of the bundle.
fn calls(bundle: &Bundle) -> String {
    let script = "$RT run --bundle $BUNDLE $ID; strace -f -e trace=clone3,unshare,setns $RT run --bundle $BUNDLE $ID";
    let traced = in_own_run(bundle, script);
    traced.ok();
    traced.err
}

fn with_hook(bundle: Bundle, kind: &str, name: &str) -> Bundle {
    bundle.with(|c| c["hooks"][kind] = json!([{"path": "/bin/true", "args": [name]}]))
}

/// Otherwise a start would take longer with each mount of the host. Docker's hook does not look into
/// the mount namespace; whoever else's may.
#[test]
fn the_hosts_mounts_are_copied_only_for_hooks() {
    need_host!();
    need!(Path::new("/usr/bin/strace").exists(), "needs strace");
    let plain = || Bundle::new(&["true"]);
    for (bundle, copied) in [
        (plain(), false),
        (with_hook(plain(), "prestart", "libnetwork-setkey"), false),
        (with_hook(plain(), "startContainer", "true"), false),
        (with_hook(plain(), "poststart", "any"), false),
        (with_hook(plain(), "prestart", "any"), true),
        (with_hook(plain(), "createRuntime", "any"), true),
        (plain().with(|c| c["linux"]["rootfsPropagation"] = "rshared".into()), true),
    ] {
        let calls = calls(&bundle);
        let cloned = calls.lines().any(|line| line.contains("clone3(") && line.contains("CLONE_NEWNS"));
        let entered = calls.lines().any(|line| line.contains("setns(") && line.contains("CLONE_NEWNS"));
        assert_eq!((cloned, entered), (copied, !copied), "{}: {calls}", bundle.config);
    }
}

/// The first start makes it, later ones use it, and it is gone when it is to be.
#[test]
fn it_is_made_once_and_kept() {
    need_host!();
    let script = "$RT run --bundle $BUNDLE $ID; stat -L -c %i $BASE; $RT run --bundle $BUNDLE $ID; stat -L -c %i $BASE
        stat -c %A /run/rt-mounts; grep -c /run/rt-mounts /proc/self/mountinfo
        $RT gc --all --dry-run; $RT gc --all; ls -A /run; $RT gc --all
        $RT run --bundle $BUNDLE $ID; grep -c /run/rt-mounts /proc/self/mountinfo";
    let done = in_own_run(&Bundle::new(&["true"]), script);
    let lines: Vec<&str> = done.ok().lines().collect();
    let [first, second, mode, mounts, would, did, again, anew] = lines[..] else { panic!("{lines:?}") };
    assert_eq!(first, second, "the second start made another");
    assert_eq!((mode, mounts, anew), ("drwx------", "2", "2"));
    assert!(would.starts_with("/run/rt-mounts: would be removed") && did.starts_with("/run/rt-mounts: removed"));
    assert_eq!(again, "nothing to remove");
}

/// Whoever enters it finds the empty places for sources, and nothing else can be made.
#[test]
fn it_is_empty_and_nothing_can_be_written() {
    need_host!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let look = "import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
assert c.setns(os.open(os.environ['BASE'], os.O_RDONLY), 0x20000) == 0
print(sum(os.listdir(f'/{i:02}') == ['file'] for i in range(33)), len(os.listdir('/')), os.statvfs('/').f_files)
for make in (os.mkdir, os.mkfifo):
    try: make('/made')
    except OSError as e: print(e.errno)
for flags in (0x1020, 0x20):  # a bind remount, and a remount of the filesystem, both writable
    c.mount(None, b'/', None, flags, None)
try: os.mkdir('/made')
except OSError as e: print(e.errno)";
    let done = in_own_run(&Bundle::new(&["true"]), &format!("$RT run --bundle $BUNDLE $ID; python3 -c \"{look}\""));
    // Read-only; and to one who makes it writable, full.
    assert_eq!(done.ok(), "33 33 67\n30\n30\n28\n");
}

/// What somebody has mounted in it must not be below a container, nor in one.
#[test]
fn a_damaged_one_is_replaced() {
    need_host!();
    need!(Path::new("/usr/bin/python3").exists(), "needs python3");
    let enter = "import ctypes, os
c = ctypes.CDLL(None)
assert c.setns(os.open(os.environ['BASE'], os.O_RDONLY), 0x20000) == 0";
    let script = format!(
        "$RT run --bundle $BUNDLE $ID
        python3 -c \"{enter}\nassert c.mount(b'tmpfs', b'/', b'tmpfs', 0, None) == 0\"
        $RT run --bundle $BUNDLE $ID
        python3 -c \"{enter}\nassert c.mount(b'tmpfs', b'/32', b'tmpfs', 0, None) == 0\"
        $RT run --bundle $BUNDLE $ID; python3 -c \"{enter}\nprint(os.statvfs('/').f_files, os.listdir('/32'))\"
        umount $BASE; touch -d yesterday $BASE; touch /run/file; mount --bind /run/file $BASE
        $RT run --bundle $BUNDLE $ID; stat -L -f -c %T $BASE
        grep -c /run/rt-mounts /proc/self/mountinfo"
    );
    let bundle = Bundle::shell("wc -l < /proc/self/mountinfo");
    let done = in_own_run(&bundle, &script);
    let lines: Vec<&str> = done.ok().lines().collect();
    let [before, damaged, damaged_below, files, no_namespace, kind, mounts] = lines[..] else { panic!("{lines:?}") };
    for after in [damaged, damaged_below, no_namespace] {
        assert_eq!(before, after, "the container has what was mounted in the base");
    }
    assert_eq!((files, kind, mounts), ("67 ['file']", "nsfs", "2"));
}

/// Whatever stands in the way of the base, the container is made all the same.
#[test]
fn nothing_fails_without_it() {
    need_host!();
    for hindrance in [
        "mount -o remount,ro /run",
        "mkdir /run/rt-mounts; chmod 777 /run/rt-mounts",
        "mkdir /run/rt-mounts; chown 1 /run/rt-mounts",
        "touch /run/rt-mounts",
        "ln -s /tmp /run/rt-mounts",
        "mkdir -p /run/rt-mounts/base",
        "mkdir /run/rt-mounts; ln -s /dev/null $BASE",
        "mkdir /run/rt-mounts; mkfifo $BASE",
    ] {
        let script =
            format!("{hindrance}; $RT run --bundle $BUNDLE $ID; grep -c \" $BASE \" /proc/self/mountinfo || :");
        let done = in_own_run(&Bundle::new(&["echo", "ran"]), &script);
        let said = done.ok();
        assert!(said.starts_with("ran\n"), "{hindrance}: {done:?}");
        // What is no directory is replaced.
        let bases = said.lines().nth(1);
        let replaced = hindrance.contains("$BASE");
        assert_eq!(bases, Some(if replaced { "1" } else { "0" }), "{hindrance}: {done:?}");
        assert!(done.err.is_empty(), "{hindrance}: {done:?}");
    }
}

/// Each attempt takes a copy of the host's mounts, so that a failing one is not repeated at each start.
#[test]
fn a_failed_attempt_is_not_repeated_at_once() {
    need_host!();
    let script = "mkdir /run/rt-mounts; touch $BASE; $RT run --bundle $BUNDLE $ID; stat -L -f -c %T $BASE
        touch -d '2 minutes ago' $BASE; $RT run --bundle $BUNDLE $ID; stat -L -f -c %T $BASE";
    assert_eq!(in_own_run(&Bundle::new(&["true"]), script).ok(), "tmpfs\nnsfs\n");
}

/// The kernel lets a namespace's file be mounted in an older namespace only, and may take a younger
/// one for older (`base_mounts.rs`).
#[test]
fn it_is_made_on_any_cpu() {
    need_host!();
    let script = "for cpu in $(seq 0 $(($(nproc) - 1))) 0 1; do
        taskset -c $((cpu % $(nproc))) $RT run --bundle $BUNDLE $ID; stat -L -f -c %T $BASE; $RT gc --all; done | sort | uniq";
    let done = in_own_run(&Bundle::new(&["true"]), script);
    assert_eq!(done.ok().lines().count(), 2, "{done:?}");
    assert!(done.out.ends_with("nsfs\n"), "{done:?}");
}

/// Sixteen first starts at once make one base.
#[test]
fn many_first_starts_at_once() {
    need_host!();
    let script = "for i in $(seq 16); do $RT run --bundle $BUNDLE $ID-$i & done; wait
        grep -c /run/rt-mounts /proc/self/mountinfo";
    let done = in_own_run(&Bundle::new(&["echo", "ran"]), script);
    assert_eq!(done.ok(), "ran\n".repeat(16) + "2\n");
}

/// Where the host's mounts propagate, the base does not go along, and neither do the container's
/// mounts.
#[test]
fn nothing_propagates_to_the_host() {
    need_host!();
    // A peer of the whole tree, as a service with a mount namespace of its own has it.
    let script = "mount --make-rshared /; unshare --mount --propagation unchanged sleep 1000 & sleep 0.2
        peer=$!; $RT run --bundle $BUNDLE $ID; for process in self $peer; do grep -c \" $BASE \" /proc/$process/mountinfo || :; done
        grep -c $BUNDLE/rootfs /proc/$peer/mountinfo || :; kill $peer";
    let done = in_own_run(&Bundle::new(&["true"]), script);
    assert_eq!(done.ok(), "1\n0\n0\n", "{done:?}");
}

/// Init keeps copies of the sources, which it leaves with the old root, as slaves: to unmount a peer
/// would unmount what the host has mounted below.
#[test]
fn the_hosts_mounts_stay() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("below")).unwrap();
    for option in ["", "private", "rprivate", "rslave", "rshared"] {
        let options: Vec<&str> = ["rbind", option].into_iter().filter(|o| !o.is_empty()).collect();
        let bundle = Bundle::new(&["grep", "-c", " /m/below ", "/proc/self/mountinfo"]);
        let script = format!(
            "cd {0}; mount --bind {0} {0}; mount --make-shared {0}; mount -t tmpfs hosts {0}/below
            $RT run --bundle $BUNDLE $ID; grep -c ' - tmpfs hosts ' /proc/self/mountinfo || :",
            source.path().display()
        );
        let done = in_own_run(&bundle.mount("/m", "bind", source.path(), &options), &script);
        assert_eq!(done.ok(), "1\n1\n", "{option}: {done:?}");
    }
}

/// The kernel lists mounts in the order in which they were made, and programs take the last one at a
/// path for the one that is seen.
#[test]
fn mounts_have_the_order_of_the_config() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "").unwrap();
    let mut bundle = Bundle::shell("cut -d' ' -f5 /proc/self/mountinfo | grep '^/m'");
    for place in ["/m/1", "/m/2", "/m/1"] {
        bundle = bundle.mount(place, "tmpfs", "tmpfs", &[]).mount(place, "bind", source.path(), &["rbind"]).mount(
            &format!("{place}/file"),
            "bind",
            source.path().join("file"),
            &["bind", "ro"],
        );
    }
    let done = bundle.run_every_way("true");
    let one = |n| format!("/m/{n}\n/m/{n}\n/m/{n}/file\n");
    assert_eq!(done.ok(), one(1) + &one(2) + &one(1));
}

/// Init has opened the sources before it has a mount namespace, and still reports each at its mount.
#[test]
fn a_missing_source_is_reported_at_its_mount() {
    need_host!();
    let bundle = Bundle::new(&["true"])
        .mount("/m", "bind", "/nowhere/at/all", &["bind"])
        .with(|c| c["mounts"].as_array_mut().unwrap().rotate_right(1));
    bundle.run().fails(1, "/mounts/0");
    bundle.run().fails(1, "open the source: no such file or directory");
    let optional = Bundle::new(&["true"]);
    let gone = tempfile::tempdir().unwrap();
    fs::write(gone.path().join("file"), "").unwrap();
    let onto_file = optional.mount("/bin/busybox", "bind", gone.path(), &["bind"]);
    onto_file.run().fails(1, "not a directory");
}

/// More sources than init opens in advance.
#[test]
fn any_number_of_bind_mounts() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    for number in [29, 40] {
        let mut bundle = Bundle::shell("grep -c ' /m[0-9]* ' /proc/self/mountinfo");
        for i in 0..number {
            bundle = bundle.mount(&format!("/m{i}"), "bind", source.path(), &["bind"]);
        }
        assert_eq!(bundle.run_every_way("true").ok(), format!("{number}\n"));
    }
}

/// What the host mounts later below a source arrives in the container, as its propagation has it.
#[test]
fn later_mounts_of_the_host_arrive() {
    need_host!();
    for (option, seen) in [("", "1"), ("rslave", "1"), ("rshared", "1"), ("rprivate", "0")] {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("later")).unwrap();
        let options: Vec<&str> = ["rbind", option].into_iter().filter(|o| !o.is_empty()).collect();
        let bundle = Bundle::new(&["sleep", "1000"]).mount("/m", "bind", source.path(), &options);
        let script = format!(
            "cd {0}; mount --bind {0} {0}; mount --make-shared {0}; $RT run --detach --bundle $BUNDLE $ID
            mount -t tmpfs later {0}/later; $RT exec $ID grep -c ' /m/later ' /proc/self/mountinfo || :
            $RT exec $ID mount -t tmpfs mine /m; grep -c ' mine ' /proc/self/mountinfo || :; $RT delete --force $ID",
            source.path().display()
        );
        let done = in_own_run(&bundle.with(with_mount_right), &script);
        assert_eq!(done.ok(), format!("{seen}\n0\n"), "{option}: {done:?}");
    }
}

fn with_mount_right(config: &mut serde_json::Value) {
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_SYS_ADMIN".into());
    }
}

/// A runtime in a container of root's, as in Docker's own image, has a base of its own there, which
/// ends with the container.
#[test]
fn a_container_in_a_container() {
    need_host!();
    let inner = Bundle::new(&["echo", "inner"]).with(|c| {
        c["linux"]["cgroupsPath"] = "/rt-test-inner".into();
        c["linux"]["resources"] = json!({});
    });
    inner.write();
    let script = "mkdir -p /run && mount -t tmpfs none /run
        /rt --root /run/state run --bundle /inner inner; /rt --root /run/state run --bundle /inner inner
        grep -c ' /run/rt-mounts/base ' /proc/self/mountinfo";
    const RIGHTS: [&str; 13] = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_ADMIN",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
    ];
    let outer = Bundle::shell(script)
        .mount("/inner", "bind", inner.path(), &["rbind"])
        .mount("/rt", "bind", rt(), &["bind", "ro"])
        .mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", &["rbind", "rw"])
        .with(|c| {
            for set in ["bounding", "effective", "permitted"] {
                c["process"]["capabilities"][set] = json!(RIGHTS);
            }
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
            c["process"]["noNewPrivileges"] = false.into();
            c["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys/fs/cgroup" || m["type"] == "bind");
        })
        .without_namespace("cgroup");
    assert_eq!(outer.run().ok(), "inner\ninner\n1\n");
}
