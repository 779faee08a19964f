//! `rt check` keeps its word: what it finds stops the container, and what stops the container it
//! finds.

use std::fs;

use rt_tests::{Bundle, Container, need_host};
use serde_json::{Value, json};

type Change = fn(&mut Value);

/// Each of these makes `run` fail, and `check` names the same field before anything is tried.
#[test]
fn what_the_kernel_refuses_is_found_before() {
    need_host!();
    let mistakes: [(&str, Change); 11] = [
        ("/linux/resources/cpu/quota", |c| c["linux"]["resources"]["cpu"] = json!({"quota": 10})),
        ("/linux/resources/cpu/period", |c| c["linux"]["resources"]["cpu"] = json!({"period": 5})),
        ("/linux/resources/cpu/cpus", |c| c["linux"]["resources"]["cpu"] = json!({"cpus": "0-4095"})),
        ("/linux/resources/cpu/mems", |c| c["linux"]["resources"]["cpu"] = json!({"mems": "63"})),
        ("/linux/resources/hugepageLimits/0", |c| {
            c["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "3MB", "limit": 0}]);
        }),
        ("/linux/sysctl/net.nosuch", |c| c["linux"]["sysctl"] = json!({"net.nosuch": "1"})),
        ("/linux/namespaces/2/path", |c| {
            c["linux"]["namespaces"][2] = json!({"type": "ipc", "path": "/proc/self/ns/uts"});
        }),
        ("/hooks/createRuntime/0", |c| c["hooks"] = json!({"createRuntime": [{"path": "/etc/passwd"}]})),
        ("/mounts/0", |c| {
            c["mounts"] = json!([{"destination": "/file", "type": "tmpfs", "source": "tmpfs"}]);
        }),
        ("/mounts/0", |c| {
            c["mounts"] = json!([{"destination": "/bin", "source": "/etc/passwd", "options": ["bind"]}]);
        }),
        ("/process/cwd", |c| c["process"]["cwd"] = json!("/file")),
    ];
    for (field, change) in mistakes {
        let bundle = Bundle::new(&["true"]).with(change);
        fs::write(bundle.rootfs().join("file"), "").unwrap();
        let c = Container::new();
        bundle.write();
        let checked = c.rt(&["check", "-b", bundle.path().to_str().unwrap()]);
        assert_eq!(checked.code, 1, "{field}: {checked:?}");
        assert!(checked.out.starts_with(&format!("host: {field}")), "{field}: {checked:?}");
        assert!(checked.out.ends_with("\n1 thing to mend\n"), "{field}: {checked:?}");
        // The words are the kernel's there, and the field may be the one above.
        let ran = bundle.run();
        let above = field.rsplit_once('/').map_or("", |(above, _)| above);
        assert!(ran.code != 0 && ran.err.contains(above), "{field}: {ran:?}");
    }
}

/// What is ignored is no error: it is said, and the container runs.
#[test]
fn what_has_no_effect_is_a_warning() {
    need_host!();
    let cases: [(&str, Change); 4] = [
        ("/mounts/0/option: no specification knows this key, so it has no effect; did you mean \"options\"?", |c| {
            c["mounts"][0]["option"] = json!(["ro"]);
        }),
        ("/process/NoNewPrivileges: no specification knows this key", |c| {
            c["process"]["NoNewPrivileges"] = json!(true)
        }),
        ("/linux/seccomp/syscalls/0/names/0: unknown system call \"mkdri\" ignored", |c| {
            c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_ERRNO"}]});
        }),
        ("/x: no specification knows this key, so it has no effect\n", |c| c["x"] = json!(1)),
    ];
    for (warning, change) in cases {
        let bundle = Bundle::new(&["true"]).with(change);
        bundle.write();
        let checked = Container::new().rt(&["check", bundle.path().to_str().unwrap()]);
        assert!(checked.ok().contains(&format!("warning: {warning}")), "{checked:?}");
        assert!(checked.out.ends_with("nothing stands in the way of this container\n"), "{checked:?}");
        bundle.run().ok();
    }
}
