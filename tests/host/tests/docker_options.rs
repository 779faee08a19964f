//! Options of `docker run` and of dockerd that change the config, each with what the program sees
//! of it.

use std::fs;

use rt_tests::docker::Daemon;
use rt_tests::{need_docker, need_host};

fn own(namespace: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap().display().to_string()
}

/// Namespaces: of the host, of another container, and new ones.
#[test]
fn namespaces_of_the_host_and_of_other_containers() {
    need_host!();
    need_docker!();
    let d = Daemon::start();
    d.docker(&["run", "-d", "--name", "other", "--ipc", "shareable", "--network", "none", "bb", "sleep", "1000"]).ok();
    let pid = d.docker(&["inspect", "-f", "{{.State.Pid}}", "other"]).out.trim().to_owned();
    let others = |ns: &str| fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap().display().to_string();
    let link = |options: &[&str], ns: &str| {
        let path = format!("/proc/self/ns/{ns}");
        let args = [&["--network", "none"], options, &["bb", "readlink", &path]].concat();
        d.run(&args).ok().trim().to_owned()
    };
    for ns in ["pid", "ipc", "uts", "cgroup"] {
        let option = if ns == "cgroup" { "--cgroupns" } else { &format!("--{ns}") };
        assert_eq!(link(&[option, "host"], ns), own(ns), "{ns}");
        if ns != "cgroup" {
            assert_ne!(link(&[], ns), own(ns), "{ns}");
        }
    }
    assert_ne!(link(&["--cgroupns", "private"], "cgroup"), own("cgroup"));
    for ns in ["pid", "ipc"] {
        assert_eq!(link(&[&format!("--{ns}"), "container:other"], ns), others(ns), "{ns}");
    }
    let args = ["--network", "container:other", "bb", "readlink", "/proc/self/ns/net"];
    assert_eq!(d.run(&args).ok().trim(), others("net"));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(d.run(&["--uts", "host", "--network", "none", "bb", "hostname"]).ok(), host);
    assert_eq!(
        d.run(&["--domainname", "d", "--network", "none", "bb", "cat", "/proc/sys/kernel/domainname"]).ok(),
        "d\n"
    );
    d.docker(&["rm", "-f", "other"]).ok();
}

/// Limits, devices, parameters, mounts.
#[test]
fn limits_devices_parameters_and_mounts() {
    need_host!();
    need_docker!();
    let d = Daemon::start_with("mkdir shared; mount --bind shared shared; mount --make-shared shared", &[]);
    let sees = |options: &[&str], script: &str| {
        let args = [&["--network", "none"], options, &["bb", "sh", "-c", script]].concat();
        d.run(&args).ok().to_owned()
    };
    assert_eq!(
        sees(
            &["--sysctl", "kernel.shmmni=77", "--sysctl", "net.ipv4.ip_forward=1"],
            "cd /proc/sys; cat kernel/shmmni net/ipv4/ip_forward"
        ),
        "77\n1\n"
    );
    assert_eq!(
        sees(&["--ulimit", "nofile=77:88", "--ulimit", "core=0"], "ulimit -n; ulimit -Hn; ulimit -c"),
        "77\n88\n0\n"
    );
    assert!(sees(&["--shm-size", "3m"], "cat /proc/mounts | grep /dev/shm").contains("size=3072k"));
    assert_eq!(
        sees(
            &["--device", "/dev/full:/dev/mine:r"],
            "head -c3 /dev/mine | wc -c; echo x 2>/dev/null > /dev/mine || echo refused"
        ),
        "3\nrefused\n"
    );
    assert_eq!(
        sees(
            &["--device-cgroup-rule", "c 1:11 r", "--cap-add", "SYSLOG"],
            "mknod /tmp/k c 1 11; head -c1 /tmp/k | wc -c"
        ),
        "1\n"
    );
    assert_eq!(sees(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500\n");
    assert_eq!(sees(&["--group-add", "7", "--group-add", "8", "-u", "1000:5"], "id -G"), "5 7 8\n");
    assert_eq!(sees(&["-w", "/made/here"], "pwd"), "/made/here\n");
    assert_eq!(
        sees(
            &["--tmpfs", "/t:size=64k,mode=700,noexec"],
            "grep ' /t ' /proc/mounts | grep -c noexec.*size=64k,mode=700"
        ),
        "1\n"
    );
    assert_eq!(
        sees(&["--cpuset-cpus", "0", "--blkio-weight", "0"], "grep Cpus_allowed_list /proc/self/status"),
        "Cpus_allowed_list:\t0\n"
    );
    assert_eq!(sees(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1\n");
    assert_eq!(sees(&["--security-opt", "systempaths=unconfined"], "grep -c ' /proc/' /proc/mounts; true"), "0\n");
    let bind = |more: &str| format!("type=bind,src={},dst=/m{more}", d.dir().join("shared").display());
    for (more, propagation, read_only) in [
        ("", "", false),
        (",readonly", "", true),
        (",bind-propagation=rslave", "master:", false),
        (",bind-propagation=rshared", "shared:", false),
    ] {
        let line = sees(&["--mount", &bind(more)], "grep ' /m ' /proc/self/mountinfo");
        let own: Vec<&str> = line.split(" - ").next().unwrap().split(' ').collect();
        assert_eq!(own[5].split(',').any(|w| w == "ro"), read_only, "{more}: {line}");
        assert!(own[6..].join(" ").starts_with(propagation), "{more}: {line}");
        assert_eq!(own.len() > 6, !propagation.is_empty(), "{more}: {line}");
    }
}

/// dockerd --userns-remap: root of the container is a user of the host, for run and for exec, and
/// `--userns host` leaves it.
#[test]
fn user_namespaces_of_the_daemon() {
    need_host!();
    need_docker!();
    // Names and ranges of ids as a host with a user for it has them, seen by the daemon alone.
    let setup = "cp /etc/passwd /etc/group .
        echo rtremap:x:4242:4242::/:/bin/false >> passwd; echo rtremap:x:4242: >> group
        echo rtremap:200000:65536 > subuid; cp subuid subgid
        for f in passwd group subuid subgid; do mount --bind $f /etc/$f; done";
    let d = Daemon::start_with(setup, &["--userns-remap", "rtremap"]);
    let map = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /v/made; echo x > /dev/null; hostname inside && hostname";
    let volume = tempfile::tempdir().unwrap();
    fs::set_permissions(volume.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mount = format!("{}:/v", volume.path().display());
    let seen = d.run(&["-v", &mount, "--cap-add", "SYS_ADMIN", "bb", "sh", "-c", map]);
    assert_eq!(seen.ok().split_whitespace().collect::<Vec<_>>().join(" "), "0 200000 65536 0 200000 65536 0 inside");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(volume.path().join("made")).unwrap().uid(), 200_000);
    d.docker(&["run", "-d", "--name", "day", "--memory", "64m", "bb", "sleep", "1000"]).ok();
    assert_eq!(d.docker(&["exec", "day", "cat", "/proc/self/uid_map"]).ok().split_whitespace().nth(1), Some("200000"));
    assert_eq!(d.docker(&["exec", "-u", "1000", "day", "id", "-u"]).ok(), "1000\n");
    let pid = d.docker(&["inspect", "-f", "{{.State.Pid}}", "day"]).out.trim().to_owned();
    assert_eq!(fs::metadata(format!("/proc/{pid}/root/bin")).unwrap().uid(), 200_000, "the image is the container's");
    d.docker(&["rm", "-f", "day"]).ok();
    let host = d.run(&["--userns", "host", "--network", "none", "bb", "cat", "/proc/self/uid_map"]);
    assert_eq!(host.ok().split_whitespace().nth(2), Some("4294967295"));
}
