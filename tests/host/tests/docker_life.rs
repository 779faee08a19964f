//! What Docker does with containers over time, on this host (cgroup v1): cp, restart policies,
//! health checks, Compose. Its attach is tested in the virtual machine: that of Docker 20.10 loses
//! output with any runtime.

use std::process::Command;

use rt_tests::docker::Daemon;
use rt_tests::{done, eventually, need, need_docker, need_host};

#[test]
fn cp_policies_and_health() {
    need_host!();
    need_docker!();
    let d = Daemon::start();
    let up = |name: &str, options: &[&str], words: &[&str]| {
        d.docker(&[&["run", "-d", "--network", "none", "--name", name][..], options, &["bb"], words].concat()).ok();
    };
    let inspect = |name: &str, field: &str| d.docker(&["inspect", "-f", field, name]).out.trim().to_owned();

    up("files", &[], &["sleep", "1000"]);
    let file = d.dir().join("file");
    std::fs::write(&file, "copied\n").unwrap();
    d.docker(&["cp", file.to_str().unwrap(), "files:/tmp/in"]).ok();
    assert_eq!(d.docker(&["exec", "files", "cat", "/tmp/in"]).ok(), "copied\n");
    let back = d.dir().join("back");
    d.docker(&["cp", "files:/tmp/in", back.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(back).unwrap(), "copied\n");

    up("failing", &["--restart", "on-failure:2"], &["sh", "-c", "exit 3"]);
    eventually("the last restart", || inspect("failing", "{{.RestartCount}} {{.State.Status}}") == "2 exited");
    assert_eq!(inspect("failing", "{{.State.ExitCode}}"), "3");
    up("always", &["--restart", "always"], &["sh", "-c", "sleep 0.3"]);
    eventually("a restart", || inspect("always", "{{.RestartCount}}").parse::<u32>().unwrap() > 0);
    d.docker(&["rm", "-f", "always"]).ok();

    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "1"];
    up("health", &check, &["sleep", "1000"]);
    eventually("an ill container", || inspect("health", "{{.State.Health.Status}}") == "unhealthy");
    d.docker(&["exec", "health", "touch", "/tmp/well"]).ok();
    eventually("a well container", || inspect("health", "{{.State.Health.Status}}") == "healthy");
}

/// Two services: one waits for the other, and both have rt as their runtime.
#[test]
fn compose() {
    need_host!();
    need_docker!();
    need!(Command::new("docker-compose").arg("version").output().is_ok(), "needs docker-compose");
    let d = Daemon::start();
    let file = d.dir().join("compose.yaml");
    let text = "version: '2.4'\nservices:\n  web: {image: bb, runtime: rt, command: sleep 1000, mem_limit: 32m, network_mode: none, stop_grace_period: 1s}\n  \
                client: {image: bb, runtime: rt, command: 'sh -c \"echo from compose; exit 6\"', network_mode: none, depends_on: [web]}\n";
    std::fs::write(&file, text).unwrap();
    let compose = |words: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["60", "docker-compose", "-H", &d.host(), "-p", "pair", "-f"]).arg(&file).args(words);
        done(command)
    };
    let up = compose(&["up", "--no-color", "--exit-code-from", "client"]);
    assert!(up.code == 6 && up.out.contains("from compose"), "{up:?}");
    compose(&["start", "web"]).ok();
    let limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
    assert_eq!(compose(&["exec", "-T", "web", "cat", limit]).ok(), "33554432\n");
    assert_eq!(d.docker(&["inspect", "-f", "{{.HostConfig.Runtime}}", "pair_web_1"]).ok(), "rt\n");
    compose(&["down", "-t", "0"]).ok();
    assert_eq!(d.docker(&["ps", "-aq"]).ok(), "");
}
