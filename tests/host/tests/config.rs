//! Each field of config.json has its effect, read back inside the container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rt_tests::{Bundle, MACHINE_OF_32_BITS, cgroup_dir, need, need_host};
use serde_json::{Value, json};

/// Runs `script` with a changed config and compares what it printed.
#[track_caller]
fn shows(script: &str, change: impl FnOnce(&mut Value), expected: &str) {
    let done = Bundle::shell(script).with(change).run();
    assert_eq!(done.ok(), expected, "{script}");
}

#[test]
fn names() {
    need_host!();
    shows(
        "hostname; cat /proc/sys/kernel/domainname",
        |c| {
            c["hostname"] = "box".into();
            c["domainname"] = "example".into();
        },
        "box\nexample\n",
    );
}

#[test]
fn user_groups_umask_and_home() {
    need_host!();
    let user = json!({"uid": 1000, "gid": 20, "additionalGids": [5, 6], "umask": 0o27, "username": "of Windows"});
    shows(
        "id -u; id -g; id -G; umask; echo $HOME",
        |c| c["process"]["user"] = user,
        "1000\n20\n20 5 6\n0027\n/home/user\n",
    );
    shows("umask; echo $HOME", |_| {}, "0022\n/root\n");
    shows("echo $HOME", |c| c["process"]["env"] = json!(["PATH=/bin", "HOME=/x"]), "/x\n");
    shows("echo $HOME", |c| c["process"]["user"] = json!({"uid": 4711, "gid": 0}), "/\n");
}

/// Of two entries of one name the program sees the last alone, in `run` and with what `exec` adds.
#[test]
fn of_an_environment_variable_the_last_counts() {
    need_host!();
    let twice = json!(["PATH=/bin", "A=1", "B=2", "A=3", "HOME=/x", "HOME="]);
    let run = Bundle::new(&["env"]).with(|c| c["process"]["env"] = twice.clone()).run();
    assert_eq!(run.ok(), "PATH=/bin\nB=2\nA=3\nHOME=/root\n");
    let c = Bundle::new(&["sleep", "1000"]).with(|c| c["process"]["env"] = twice).start();
    assert_eq!(c.exec_with(&["-e", "B=4"], &["env"]).ok(), "PATH=/bin\nA=3\nB=4\nHOME=/root\n");
}

#[test]
fn capabilities_of_root_and_of_a_user() {
    need_host!();
    let status = "grep Cap /proc/self/status";
    let caps = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let user = |c: &mut Value| {
        c["process"]["capabilities"] = caps.clone();
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    };
    shows(
        status,
        user,
        "CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000021\nCapAmb:\t0000000000000020\n",
    );
    let none = |c: &mut Value| c["process"]["capabilities"] = json!({});
    shows(
        status,
        none,
        &["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|s| format!("{s}:\t0000000000000000\n")).concat(),
    );
}

#[test]
fn limits_oom_score_scheduler_and_priority() {
    need_host!();
    shows(
        "ulimit -n; ulimit -Hn; ulimit -c",
        |c| {
            c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        },
        "64\n128\n0\n",
    );
    shows("cat /proc/self/oom_score_adj", |c| c["process"]["oomScoreAdj"] = 700.into(), "700\n");
    shows(
        "cut -d' ' -f19 /proc/self/stat; ionice -p 1",
        |c| {
            c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
            c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        },
        "5\nbest-effort: prio 6\n",
    );
    shows("cut -d' ' -f41 /proc/self/stat", |c| c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH"}), "3\n");
}

#[test]
fn no_new_privileges() {
    need_host!();
    for (on, seen) in [(true, "1"), (false, "0")] {
        shows(
            "grep NoNewPrivs /proc/self/status",
            |c| c["process"]["noNewPrivileges"] = on.into(),
            &format!("NoNewPrivs:\t{seen}\n"),
        );
    }
}

#[test]
fn namespaces_are_new_unless_left_out() {
    need_host!();
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        let own = fs::read_link(format!("/proc/self/ns/{file}")).unwrap().to_string_lossy().into_owned() + "\n";
        let script = format!("readlink /proc/self/ns/{file}");
        assert_ne!(Bundle::shell(&script).run().ok(), own, "{kind}");
        let shared = Bundle::shell(&script)
            .without_namespace(kind)
            .with(|c| drop(c.as_object_mut().unwrap().remove("hostname")));
        assert_eq!(shared.run().ok(), own, "{kind}");
    }
}

/// A config without any namespace shares them all, mounts included; delete leaves no mount on the
/// host.
#[test]
fn without_any_namespace() {
    need_host!();
    let bundle = Bundle::shell("readlink /proc/self/ns/mnt; pwd; ls /bin/busybox").with(|c| {
        c["linux"] = json!({});
        c.as_object_mut().unwrap().remove("hostname");
    });
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(bundle.run().ok(), format!("{}\n/\n/bin/busybox\n", own.display()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*bundle.path().to_string_lossy()), "a mount is left on the host");
}

/// Kubernetes' pods: the second container joins what the first one made.
#[test]
fn namespaces_are_joined_by_path() {
    need_host!();
    let first = Bundle::new(&["sleep", "1000"]).start();
    let pid = first.pid();
    let script = "for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; ps | grep -c '[s]leep 1000$'";
    let joined = Bundle::shell(script).with(|c| {
        for ns in c["linux"]["namespaces"].as_array_mut().unwrap() {
            let file = match ns["type"].as_str().unwrap() {
                "network" => "net",
                "mount" | "cgroup" => continue,
                other => other,
            };
            ns["path"] = format!("/proc/{pid}/ns/{file}").into();
        }
        c.as_object_mut().unwrap().remove("hostname");
    });
    let link = |n| fs::read_link(format!("/proc/{pid}/ns/{n}")).unwrap().to_string_lossy().into_owned();
    let expected = ["pid", "net", "ipc", "uts"].map(link).join("\n") + "\n1\n";
    assert_eq!(joined.run().ok(), expected);
}

#[test]
fn a_user_namespace_maps_root_away() {
    need_host!();
    let bundle = Bundle::shell(
        "id -u; cat /proc/self/uid_map; touch /tmp/x; ls -l /dev/null; echo ok > /dev/null && echo wrote",
    )
    .with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
        c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    });
    let all = fs::Permissions::from_mode(0o777);
    for dir in [bundle.path().to_owned(), bundle.rootfs(), bundle.rootfs().join("tmp")] {
        fs::set_permissions(dir, all.clone()).unwrap();
    }
    let done = bundle.run();
    assert!(done.ok().starts_with("0\n         0     100000      65536\n"), "{done:?}");
    assert!(done.out.ends_with("wrote\n"), "{done:?}");
    assert_eq!(fs::metadata(bundle.rootfs().join("tmp/x")).unwrap().uid(), 100000);
}

/// Sources that only the host's root can reach are mounted all the same.
#[test]
fn a_user_namespace_gets_mounts_that_its_root_cannot_reach() {
    need_host!();
    let secret = tempfile::tempdir().unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(secret.path().join("file"), "inside\n").unwrap();
    let bundle =
        Bundle::new(&["cat", "/file"]).mount("/file", "bind", secret.path().join("file"), &["bind", "ro"]).with(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
            c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
        });
    for dir in [bundle.path().to_owned(), bundle.rootfs()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(bundle.run().ok(), "inside\n");
}

/// Podman's pods with user namespaces: the second container joins the first one's user namespace.
#[test]
fn a_user_namespace_is_joined_by_path() {
    need_host!();
    let map = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    let open = |b: &Bundle| {
        for dir in [b.path().to_owned(), b.rootfs()] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    };
    let first = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map.clone();
    });
    open(&first);
    let first = first.start();
    let pid = first.pid();
    assert_eq!(first.exec(&["cat", "/proc/self/uid_map"]).ok().split_whitespace().nth(1), Some("100000"));
    let second = Bundle::shell("id -u; cat /proc/self/uid_map; readlink /proc/self/ns/net").with(|c| {
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
        namespaces.iter_mut().find(|n| n["type"] == "network").unwrap()["path"] = format!("/proc/{pid}/ns/net").into();
    });
    open(&second);
    let net = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(second.run().ok(), format!("0\n         0     100000      65536\n{}\n", net.display()));
}

#[test]
fn time_offsets() {
    need_host!();
    need!(std::path::Path::new("/proc/self/ns/time").exists(), "this kernel has no time namespaces");
    let done = Bundle::shell("cut -d. -f1 /proc/uptime").with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        c["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000, "nanosecs": 0}});
    });
    let seen: u64 = done.run().ok().trim().parse().unwrap();
    assert!(seen >= 1_000_000_000, "{seen}");
}

#[test]
fn mount_attributes() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("inner")).unwrap();
    let options = ["rbind", "ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"];
    let bundle = Bundle::shell("grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6; touch /m/x").mount(
        "/m",
        "bind",
        dir.path(),
        &options,
    );
    let done = bundle.run();
    let seen = done.out.trim().to_owned();
    for word in ["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"] {
        assert!(seen.split(',').any(|w| w == word), "{word}: {seen}");
    }
    assert!(done.err.contains("Read-only"), "{done:?}");
    // A fresh filesystem with data of its own.
    let bundle =
        Bundle::shell("mount | grep ' /t '").mount("/t", "tmpfs", "tmpfs", &["size=64k", "mode=700", "nosuid"]);
    let seen = bundle.run();
    assert!(seen.ok().contains("nosuid") && seen.out.contains("size=64k") && seen.out.contains("mode=700"), "{seen:?}");
}

/// `ro` covers one mount, `rro` all below (Docker's bind-recursive=readonly).
#[test]
fn recursive_read_only() {
    need_host!();
    let script = "touch /m/dev/shm/x 2>/dev/null && echo wrote || echo refused";
    let with = |options: &[&str]| {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir_all(source.path().join("dev")).unwrap();
        // The container's own tmpfs below a bind of the rootfs.
        Bundle::shell(script).mount("/src", "tmpfs", "t", &[]).mount("/src/dev/shm", "tmpfs", "t", &["mode=777"]).with(
            |c| {
                c["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"destination": "/m", "type": "bind", "source": "/dev", "options": options}));
                c["process"]["args"][2] =
                    "touch /m/shm/rt-test-rro 2>/dev/null && rm /m/shm/rt-test-rro && echo wrote || echo refused"
                        .into();
            },
        )
    };
    assert_eq!(with(&["rbind", "ro"]).run().ok(), "wrote\n");
    assert_eq!(with(&["rbind", "rro"]).run().ok(), "refused\n");
}

#[test]
fn id_mapped_mounts() {
    need_host!();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    std::os::unix::fs::chown(dir.path().join("f"), Some(1000), Some(1000)).unwrap();
    let map = json!([{"containerID": 1000, "hostID": 5000, "size": 10}]);
    let bundle = Bundle::shell("stat -c %u:%g /m/f").mount("/m", "bind", dir.path(), &["bind", "idmap"]).with(|c| {
        let mount = c["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        mount["uidMappings"] = map.clone();
        mount["gidMappings"] = map.clone();
    });
    assert_eq!(bundle.run().ok(), "5000:5000\n");
    let inline = Bundle::shell("stat -c %u:%g /m/f").mount(
        "/m",
        "bind",
        dir.path(),
        &["bind", "idmap=uids=1000-7000-1;gids=1000-8000-1"],
    );
    assert_eq!(inline.run().ok(), "7000:8000\n");
}

#[test]
fn tmpcopyup_keeps_what_was_there() {
    need_host!();
    let bundle = Bundle::shell(
        "cat /etc/passwd | head -1; ls -l /etc/link | cut -d'>' -f2; stat -c %a /etc/sub; touch /etc/new",
    )
    .mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let sub = bundle.rootfs().join("etc/sub");
    fs::create_dir(&sub).unwrap();
    fs::set_permissions(&sub, fs::Permissions::from_mode(0o1750)).unwrap();
    std::os::unix::fs::symlink("passwd", bundle.rootfs().join("etc/link")).unwrap();
    assert_eq!(bundle.run().ok(), "root:x:0:0:root:/root:/bin/sh\n passwd\n1750\n");
    assert!(!bundle.rootfs().join("etc/new").exists());
}

/// A tmpfs over a directory has its mode, as with runc and crun, unless the options have one; its
/// owner is root either way.
#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    need_host!();
    // A name longer than fsconfig(2) takes goes through mount(2).
    let long = "t".repeat(300);
    let cases: [(&[&str], &str); 5] = [
        (&[], "1750 0:0\n"),
        (&["mode=700"], "700 0:0\n"),
        (&["tmpcopyup"], "1750 0:0\n"),
        (&["tmpcopyup", "mode=700"], "700 0:0\n"),
        (&["ro"], "1750 0:0\n"),
    ];
    for (source, (options, seen)) in cases.iter().flat_map(|case| [("tmpfs", case), (&long, case)]) {
        if source == long && options.contains(&"tmpcopyup") {
            continue;
        }
        let bundle = Bundle::shell("stat -c '%a %u:%g' /sub").mount("/sub", "tmpfs", source, options);
        let sub = bundle.rootfs().join("sub");
        fs::create_dir(&sub).unwrap();
        std::os::unix::fs::chown(&sub, Some(33), Some(34)).unwrap();
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o1750)).unwrap();
        assert_eq!(bundle.run().ok(), *seen, "{options:?}");
    }
    let made = Bundle::shell("stat -c %a /made").mount("/made", "tmpfs", "tmpfs", &[]).run();
    assert_eq!(made.ok(), "1777\n", "with nothing there before, it is the kernel's default");
}

#[test]
fn root_read_only_and_propagation() {
    need_host!();
    let done = Bundle::shell("touch /x").with(|c| c["root"]["readonly"] = true.into()).run();
    assert!(done.err.contains("Read-only"), "{done:?}");
    for (value, tag) in [("shared", "shared:"), ("slave", "master:"), ("private", ""), ("unbindable", "unbindable")] {
        let script = "grep -m1 ' / / ' /proc/self/mountinfo || head -1 /proc/self/mountinfo";
        let done = Bundle::shell(script).with(|c| c["linux"]["rootfsPropagation"] = value.into()).run();
        let fields = done.ok().split(" - ").next().unwrap().to_owned();
        match tag {
            "" | "master:" => assert!(!fields.contains("shared:"), "{value}: {fields}"),
            tag => assert!(fields.contains(tag), "{value}: {fields}"),
        }
    }
}

#[test]
fn devices() {
    need_host!();
    let bundle = Bundle::shell(
        "stat -c '%F %t:%T %a %u' /dev/mine /dev/pipe /dev/null; ls /dev/fd/0 >/dev/null && readlink /dev/ptmx",
    )
    .with(|c| {
        c["linux"]["devices"] = json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}
        ]);
    });
    assert_eq!(
        bundle.run().ok(),
        "character special file 1:7 640 5\nfifo 0:0 600 0\ncharacter special file 1:3 666 0\npts/ptmx\n"
    );
}

/// Plugins and options of an engine may ask for the same device: the first node counts, as with runc. Two
/// devices at one path are a mistake.
#[test]
fn the_same_device_twice() {
    need_host!();
    let device =
        |minor: u32, mode: u32| json!({"path": "/dev/a", "type": "c", "major": 1, "minor": minor, "fileMode": mode});
    let listed = |devices: Vec<Value>| {
        Bundle::shell("stat -c '%t:%T %a' /dev/a").with(|c| c["linux"]["devices"] = devices.into()).run()
    };
    assert_eq!(listed(vec![device(3, 0o640), device(3, 0o600)]).ok(), "1:3 640\n");
    listed(vec![device(3, 0o640), device(5, 0o640)]).fails(1, "/linux/devices/1/path: appears twice");
}

/// The device rules of the cgroup hold: a node that can be made cannot be opened.
#[test]
fn device_rules() {
    need_host!();
    let script = "cat /dev/full | head -c1 | wc -c; mknod /tmp/kmsg c 1 11 && (cat /tmp/kmsg 2>&1 | head -1)";
    let caps = |c: &mut Value| {
        let all = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
        c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    };
    let done = Bundle::shell(script).with(caps).run();
    assert_eq!(done.out, "1\ncat: can't open '/tmp/kmsg': Operation not permitted\n", "{done:?}");
}

/// The plan goes to init in messages of 16 KiB, and most are one; nothing may be lost or bent where
/// there are hundreds.
#[test]
fn an_environment_of_megabytes_arrives() {
    need_host!();
    let script = "sum=0; for n in 1 2 12 13; do eval v=\\$V$n; sum=$((sum + ${#v})); done; echo $sum ${V12%%y*}";
    let bundle = Bundle::shell(script).with(|c| {
        let env = c["process"]["env"].as_array_mut().unwrap();
        env.extend((1..=13).map(|n| format!("V{n}=n{n}{}", "y".repeat(100_000 + n)).into()));
    });
    assert_eq!(bundle.run().ok(), "400038 n12\n");
}

#[test]
fn masked_and_read_only_paths() {
    need_host!();
    let script = "wc -c < /proc/timer_list; ls /proc/acpi | wc -l; touch /proc/sys/kernel/x 2>&1; echo 1 2>&1 > /proc/sys/kernel/domainname; wc -c < /etc/passwd";
    let bundle = Bundle::shell(script).with(|c| {
        c["linux"]["maskedPaths"].as_array_mut().unwrap().extend(["/etc/passwd".into(), "/not/there".into()]);
        c["linux"]["readonlyPaths"].as_array_mut().unwrap().push("/not/there".into());
    });
    let done = bundle.run();
    assert_eq!(done.out.lines().next(), Some("0"), "{done:?}");
    assert_eq!(done.out.lines().last(), Some("0"), "{done:?}");
    assert!(format!("{}{}", done.out, done.err).contains("Read-only file system"), "{done:?}");
}

/// The root as a read-only path is the same as `root.readonly`: a mount on top of it would be below no
/// path that a process looks up.
#[test]
fn the_root_as_a_read_only_path() {
    need_host!();
    for path in ["/", "/tmp/.."] {
        let script = "touch /x 2>&1 || touch /dev/shm/x && grep -c ' / ro' /proc/self/mountinfo";
        let bundle = Bundle::shell(script).with(|c| c["linux"]["readonlyPaths"] = json!([path]));
        assert_eq!(bundle.run().ok(), "touch: /x: Read-only file system\n1\n", "{path}");
    }
}

#[test]
fn sysctls() {
    need_host!();
    shows(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; ip link show lo | grep -c UP",
        |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"});
        },
        "1\n4096\n1\n",
    );
}

#[test]
fn personality() {
    need_host!();
    shows("uname -m", |c| c["linux"]["personality"] = json!({"domain": "LINUX32"}), &format!("{MACHINE_OF_32_BITS}\n"));
}

#[test]
fn the_working_directory_is_made() {
    need_host!();
    shows("pwd", |c| c["process"]["cwd"] = "/a/b".into(), "/a/b\n");
}

#[test]
fn cgroup_limits_are_in_force() {
    need_host!();
    need!(std::path::Path::new("/sys/fs/cgroup/memory").exists(), "needs cgroup v1 (the VM tests cover v2)");
    let c = Bundle::new(&["sleep", "1000"]).with(|c| {
        c["linux"]["resources"] = json!({
            "memory": {"limit": 67108864, "swap": 67108864}, "cpu": {"shares": 512, "quota": 50000, "period": 100000},
            "pids": {"limit": 33}, "devices": [{"allow": false, "access": "rwm"}]
        });
    }).start();
    let pid = c.pid();
    let read = |controller: &str, file: &str| {
        fs::read_to_string(cgroup_dir(pid, controller).join(file)).unwrap().trim().to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(read("cpu", "cpu.shares"), "512");
    assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read("pids", "pids.max"), "33");
    c.rt(&["update", "--memory", "32M", "--memory-swap", "64M", "--pids-limit", "44", "--cpu-quota", "25000", &c.id])
        .ok();
    assert_eq!(read("memory", "memory.limit_in_bytes"), "33554432");
    assert_eq!(read("pids", "pids.max"), "44");
    assert_eq!(read("cpu", "cpu.cfs_quota_us"), "25000");
    let stats: Value = serde_json::from_str(c.rt(&["events", "--stats", &c.id]).ok()).unwrap();
    assert_eq!(stats["data"]["pids"]["limit"], 44);
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 33554432);
}

/// A memory hog is killed at its limit, and the exit code says so.
#[test]
fn a_memory_hog_is_killed() {
    need_host!();
    let done = Bundle::shell("dd if=/dev/zero of=/dev/shm/x bs=1M count=60; exit $?")
        .with(|c| {
            c["linux"]["resources"] = json!({"memory": {"limit": 8388608}});
        })
        .run();
    assert_eq!(done.code, 137, "{done:?}");
}

/// A fork bomb stops at pids.limit.
#[test]
fn pids_limit() {
    need_host!();
    let script = "for i in $(seq 30); do sleep 5 & done; echo survived";
    let done = Bundle::shell(script).with(|c| c["linux"]["resources"] = json!({"pids": {"limit": 10}})).run();
    assert!(done.err.contains("can't fork") || done.err.contains("Resource temporarily"), "{done:?}");
}

#[test]
fn preserved_descriptors_and_no_others() {
    need_host!();
    let c = rt_tests::Container::new();
    let bundle = Bundle::shell("cat <&3; ls /proc/self/fd | sort | tr '\\n' ' '");
    bundle.write();
    fs::write(bundle.path().join("in"), "through\n").unwrap();
    let run = |n: &str, redirect: &str| {
        let script = format!(
            "exec {} --root {} run --preserve-fds {n} -b {} {} {redirect}",
            rt_tests::rt().display(),
            c.root().display(),
            bundle.path().display(),
            c.id
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]);
        rt_tests::done(shell)
    };
    let input = bundle.path().join("in");
    let done = run("1", &format!("3<{} 4</dev/null 7</dev/null", input.display()));
    assert!(done.ok().starts_with("through\n0 1 2 3 "), "{done:?}");
    assert!(!done.out.contains(" 4 ") || done.out.trim().ends_with('4'), "4 is the directory that ls reads: {done:?}");
    assert!(!done.out.contains('7'), "{done:?}");
    run("2", &format!("3<{} 4<&-", input.display())).fails(1, "unable to stat preserved-fd 4");
}
