//! Podman with rt on this host (with cgroup v1, where it has that): user namespaces, groups, pods.
//! The virtual machine has Podman on cgroup v2 with systemd, for root and for an ordinary user.

use std::fs;
use std::process::{Child, Command};

use rt_tests::{Bundle, Done, done, need, need_host, rt};
use tempfile::TempDir;

/// Podman with a storage of its own, in a network and mount namespace of its own, which a sleeping
/// process keeps.
struct Podman {
    dir: TempDir,
    keeper: Child,
}

/// The host may lack the right to raise limits, which Podman does by default.
const SETTINGS: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";

impl Podman {
    fn new() -> Podman {
        let keeper = Command::new("unshare").args(["--net", "--mount", "sleep", "1000"]).spawn().unwrap();
        let net = |pid: String| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        rt_tests::eventually("a network namespace", || net(keeper.id().to_string()) != net("self".into()));
        let podman = Podman { dir: tempfile::Builder::new().prefix("rt-podman-").tempdir().unwrap(), keeper };
        fs::write(podman.dir.path().join("settings"), SETTINGS).unwrap();
        let image = podman.dir.path().join("image.tar");
        let bundle = Bundle::new(&["true"]);
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(bundle.rootfs()).args(["-cf"]).arg(&image).arg(".");
        done(tar).ok();
        podman.call(&["import", image.to_str().unwrap(), "bb"]).ok();
        podman
    }

    fn call(&self, args: &[&str]) -> Done {
        self.call_through(&[], args)
    }

    /// Through a program that changes something about the caller.
    fn call_through(&self, program: &[&str], args: &[&str]) -> Done {
        let mut command = Command::new("timeout");
        command.arg("60").args(program);
        command.args(["nsenter", "--net", "--mount", "--target", &self.keeper.id().to_string(), "podman"]);
        command.env("CONTAINERS_CONF", self.dir.path().join("settings"));
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.path().join(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.arg("--runtime").arg(rt()).args(args);
        done(command)
    }

    /// `podman run --rm` of a shell script.
    fn shell(&self, options: &[&str], script: &str) -> Done {
        self.call(&[&["run", "--rm"], options, &["bb", "sh", "-c", script]].concat())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.call(&["pod", "rm", "-f", "-a", "-t", "0"]);
        self.call(&["rm", "-f", "-a", "-t", "0"]);
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        // Podman leaves the directories that it made around those of its containers; what is in use
        // stays.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let parent = hierarchy.path().join("libpod_parent");
            for below in fs::read_dir(&parent).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(below.path());
            }
            let _ = fs::remove_dir(parent);
        }
    }
}

fn has_podman() -> bool {
    Command::new("podman").arg("--version").output().is_ok()
}

#[test]
fn options_user_namespaces_and_groups() {
    need_host!();
    need!(has_podman(), "needs podman");
    let p = Podman::new();
    assert_eq!(p.shell(&["--network", "none"], "exit 42").code, 42);
    let maps = p.shell(
        &["--network", "none", "--uidmap", "0:100000:5000", "--gidmap", "0:200000:6000"],
        "cat /proc/self/uid_map /proc/self/gid_map",
    );
    assert_eq!(maps.ok().split_whitespace().collect::<Vec<_>>().join(" "), "0 100000 5000 0 200000 6000");
    let groups = p.shell(&["--network", "none", "--group-add", "7", "--user", "5:6"], "id -G");
    assert_eq!(groups.ok(), "6 7\n");
    let limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    if fs::exists("/sys/fs/cgroup/memory").unwrap() {
        assert_eq!(p.shell(&["--network", "none", "--memory", "64m"], limits).ok(), "67108864\n");
    }
    let own = |ns: &str| fs::read_link(format!("/proc/self/ns/{ns}")).unwrap().display().to_string();
    for ns in ["pid", "ipc", "uts"] {
        let seen = p.shell(&["--network", "none", &format!("--{ns}"), "host"], &format!("readlink /proc/self/ns/{ns}"));
        assert_eq!(seen.ok().trim(), own(ns), "{ns}");
    }
}

/// The groups of whoever calls Podman, which it asks for by an annotation that is rt's to know.
#[test]
fn groups_of_the_caller() {
    need_host!();
    need!(has_podman(), "needs podman");
    let p = Podman::new();
    // Podman itself allows keep-groups to ordinary users only; what it writes for them is this.
    let annotation = ["--annotation", "run.oci.keep_original_groups=1"];
    let args = [&["run", "--rm", "--network", "none"][..], &annotation, &["bb", "id", "-G"]].concat();
    assert_eq!(p.call_through(&["setpriv", "--groups", "0,4711"], &args).ok(), "0 4711\n");
}

/// What a pod shares is shared, what it does not is not.
#[test]
fn pods() {
    need_host!();
    need!(has_podman(), "needs podman");
    let p = Podman::new();
    let made = p.call(&[
        "pod",
        "create",
        "--name",
        "pod",
        "--share",
        "ipc,uts,net",
        "--network",
        "none",
        "--hostname",
        "podname",
    ]);
    need!(!made.err.contains("catatonit"), "needs catatonit");
    made.ok();
    let links = "hostname; for n in ipc uts net pid; do readlink /proc/self/ns/$n; done";
    let one = p.shell(&["--pod", "pod"], links);
    let two = p.shell(&["--pod", "pod"], links);
    let (one, two): (Vec<&str>, Vec<&str>) = (one.ok().lines().collect(), two.ok().lines().collect());
    assert_eq!(one[0], "podname");
    assert_eq!(one[..4], two[..4]);
    // Not with each other: the first is gone by then, and the kernel gives its inode away again.
    let infra = p.call(&["pod", "inspect", "--format", "{{.InfraContainerID}}", "pod"]);
    let pid = p.call(&["inspect", "--format", "{{.State.Pid}}", infra.ok().trim()]);
    let link = |n| fs::read_link(format!("/proc/{}/ns/{n}", pid.ok().trim())).unwrap().display().to_string();
    assert_eq!(one[3], link("net"));
    for seen in [one[4], two[4]] {
        assert_ne!(seen, link("pid"));
    }
    p.call(&["pod", "rm", "-f", "-t", "0", "pod"]).ok();
}
