//! Containers that Docker cannot start: the error that reaches its user names the cause, and the
//! exit code is runc's.

use std::fs;

use rt_tests::docker::Daemon;
use rt_tests::{need, need_docker, need_host};

#[test]
fn broken_containers_as_with_runc() {
    need_host!();
    need_docker!();
    need!(std::process::Command::new("runc").arg("--version").output().is_ok(), "needs runc, to compare with");
    let d = Daemon::start();
    let path = |name: &str| d.dir().join(name).display().to_string();
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("file"), "").unwrap();
    fs::write(path("unknown"), r#"{"defaultAction": "SCMP_ACT_BOGUS"}"#).unwrap();
    fs::write(path("nothing"), r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#).unwrap();
    let on_file = format!("{}:/etc/passwd", path("directory"));
    let on_directory = format!("{}:/etc", path("file"));
    let (unknown, nothing) = (format!("seccomp={}", path("unknown")), format!("seccomp={}", path("nothing")));

    // Docker's words around ours are left out: they are another's in each version.
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["bb", "nosuch"], 127, &["exec: \"nosuch\": executable file not found in $PATH"]),
        (&["bb", "/no/such"], 127, &["exec: \"/no/such\": stat /no/such: no such file or directory"]),
        (&["bb", "/etc/passwd"], 126, &["exec: \"/etc/passwd\": permission denied"]),
        (&["bb", "/etc"], 126, &["exec: \"/etc\": is a directory"]),
        (&["--entrypoint", "", "bb", ""], 127, &["exec: \"\": executable file not found in $PATH"]),
        (
            &["-v", &on_file, "bb", "true"],
            125,
            &["/mounts/", "on \"/etc/passwd\"", "not a directory", "Are you trying to mount a directory onto a file"],
        ),
        (
            &["-v", &on_directory, "bb", "true"],
            125,
            &["/mounts/", "on \"/etc\"", "not a directory", "Are you trying to mount a directory onto a file"],
        ),
        (
            &["--security-opt", &unknown, "bb", "true"],
            125,
            &["/linux/seccomp/defaultAction: \"SCMP_ACT_BOGUS\" is not a seccomp action"],
        ),
        (
            &["--security-opt", &nothing, "bb", "true"],
            125,
            &["/linux/seccomp: the program could not be executed: execve gets SCMP_ACT_ERRNO(1)"],
        ),
        (
            &["--sysctl", "net.ipv4.nosuch=1", "bb", "true"],
            127,
            &["/linux/sysctl/net.ipv4.nosuch: write \"1\" to /proc/sys/net/ipv4/nosuch", "no such file or directory"],
        ),
        (&["--user", "nouser", "bb", "true"], 125, &["unable to find user nouser"]),
    ];
    for (args, code, words) in cases {
        let ours = d.run(args);
        let theirs = d.run(&[&["--runtime", "runc"], *args].concat());
        assert_eq!((ours.code, theirs.code), (*code, *code), "{args:?}: {ours:?} {theirs:?}");
        for word in *words {
            assert!(ours.err.contains(word), "{args:?}: no {word:?} in {}", ours.err);
        }
    }
}
