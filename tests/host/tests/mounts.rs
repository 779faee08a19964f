//! Every mount option and the filesystem types with rules of their own, read back from
//! /proc/self/mountinfo inside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rt_tests::{Bundle, Done, need, need_host};
use serde_json::json;

/// One line of mountinfo: the mount's own options, its propagation, its filesystem's type and
/// options.
#[derive(Debug)]
struct Line {
    own: BTreeSet<String>,
    propagation: String,
    kind: String,
    superblock: BTreeSet<String>,
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::to_owned).collect()
}

/// The topmost mount on `at`.
fn line(mountinfo: &str, at: &str) -> Line {
    let found = mountinfo.lines().rev().find(|l| l.split(' ').nth(4) == Some(at));
    let found = found.unwrap_or_else(|| panic!("nothing is mounted on {at}: {mountinfo}"));
    let (before, after) = found.split_once(" - ").unwrap();
    let before: Vec<&str> = before.split(' ').collect();
    let after: Vec<&str> = after.split(' ').collect();
    Line {
        own: words(before[5]),
        propagation: before[6..].join(" "),
        kind: after[0].to_owned(),
        superblock: words(after[2]),
    }
}

const MOUNTINFO: &[&str] = &["cat", "/proc/self/mountinfo"];

/// What each option makes of a fresh tmpfs: words that must be there, and words that must not.
const ON_TMPFS: &[(&[&str], &[&str], &[&str])] = &[
    (&["defaults", "loud", "silent", "iversion", "noiversion", "remount"], &["rw", "relatime"], &["ro", "nosuid"]),
    (&["ro"], &["ro"], &["rw"]),
    (&["ro", "rw"], &["rw"], &["ro"]),
    (&["nosuid"], &["nosuid"], &["nodev"]),
    (&["nosuid", "suid"], &[], &["nosuid"]),
    (&["nodev"], &["nodev"], &["noexec"]),
    (&["nodev", "dev"], &[], &["nodev"]),
    (&["noexec"], &["noexec"], &["nosuid"]),
    (&["noexec", "exec"], &[], &["noexec"]),
    (&["noatime"], &["noatime"], &["relatime"]),
    (&["noatime", "atime"], &["relatime"], &["noatime"]),
    // Both are flags of mount(2), of which noatime has the last word (path_mount in
    // fs/namespace.c).
    (&["noatime", "relatime"], &["noatime"], &["relatime"]),
    (&["strictatime"], &[], &["noatime", "relatime"]),
    (&["strictatime", "nostrictatime"], &["relatime"], &["noatime"]),
    (&["norelatime"], &[], &["noatime"]),
    (&["nodiratime"], &["nodiratime"], &["noatime"]),
    (&["nodiratime", "diratime"], &[], &["nodiratime"]),
    (&["nosymfollow"], &["nosymfollow"], &["nosuid"]),
    (&["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
    (&["sync"], &["sync"], &["dirsync"]),
    (&["sync", "async"], &[], &["sync"]),
    (&["dirsync"], &["dirsync"], &["sync"]),
    (&["lazytime"], &["lazytime"], &["sync"]),
    (&["lazytime", "nolazytime"], &[], &["lazytime"]),
    (&["mand"], &["mand"], &["sync"]),
    (&["mand", "nomand"], &[], &["mand"]),
    (
        &["size=64k,nr_inodes=17", "mode=1750", "uid=5", "gid=6"],
        &["size=64k", "nr_inodes=17", "mode=1750", "uid=5", "gid=6"],
        &[],
    ),
];

#[test]
fn options_of_a_filesystem() {
    need_host!();
    let mut bundle = Bundle::new(MOUNTINFO);
    for (i, (options, ..)) in ON_TMPFS.iter().enumerate() {
        bundle = bundle.mount(&format!("/m{i}"), "tmpfs", "tmpfs", options);
    }
    let done = bundle.run_every_way("true");
    for (i, (options, there, absent)) in ON_TMPFS.iter().enumerate() {
        let line = line(done.ok(), &format!("/m{i}"));
        let has = |word: &str| line.own.contains(word) || line.superblock.contains(word);
        assert!(there.iter().all(|w| has(w)), "{options:?} lacks {there:?}: {line:?}");
        // A filesystem's own rw says nothing of a mount that is read-only.
        assert!(!absent.iter().any(|w| line.own.contains(*w)), "{options:?} has one of {absent:?}: {line:?}");
        assert!(
            !absent.iter().any(|w| *w != "rw" && *w != "ro" && has(w)),
            "{options:?} has one of {absent:?}: {line:?}"
        );
    }
}

/// Runs a bundle that shows its mounts, with a directory `source` on which `setup` mounts
/// something, in a mount namespace of the test's own.
fn with_source(setup: &str, bundle: impl FnOnce(&Path) -> Bundle) -> Done {
    let source = tempfile::tempdir().unwrap();
    let bundle = bundle(source.path());
    bundle.run_every_way(&format!("cd {}; {setup}", source.path().display()))
}

/// Recursive options reach the mounts below, those without the r only the topmost.
#[test]
fn recursive_options() {
    need_host!();
    let set = ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"];
    let plain = "mkdir -p below; mount -t tmpfs t below";
    let bind = |options: Vec<&'static str>| {
        let options = [vec!["rbind"], options].concat();
        move |source: &Path| Bundle::new(MOUNTINFO).mount("/m", "bind", source, &options)
    };
    let done = with_source(plain, bind(set.to_vec()));
    for at in ["/m", "/m/below"] {
        let line = line(done.ok(), at);
        for word in set {
            assert!(line.own.contains(&word[1..]), "{word} on {at}: {line:?}");
        }
    }
    let done = with_source(plain, bind(set.iter().map(|w| &w[1..]).collect()));
    let (top, below) = (line(done.ok(), "/m"), line(&done.out, "/m/below"));
    for word in set.map(|w| &w[1..]) {
        assert!(top.own.contains(word) && !below.own.contains(word), "{word}: {top:?} {below:?}");
    }
    let all = "mkdir -p below; mount -t tmpfs -o ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow t below";
    for (options, time) in [
        (["rrw", "rsuid", "rdev", "rexec", "rrelatime", "rdiratime", "rsymfollow"], "relatime"),
        (["rrw", "rsuid", "rdev", "rexec", "ratime", "rdiratime", "rsymfollow"], "relatime"),
        (["rrw", "rsuid", "rdev", "rexec", "rnostrictatime", "rdiratime", "rsymfollow"], "relatime"),
        (["rrw", "rsuid", "rdev", "rexec", "rnorelatime", "rdiratime", "rsymfollow"], "relatime"),
        (["rrw", "rsuid", "rdev", "rexec", "rstrictatime", "rdiratime", "rsymfollow"], ""),
    ] {
        let done = with_source(all, bind(options.to_vec()));
        let below = line(done.ok(), "/m/below");
        let expected: BTreeSet<String> =
            ["rw", time].into_iter().filter(|w| !w.is_empty()).map(str::to_owned).collect();
        assert_eq!(below.own, expected, "{options:?}");
    }
}

/// Propagation per mount, and with the r of all below: what the host mounts later appears in a
/// slave only.
#[test]
fn propagation_of_mounts() {
    need_host!();
    let setup =
        "mount --bind . .; mount --make-shared .; mkdir -p below; mount -t tmpfs t below; mount --make-shared below";
    for (option, top, below) in [
        ("", "master:", "master:"),
        ("shared", "shared:", "master:"),
        ("rshared", "shared:", "shared:"),
        ("slave", "master:", "master:"),
        ("rslave", "master:", "master:"),
        ("private", "", "master:"),
        ("rprivate", "", ""),
        ("unbindable", "unbindable", "master:"),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        let options: Vec<&str> = ["rbind", option].into_iter().filter(|o| !o.is_empty()).collect();
        let done = with_source(setup, |source| {
            Bundle::new(MOUNTINFO)
                .mount("/m", "bind", source, &options)
                .with(|c| c["linux"]["rootfsPropagation"] = "rslave".into())
        });
        for (at, expected) in [("/m", top), ("/m/below", below)] {
            let seen = line(done.ok(), at).propagation;
            let agrees = if expected.is_empty() { seen.is_empty() } else { seen.contains(expected) };
            assert!(agrees, "{option} on {at}: {seen:?}, not {expected:?}");
        }
    }
    // What all mounts get does not undo what one asks for.
    for (all, option, top) in
        [("rshared", "private", ""), ("rshared", "slave", "master:"), ("rprivate", "shared", "shared:")]
    {
        let done = with_source(setup, |source| {
            Bundle::new(MOUNTINFO)
                .mount("/m", "bind", source, &["rbind", option])
                .with(|c| c["linux"]["rootfsPropagation"] = all.into())
        });
        let seen = line(done.ok(), "/m").propagation;
        assert!(if top.is_empty() { seen.is_empty() } else { seen.starts_with(top) }, "{all}, {option}: {seen:?}");
        assert_eq!(line(&done.out, "/dev").propagation.contains("shared:"), all == "rshared");
    }
}

/// `copy-symlink` makes the link anew, `src-nofollow` mounts the link itself, `dest-nofollow`
/// covers a link in the rootfs instead of what it leads to (Podman's no-dereference, and crun's
/// options).
#[test]
fn links_as_sources_and_destinations() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "mounted\n").unwrap();
    symlink("elsewhere", source.path().join("link")).unwrap();
    let link = source.path().join("link");
    let copied = Bundle::new(&["readlink", "/made"]).mount("/made", "bind", &link, &["bind", "copy-symlink"]);
    assert_eq!(copied.run_every_way("true").ok(), "elsewhere\n");
    let nofollow = Bundle::shell("readlink /over; grep -c ' /over ' /proc/self/mountinfo");
    fs::write(nofollow.rootfs().join("over"), "").unwrap();
    let nofollow = nofollow.mount("/over", "bind", &link, &["bind", "src-nofollow", "dest-nofollow"]);
    assert_eq!(nofollow.run_every_way("true").ok(), "elsewhere\n1\n");
    for (options, through) in [(&["bind", "dest-nofollow"][..], "kept\n"), (&["bind"], "mounted\n")] {
        let covered = Bundle::shell("cat /target").mount("/at", "bind", source.path().join("file"), options);
        fs::write(covered.rootfs().join("target"), "kept\n").unwrap();
        symlink("target", covered.rootfs().join("at")).unwrap();
        assert_eq!(covered.run_every_way("true").ok(), through, "{options:?}");
    }
}

/// The filesystems with rules of their own, and one with data only.
#[test]
fn filesystem_types() {
    need_host!();
    let dirs = tempfile::tempdir().unwrap();
    for (name, file) in [("lower", "a"), ("upper", "b")] {
        fs::create_dir(dirs.path().join(name)).unwrap();
        fs::write(dirs.path().join(name).join(file), "").unwrap();
    }
    fs::create_dir(dirs.path().join("work")).unwrap();
    let at = |name: &str| dirs.path().join(name).display().to_string();
    let data = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let script = "cat /proc/self/mountinfo; ls /o | tr '\\n' ' '; ls /p2 | grep -c '^1$'; touch /o/c";
    let bundle = Bundle::shell(script)
        .mount("/o", "overlay", "overlay", &[&data])
        .mount("/p2", "proc", "proc", &["hidepid=invisible", "subset=pid", "ro"])
        .mount("/pts2", "devpts", "devpts", &["newinstance", "ptmxmode=0600", "mode=0640", "max=9"])
        .mount("/q", "mqueue", "mqueue", &["noexec"]);
    let done = bundle.run();
    assert!(done.ok().contains("a b "), "{done:?}");
    assert!(dirs.path().join("upper/c").exists(), "what the container writes goes to the upper layer");
    for (at, kind, words) in [
        ("/o", "overlay", vec![format!("upperdir={}", at("upper"))]),
        ("/p2", "proc", vec!["hidepid=invisible".into(), "subset=pid".into()]),
        ("/pts2", "devpts", vec!["ptmxmode=600".into(), "mode=640".into(), "max=9".into()]),
        ("/q", "mqueue", vec![]),
        ("/sys", "sysfs", vec![]),
    ] {
        let line = line(&done.out, at);
        assert_eq!(line.kind, kind);
        assert!(words.iter().all(|w| line.superblock.contains(w)), "{words:?}: {line:?}");
    }
}

/// `type: cgroup`: read-only unless asked otherwise, and only the container's own part in a cgroup
/// namespace.
#[test]
fn a_cgroup_mount() {
    need_host!();
    need!(Path::new("/sys/fs/cgroup/memory").exists(), "needs cgroup v1 (the VM tests cover v2)");
    let script = "cat /proc/self/mountinfo; ls /sys/fs/cgroup/memory/tasks; mkdir /sys/fs/cgroup/memory/x 2>&1; cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    for (own, writable) in [(true, false), (true, true), (false, false)] {
        let options: &[&str] = if writable { &["rw"] } else { &["ro", "nosuid", "noexec", "nodev"] };
        let mut bundle = Bundle::shell(script)
            .with(|c| c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys/fs/cgroup"))
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
            .with(|c| c["linux"]["resources"]["memory"] = json!({"limit": 67108864}));
        if !own {
            bundle = bundle.without_namespace("cgroup");
        }
        let done = bundle.run_every_way("true");
        let line = line(&done.out, "/sys/fs/cgroup/memory");
        assert_eq!(line.kind, "cgroup");
        assert_eq!(line.own.contains("ro"), !writable, "{line:?}");
        assert_eq!(done.out.contains("Read-only file system"), !writable, "{done:?}");
        assert!(done.out.ends_with("67108864\n"), "the container's own limit: {done:?}");
    }
}

/// `ridmap` maps the mounts below as well, `idmap` the topmost alone.
#[test]
fn recursive_id_maps() {
    need_host!();
    let setup = "mkdir -p below; mount -t tmpfs t below; touch file below/file; chown 1000:1000 file below/file";
    for (option, below) in [("ridmap", 5000), ("idmap", 1000)] {
        let option = format!("{option}=uids=1000-5000-1;gids=1000-5000-1");
        let done = with_source(setup, |source| {
            Bundle::new(&["stat", "-c", "%u:%g", "/m/file", "/m/below/file"]).mount(
                "/m",
                "bind",
                source,
                &["rbind", &option],
            )
        });
        need!(!done.err.contains("invalid argument"), "tmpfs takes no id maps on this kernel");
        assert_eq!(done.ok(), format!("5000:5000\n{below}:{below}\n"), "{option}");
    }
}

/// Volumes of pods with a user namespace: the files keep their owners, inside and outside.
#[test]
fn id_maps_in_a_user_namespace() {
    need_host!();
    let volume = tempfile::tempdir().unwrap();
    fs::write(volume.path().join("file"), "").unwrap();
    std::os::unix::fs::chown(volume.path().join("file"), Some(7), Some(8)).unwrap();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    for recursive in ["bind", "rbind"] {
        let option = if recursive == "bind" { "idmap" } else { "ridmap" };
        let script = "stat -c %u:%g /m/file; touch /m/made && stat -c %u:%g /m/made";
        let bundle = Bundle::shell(script).mount("/m", "bind", volume.path(), &[recursive, option]).with(|c| {
            let mount = c["mounts"].as_array_mut().unwrap().last_mut().unwrap();
            (mount["uidMappings"], mount["gidMappings"]) = (map.clone(), map.clone());
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            (c["linux"]["uidMappings"], c["linux"]["gidMappings"]) = (map.clone(), map.clone());
        });
        fs::create_dir(bundle.rootfs().join("m")).unwrap();
        for dir in [bundle.path().to_owned(), bundle.rootfs()] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(bundle.run_every_way("true").ok(), "7:8\n0:0\n", "{option}");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(volume.path().join("made")).unwrap().uid(), 0);
        fs::remove_file(volume.path().join("made")).unwrap();
    }
}

/// A bind mount of a source with `nosuid,nodev,noexec,noatime`, of one that is read-only, and of
/// one with two kinds of access times: with any flag among the options it has the flags asked for
/// and none of the source's; the access time stays unless one is asked for. The values are runc's
/// (1.3.6, 1.5.1), word for word.
#[test]
fn flags_of_a_bind_mount_are_those_asked_for() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    let sources = ["nosuid,nodev,noexec,noatime", "ro", "strictatime,nodiratime,nosuid"];
    let mut mounted = Vec::new();
    for (i, flags) in sources.iter().enumerate() {
        let source = dir.path().join(i.to_string());
        fs::create_dir(&source).unwrap();
        let status = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", flags, "x"]).arg(&source).status();
        assert!(status.unwrap().success());
        mounted.push(Unmounted(source));
    }
    let cases: [(&[&str], [&str; 3]); 17] = [
        (&["rbind", "rprivate"], ["rw,nosuid,nodev,noexec,noatime", "ro,relatime", "rw,nosuid,nodiratime"]),
        (&["bind", "rw"], ["rw,noatime", "rw,relatime", "rw,nodiratime"]),
        (&["bind", "ro"], ["ro,noatime", "ro,relatime", "ro,nodiratime"]),
        (&["bind", "nosuid"], ["rw,nosuid,noatime", "rw,nosuid,relatime", "rw,nosuid,nodiratime"]),
        (&["bind", "exec"], ["rw,noatime", "rw,relatime", "rw,nodiratime"]),
        (&["bind", "atime"], ["rw,noatime", "rw,relatime", "rw,nodiratime"]),
        (&["bind", "relatime"], ["rw,relatime", "rw,relatime", "rw,relatime"]),
        (&["bind", "noatime"], ["rw,noatime", "rw,noatime", "rw,noatime"]),
        (&["bind", "strictatime"], ["rw", "rw", "rw"]),
        (&["bind", "nodiratime"], ["rw,nodiratime,relatime", "rw,nodiratime,relatime", "rw,nodiratime,relatime"]),
        (&["bind", "nosymfollow"], ["rw,noatime,nosymfollow", "rw,relatime,nosymfollow", "rw,nodiratime,nosymfollow"]),
        (&["bind", "sync"], ["rw,noatime", "rw,relatime", "rw,nodiratime"]),
        (&["rbind", "rro"], ["ro,nosuid,nodev,noexec,noatime", "ro,relatime", "ro,nosuid,nodiratime"]),
        (&["bind", "rro", "noexec"], ["ro,noexec,noatime", "ro,noexec,relatime", "ro,noexec,nodiratime"]),
        (&["bind", "rexec", "nodev"], ["rw,nodev,noatime", "rw,nodev,relatime", "rw,nodev,nodiratime"]),
        (&["bind", "ratime", "nodev"], ["rw,nodev,relatime", "rw,nodev,relatime", "rw,nodev,nodiratime,relatime"]),
        (
            &["rw", "rprivate", "nosuid", "nodev", "rbind"],
            ["rw,nosuid,nodev,noatime", "rw,nosuid,nodev,relatime", "rw,nosuid,nodev,nodiratime"],
        ),
    ];
    let mut bundle = Bundle::shell("cut -d' ' -f5,6 /proc/self/mountinfo | sort");
    for (c, (options, _)) in cases.iter().enumerate() {
        for (s, source) in mounted.iter().enumerate() {
            bundle = bundle.mount(&format!("/m{c}-{s}"), "bind", &source.0, options);
        }
    }
    let done = bundle.run_every_way("true");
    for (c, (options, wanted)) in cases.iter().enumerate() {
        for (s, wanted) in wanted.iter().enumerate() {
            let place = format!("/m{c}-{s} ");
            let got = done.ok().lines().find_map(|line| line.strip_prefix(&place)).unwrap_or_default();
            assert_eq!(got, *wanted, "{options:?} of a source with {}", sources[s]);
        }
    }
}

/// A mount of the host, taken away when a test is over.
struct Unmounted(std::path::PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

fn mapped(bundle: Bundle) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    open_to_all(bundle.path());
    bundle.with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
    })
}

fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

/// In a user namespace the attributes that the host has set are locked: they stay, whatever the
/// container does, and to ask for their absence is an error.
#[test]
fn locked_flags_stay() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    let source = dir.path().join("locked");
    fs::create_dir(&source).unwrap();
    let options = ["-t", "tmpfs", "-o", "nosuid,nodev,noexec,ro", "x"];
    assert!(std::process::Command::new("mount").args(options).arg(&source).status().unwrap().success());
    let _mounted = Unmounted(source.clone());
    let script = "grep ' /l ' /proc/self/mountinfo | cut -d' ' -f6; mount -o remount,bind,rw,exec /l 2>/dev/null || echo refused";
    let bundle = Bundle::shell(script);
    fs::create_dir(bundle.rootfs().join("l")).unwrap();
    let admin = |c: &mut serde_json::Value| {
        let caps = json!(["CAP_SYS_ADMIN"]);
        c["process"]["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
    };
    let done = mapped(bundle).with(admin).mount("/l", "bind", &source, &["rbind", "ro"]).run_every_way("true");
    assert_eq!(done.ok(), "ro,nosuid,nodev,noexec,relatime\nrefused\n");
    let bundle = Bundle::new(&["true"]);
    fs::create_dir(bundle.rootfs().join("l")).unwrap();
    let done = mapped(bundle).mount("/l", "bind", &source, &["rbind", "exec"]).run_every_way("true");
    done.fails(1, "set the mount's attributes: operation not permitted");
}

/// A source that root of the user namespace cannot reach is opened with the caller's rights.
#[test]
fn sources_out_of_reach_in_a_user_namespace() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("volume")).unwrap();
    fs::write(dir.path().join("volume/file"), "reached\n").unwrap();
    let bundle = Bundle::new(&["cat", "/v/file"]);
    fs::create_dir(bundle.rootfs().join("v")).unwrap();
    let done = mapped(bundle).mount("/v", "bind", dir.path().join("volume"), &["rbind", "ro"]).run_every_way("true");
    assert_eq!(done.ok(), "reached\n");
}

/// A source below the rootfs has the mounts that the config made there before it, and a destination
/// that begins with the path of the rootfs is below it: plain, with mapped ids, and in a user
/// namespace.
#[test]
fn a_source_inside_the_rootfs_sees_the_mounts_before_it() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    for name in ["a/x", "b/y"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("b/file"), "from b\n").unwrap();
    let tree = |last: &[&str]| {
        let bundle = Bundle::shell("cat /final/x/file; stat -c %u /final");
        for name in ["mnt", "final"] {
            fs::create_dir(bundle.rootfs().join(name)).unwrap();
        }
        let (source, destination) = (bundle.rootfs().join("mnt"), bundle.rootfs().join("final"));
        bundle
            .mount("/mnt", "bind", dir.path().join("a"), &["rbind"])
            .mount("/mnt/x", "bind", dir.path().join("b"), &["rbind"])
            .mount(destination.to_str().unwrap(), "bind", source, last)
    };
    assert_eq!(tree(&["rbind"]).run_every_way("true").ok(), "from b\n0\n");
    assert_eq!(mapped(tree(&["rbind"])).run_every_way("true").ok(), "from b\n65534\n", "in a user namespace");
    assert_eq!(mapped(tree(&["rbind", "idmap"])).run_every_way("true").ok(), "from b\n0\n", "with mapped ids");
    // What is below the rootfs never leads out of it.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    let bundle = Bundle::new(&["ls", "/final"]);
    symlink(outside.path(), bundle.rootfs().join("link")).unwrap();
    let link = bundle.rootfs().join("link");
    let done = bundle.mount("/final", "bind", link, &["bind"]).run_every_way("true");
    done.fails(1, "open the source: no such file or directory");
}

/// A dangling symlink of the image, at the end of a destination or on the way to it: what is
/// missing is made where it leads, inside the rootfs, and the image keeps its link.
#[test]
fn dangling_symlinks_at_destinations() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "data\n").unwrap();
    fs::create_dir(dir.path().join("volume")).unwrap();
    fs::write(dir.path().join("volume/in"), "volume\n").unwrap();
    let bundle = Bundle::shell(
        "cat /run/x/resolv.conf /opt/a/b/hosts /srv/deep/in; readlink /etc/resolv.conf; readlink /etc/dir",
    );
    let rootfs = bundle.rootfs();
    for (target, link) in [
        ("../run/x/resolv.conf", "etc/resolv.conf"),
        ("/opt/a", "jump"),
        ("/jump/b/hosts", "etc/hosts"),
        ("../srv/deep", "etc/dir"),
    ] {
        symlink(target, rootfs.join(link)).unwrap();
    }
    let bundle = bundle
        .mount("/etc/resolv.conf", "bind", dir.path().join("file"), &["bind"])
        .mount("/etc/hosts", "bind", dir.path().join("file"), &["bind"])
        .mount("/etc/dir", "bind", dir.path().join("volume"), &["bind"]);
    let done = bundle.run_every_way("true");
    assert_eq!(done.ok(), "data\ndata\nvolume\n../run/x/resolv.conf\n../srv/deep\n");
    assert_eq!(fs::read_link(rootfs.join("etc/resolv.conf")).unwrap(), std::path::Path::new("../run/x/resolv.conf"));
    // A circle has no end.
    let bundle = Bundle::new(&["true"]);
    symlink("two", bundle.rootfs().join("etc/one")).unwrap();
    symlink("one", bundle.rootfs().join("etc/two")).unwrap();
    let done = bundle.mount("/etc/one", "bind", dir.path().join("file"), &["bind"]).run_every_way("true");
    done.fails(1, "too many levels of symbolic links");
}

/// `idmap` takes the maps of the user namespace that the container joins.
#[test]
fn mapped_ids_of_a_joined_user_namespace() {
    need_host!();
    let mut holder = std::process::Command::new("unshare").args(["--user", "sleep", "1000"]).spawn().unwrap();
    let of = |file: &str| format!("/proc/{}/{file}", holder.id());
    let separate = || fs::read_link(of("ns/user")).ok() != fs::read_link("/proc/self/ns/user").ok();
    rt_tests::eventually("a user namespace", separate);
    for file in ["uid_map", "gid_map"] {
        fs::write(of(file), "0 100000 65536").unwrap();
    }
    let volume = tempfile::tempdir().unwrap();
    open_to_all(volume.path());
    std::os::unix::fs::chown(volume.path(), Some(5), Some(6)).unwrap();
    let bundle = Bundle::shell("stat -c %u:%g /v; id -u; readlink /proc/self/ns/user");
    fs::create_dir(bundle.rootfs().join("v")).unwrap();
    open_to_all(bundle.path());
    let path = of("ns/user");
    let bundle = bundle.mount("/v", "bind", volume.path(), &["bind", "idmap"]).with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user", "path": path}));
        // A sysfs belongs to the owner of the network namespace.
        c["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "sysfs" && m["type"] != "cgroup");
    });
    let done = bundle.run_every_way("true");
    let joined = fs::read_link(&path).unwrap();
    let _ = holder.kill();
    let _ = holder.wait();
    assert_eq!(done.ok(), format!("5:6\n0\n{}\n", joined.display()));
}

/// A path that is listed twice, in another spelling too, is masked and protected once.
#[test]
fn a_path_is_masked_once() {
    need_host!();
    let bundle =
        Bundle::shell("grep -c ' /proc/timer_list ' /proc/self/mountinfo; grep -c ' /proc/bus ' /proc/self/mountinfo")
            .with(|c| {
                c["linux"]["maskedPaths"] = json!(["/proc/timer_list", "/proc/./timer_list", "/proc/timer_list"]);
                c["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/bus/"]);
            });
    assert_eq!(bundle.run_every_way("true").ok(), "1\n1\n");
}

/// A tmpfs becomes read-only when what is mounted in it has its destination, as in runc; one that is
/// covered by a later mount cannot be found then, and is read-only from the beginning.
#[test]
fn mounts_in_a_read_only_tmpfs() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "data\n").unwrap();
    let script =
        "grep ' /\\(m\\|c\\|run\\)' /proc/self/mountinfo | cut -d' ' -f5,6 | sed 's/,.*//'; cat /m/deep/dir/file /m/one
        for place in /m /m/t /run; do touch $place/new 2>/dev/null && echo $place; done; stat -c %a /m";
    let bundle = Bundle::shell(script)
        .mount("/m", "tmpfs", "tmpfs", &["ro", "mode=711"])
        .mount("/m/deep/dir", "bind", source.path(), &["rbind"])
        .mount("/m/one", "bind", source.path().join("file"), &["bind", "ro"])
        .mount("/m/t", "tmpfs", "tmpfs", &[])
        .mount("/c", "tmpfs", "tmpfs", &["ro"])
        .mount("/c", "tmpfs", "tmpfs", &["ro"])
        .mount("/run", "tmpfs", "tmpfs", &["ro", "tmpcopyup"]);
    let list = "/m ro\n/m/deep/dir rw\n/m/one ro\n/m/t rw\n/c ro\n/c ro\n/run ro\n";
    assert_eq!(bundle.run_every_way("true").ok(), format!("{list}data\ndata\n/m/t\n711\n"));
}

/// A popular trick is the host's /dev/urandom on /dev/random. No node is made where something is
/// mounted, as in runc.
#[test]
fn a_mount_at_the_path_of_a_device() {
    need_host!();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "data\n").unwrap();
    let bundle = Bundle::shell("stat -c %t:%T /dev/random /dev/urandom /dev/zero; cat /dev/full /dev/own")
        .mount("/dev/random", "bind", "/dev/urandom", &["bind"])
        .mount("/dev/full", "bind", source.path().join("file"), &["bind"])
        .mount("/dev/own", "bind", source.path().join("file"), &["bind"])
        .with(|c| c["linux"]["devices"] = json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 5}]));
    assert_eq!(bundle.run_every_way("true").ok(), "1:9\n1:9\n1:5\ndata\ndata\n");
}
