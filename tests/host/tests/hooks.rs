//! Hooks: when they run, where, and what they are told (config.md "POSIX-platform Hooks").

use std::fs;

use rt_tests::{Bundle, Container, need_host};
use serde_json::{Value, json};

/// Six kinds, each writing its name, the state it was given, and the mount namespace it was in.
#[test]
fn all_kinds_run_in_their_order_and_place() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    let log = bundle.path().join("log");
    fs::write(bundle.rootfs().join("tmp/log"), "").unwrap();
    let hook = |kind: &str, inside: bool| {
        let file = if inside { "/tmp/log".to_owned() } else { log.display().to_string() };
        let script = format!("echo {kind} $(readlink /proc/self/ns/net) $(cat) >> {file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let bundle = bundle.with(|c| {
        c["hooks"] = json!({
            "prestart": hook("prestart", false), "createRuntime": hook("createRuntime", false),
            "createContainer": hook("createContainer", false), "startContainer": hook("startContainer", true),
            "poststart": hook("poststart", false), "poststop": hook("poststop", false)
        });
        c["annotations"] = json!({"k": "v"});
    });
    let c = bundle.create();
    let pid = c.pid();
    let inside = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap().to_string_lossy().into_owned();
    let outside = fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    let lines = |path: &std::path::Path| -> Vec<(String, String, Value)> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|l| {
                let mut parts = l.splitn(3, ' ');
                let (kind, ns) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
                (kind, ns, serde_json::from_str(parts.next().unwrap()).unwrap())
            })
            .collect()
    };
    let created = lines(&log);
    assert_eq!(
        created.iter().map(|l| l.0.as_str()).collect::<Vec<_>>(),
        ["prestart", "createRuntime", "createContainer"]
    );
    assert_eq!(created.iter().map(|l| l.1.as_str()).collect::<Vec<_>>(), [&outside, &outside, &inside]);
    for (kind, _, state) in &created {
        assert_eq!(state["status"], "creating", "{kind}");
        assert_eq!(state["id"], c.id.as_str(), "{kind}");
        assert_eq!(state["annotations"]["k"], "v", "{kind}");
        let expected = if kind == "createContainer" { 1 } else { pid };
        assert_eq!(state["pid"], expected, "{kind}: the pid as seen from where the hook runs");
    }
    c.rt(&["start", &c.id]).ok();
    c.await_status("stopped");
    let started = lines(&bundle.rootfs().join("tmp/log"));
    assert_eq!((started[0].0.as_str(), started[0].1.as_str()), ("startContainer", inside.as_str()));
    assert_eq!(started[0].2["status"], "created");
    c.rt(&["delete", &c.id]).ok();
    let all = lines(&log);
    assert_eq!(all.iter().skip(3).map(|l| l.0.as_str()).collect::<Vec<_>>(), ["poststart", "poststop"]);
    assert_eq!(all[3].2["status"], "running");
    assert_eq!(all[4].2["status"], "stopped");
}

/// A failing poststop hook does not keep the container from being deleted.
#[test]
fn poststop_failures_are_warnings() {
    need_host!();
    let c = Bundle::new(&["true"]).with(|c| c["hooks"] = json!({"poststop": [{"path": "/bin/false"}]})).create();
    c.rt(&["delete", &c.id]).ok();
    assert!(c.leftovers().is_empty());
}

/// A hook that ran before may have made what a poststop hook removes (runtime.md "Lifecycle", step 12).
/// As in runc, any failure counts, once the id is taken.
#[test]
fn poststop_hooks_run_after_a_failure() {
    need_host!();
    let failing = |kind: &str| {
        let hook = json!([{"path": "/bin/false"}]);
        Bundle::new(&["true"]).with(|c| c["hooks"] = json!({kind: hook}))
    };
    let cases = [
        (failing("prestart"), true),
        (failing("createRuntime"), true),
        (failing("createContainer"), true),
        (failing("startContainer"), false),
        (failing("poststart"), false),
        (Bundle::new(&["true"]).mount("/m", "bind", "/nowhere", &["bind"]), true),
        (Bundle::new(&["/nowhere"]), true),
    ];
    for (bundle, fails_in_create) in cases {
        let log = bundle.path().join("log");
        let script = format!("cat >> {0}; echo >> {0}", log.display());
        let bundle = bundle.with(|c| {
            c["hooks"]["poststop"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}, {"path": "/bin/false"}]);
        });
        let states = || -> Vec<Value> {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let expect = |count: usize, id: &str, what: &str| {
            let states = states();
            assert_eq!(states.len(), count, "{what}: {}", bundle.config);
            assert!(states.iter().all(|s| s["status"] == "stopped" && s["id"] == id && s["pid"] == 0), "{states:?}");
            let _ = fs::remove_file(&log);
        };
        let c = Container::new();
        bundle.write();
        let run = c.rt(&["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
        assert_eq!(run.code, 1, "{run:?}");
        expect(1, &c.id, "run");
        let create = bundle.try_create(&c, &[]);
        assert_eq!(create.code == 1, fails_in_create, "{create:?}");
        expect(usize::from(fails_in_create), &c.id, "create");
        // The id of another container: nothing was made.
        if !fails_in_create {
            bundle.try_create(&c, &[]).fails(1, "exists");
            expect(0, &c.id, "create of one that exists");
        }
    }
}

/// A startContainer hook runs under the program's limits, and gets the state whatever they are.
#[test]
fn a_hook_gets_the_state_under_any_limit() {
    need_host!();
    let script = "test $(wc -c) -gt 50 && exit 3";
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]);
        c["hooks"] =
            json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]});
    });
    bundle.run().fails(1, "exit status 3");
}

/// Neither the umask with which init makes files, nor the container's oom_score_adj where the hook is not
/// the container's process. With the first a hook's files would be writable for everybody.
#[test]
fn hooks_have_the_umask_and_oom_score_of_their_place() {
    need_host!();
    let bundle = Bundle::new(&["true"]);
    let log = bundle.path().join("log");
    let hook = |kind: &str, file: &str| {
        let script = format!("echo {kind} $(umask) $(cat /proc/self/oom_score_adj) >> {file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let log_name = log.to_str().unwrap();
    let bundle = bundle.with(|c| {
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            c["hooks"][kind] = hook(kind, log_name);
        }
        c["hooks"]["startContainer"] = hook("startContainer", "/tmp/log");
        c["process"]["oomScoreAdj"] = 77.into();
    });
    bundle.write();
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let own = own.trim();
    assert_ne!(own, "77");
    let script = "umask 027; exec \"$@\"";
    let c = Container::new();
    let run = |bundle: &Bundle| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "sh"]).arg(rt_tests::rt()).arg("--root").arg(c.root());
        command.args(["run", "--bundle", bundle.path().to_str().unwrap(), &c.id]);
        let done = rt_tests::done(command);
        (done.code, fs::read_to_string(&log).unwrap())
    };
    let outside = format!("prestart 0027 {own}\ncreateRuntime 0027 {own}\ncreateContainer 0027 77\n");
    let (code, seen) = run(&bundle);
    assert_eq!((code, seen), (0, format!("{outside}poststart 0027 {own}\npoststop 0027 {own}\n")));
    assert_eq!(fs::read_to_string(bundle.rootfs().join("tmp/log")).unwrap(), "startContainer 0022 77\n");
    fs::remove_file(&log).unwrap();
    let failing = bundle.with(|c| c["process"]["args"] = json!(["/nowhere"]));
    failing.write();
    assert_eq!(run(&failing), (1, format!("{outside}poststop 0027 {own}\n")));
}

/// A hook need not read its standard input, however large the state is.
#[test]
fn a_hook_may_ignore_the_state() {
    need_host!();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["annotations"] = json!({"large": "x".repeat(200_000)});
        c["hooks"] = json!({"prestart": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}],
            "poststart": [{"path": "/bin/true"}]});
    });
    for _ in 0..10 {
        bundle.run().ok();
    }
}

/// What a hook without `env`, with an empty one and with its own finds in its environment and as
/// its working directory. Hooks that are shell scripts rely on PATH, and get the runtime's; a
/// program of the container never sees anything of the runtime's.
#[test]
fn environment_and_directory_of_each_kind() {
    need_host!();
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        let bundle = Bundle::new(&["true"]);
        let inside = kind == "startContainer";
        let out = if inside { bundle.rootfs().join("tmp/out") } else { bundle.path().join("out") };
        fs::write(&out, "").unwrap();
        let file = if inside { "/tmp/out".to_owned() } else { out.display().to_string() };
        let script = format!("echo $(pwd) MARK=$MARK OWN=$OWN ENV=$ENVIRON HOME=$HOME $(command -v ls) >> {file}");
        let hook = |env: Option<Value>| {
            let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
            if let Some(env) = env {
                hook["env"] = env;
            }
            hook
        };
        let hooks = [hook(None), hook(Some(json!([]))), hook(Some(json!(["OWN=yes", "PATH=/bin"])))];
        let bundle = bundle.with(|c| {
            c["hooks"] = json!({kind: hooks});
            c["process"]["env"] = json!(["PATH=/bin", "ENVIRON=process"]);
            c["process"]["cwd"] = json!("/tmp");
        });
        bundle.write();
        let container = rt_tests::Container::new();
        let mut command = container.command();
        command.arg("run").arg("--bundle").arg(bundle.path()).arg(&container.id);
        command.env_clear().envs([("MARK", "caller"), ("PATH", "/usr/bin:/bin"), ("HOME", "/caller")]);
        rt_tests::done(command).ok();
        let text = fs::read_to_string(&out).unwrap();
        let directory = match kind {
            "startContainer" => "/tmp".to_owned(),
            "createContainer" => bundle.rootfs().display().to_string(),
            _ => bundle.path().display().to_string(),
        };
        let expected = if inside {
            let process = format!("{directory} MARK= OWN= ENV=process HOME=/root ");
            [process.clone(), process, format!("{directory} MARK= OWN=yes ENV= HOME= ")]
        } else {
            let ls = |path: &str| {
                if std::path::Path::new("/usr/bin/ls").exists() && path != "/bin" { "/usr/bin/ls" } else { "/bin/ls" }
            };
            [
                format!("{directory} MARK=caller OWN= ENV= HOME=/caller {}", ls("/usr/bin")),
                // A shell without PATH has one of its own.
                format!("{directory} MARK= OWN= ENV= HOME= "),
                format!("{directory} MARK= OWN=yes ENV= HOME= /bin/ls"),
            ]
        };
        for (line, expected) in text.lines().zip(&expected) {
            assert!(line.starts_with(expected.as_str()), "{kind}: {line:?}, expected {expected:?}");
        }
        assert_eq!(text.lines().count(), 3, "{kind}: {text}");
    }
}

/// A program of the container runs under the container's filter, the hook as well as the program
/// itself.
#[test]
fn a_hook_of_the_container_runs_under_the_filter() {
    need_host!();
    let filter = |action: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]});
    let hook = json!([{"path": "/bin/mkdir", "args": ["mkdir", "/tmp/made"]}]);
    for no_new_privileges in [true, false] {
        let bundle = |action: &str| {
            Bundle::new(&["true"]).with(|c| {
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["hooks"] = json!({"startContainer": hook});
                c["linux"]["seccomp"] = filter(action);
            })
        };
        let killed = bundle("SCMP_ACT_KILL_PROCESS");
        let done = killed.run();
        done.fails(1, "error running startContainer hook #0: hook \"/bin/mkdir\": killed by signal 31");
        assert!(!killed.rootfs().join("tmp/made").exists());
        let refused = bundle("SCMP_ACT_ERRNO");
        refused.run().fails(1, "error running startContainer hook #0: hook \"/bin/mkdir\": exit status 1");
        let allowed = bundle("SCMP_ACT_ALLOW");
        allowed.run().ok();
        assert!(allowed.rootfs().join("tmp/made").is_dir());
    }
    // As the container's user, with its capabilities, and unable to gain any.
    let script = "grep -E 'Uid|CapEff|NoNewPrivs|^Seccomp:' /proc/self/status | cut -f2 | tr '\\n' ' ' > /tmp/out";
    let bundle = Bundle::new(&["cat", "/tmp/out"]).with(|c| {
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        c["linux"]["seccomp"] = filter("SCMP_ACT_ERRNO");
        c["hooks"] = json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    });
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bundle.rootfs().join("tmp"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(bundle.run().ok(), "1000 0000000000000000 1 2 ");
}

/// What vendors' hooks do: a createRuntime hook enters the container's mount namespace and binds
/// files of the host into the rootfs; a createContainer hook has the rootfs as its working
/// directory, and brings the linker's cache up to date.
#[test]
fn hooks_bring_libraries_into_the_rootfs() {
    need_host!();
    let bundle = Bundle::shell("cat /opt/from-host; grep -c libexample /etc/ld.so.cache; ls /usr/lib");
    let (rootfs, library) = (bundle.rootfs(), bundle.path().join("libexample.so.1"));
    // Any shared library will do; its name in the cache is the one of its file's symbols table, or
    // of the file.
    let some = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"].map(std::path::Path::new);
    let Some(libc) = some.into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: needs glibc's library");
        return;
    };
    fs::copy(libc, &library).unwrap();
    fs::create_dir_all(rootfs.join("usr/lib")).unwrap();
    fs::create_dir_all(rootfs.join("opt")).unwrap();
    fs::write(rootfs.join("opt/from-host"), "").unwrap();
    fs::write(rootfs.join("usr/lib/libexample.so.1"), "").unwrap();
    fs::write(bundle.path().join("from-host"), "a file of the host\n").unwrap();
    let bind = |from: &std::path::Path, to: &str| {
        format!("nsenter -m -t $pid mount --bind {} {}", from.display(), rootfs.join(to).display())
    };
    let script = format!(
        "pid=$(sed -E 's/.*\"pid\":([0-9]+).*/\\1/'); {} && {}",
        bind(&bundle.path().join("from-host"), "opt/from-host"),
        bind(&library, "usr/lib/libexample.so.1"),
    );
    // -n where the library's own name differs from its file's: the file is then known by its own.
    let cache = "cp usr/lib/libexample.so.1 usr/lib/libc.so.6 && /sbin/ldconfig -r . -C /etc/ld.so.cache && \
                 strings=$(grep -c libc.so.6 etc/ld.so.cache) && test $strings -gt 0 && echo libexample >> etc/ld.so.cache";
    let bundle = bundle.with(|c| {
        c["hooks"] = json!({
            "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}],
            "createContainer": [{"path": "/bin/sh", "args": ["sh", "-ec", cache]}],
        });
    });
    assert_eq!(bundle.run().ok(), "a file of the host\n1\nlibc.so.6\nlibexample.so.1\n");
}

/// Engines, and people, look for these words.
#[test]
fn a_failing_hook_is_named_by_kind_and_number() {
    need_host!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let (good, bad) = (json!({"path": "/bin/true"}), json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]}));
        let bundle = Bundle::new(&["sleep", "1000"]).with(|c| c["hooks"] = json!({kind: [good, bad]}));
        let done = bundle.run();
        done.fails(1, &format!("/hooks/{kind}/1: error running {kind} hook #1: "));
        assert!(done.err.contains("exit status 9"), "{kind}: {done:?}");
    }
}
