//! What the tests on real cgroups share: a cgroup that removes itself, and processes to put in it.

#![allow(dead_code)] // each test file uses its part

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rt_cgroups::{Cgroup, Driver, Layout, Location, Resources};
use rustix::process::Pid;

/// A cgroup of the test's own, killed and removed at the end.
pub struct Scratch {
    pub layout: Layout,
    pub location: Location,
    pub cgroup: Cgroup,
}

impl Scratch {
    /// Makes `/rt-test-PID-NAME` in every hierarchy.
    pub fn new(name: &str) -> Scratch {
        let layout = rt_cgroups::detect().unwrap();
        let location = locate(&layout, name);
        let cgroup = Cgroup::create(&layout, &location).unwrap();
        Scratch { layout, location, cgroup }
    }

    /// A second handle, as a later command has it.
    pub fn reopen(&self) -> Cgroup {
        Cgroup::open(&self.location).unwrap()
    }

    /// Contents of a control file of v1, trimmed.
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.location.path_for(controller).unwrap().join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cgroup = self.reopen();
        let _ = cgroup.thaw();
        let _ = cgroup.kill_all();
        cgroup.remove().unwrap();
    }
}

pub fn locate(layout: &Layout, name: &str) -> Location {
    let path = format!("/rt-test-{}-{name}", std::process::id());
    rt_cgroups::locate(layout, Driver::Cgroupfs, Some(&path), name, false).unwrap()
}

/// True when the test cannot run here; says why.
pub fn skip(needs_v1: bool) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: making cgroups needs root");
        return true;
    }
    if needs_v1 && rt_cgroups::detect().unwrap().hierarchies().is_empty() {
        println!("skipped: this host has no cgroup v1");
        return true;
    }
    false
}

pub fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// A shell command that enters the cgroup the way a container's init does, before it executes.
pub fn spawn_in(cgroup: &Cgroup, script: &str) -> Child {
    let entry = cgroup.entry().unwrap();
    let unified = entry.unified.as_ref().map(|dir| {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::openat(dir, "cgroup.procs", flags, rustix::fs::Mode::empty()).unwrap()
    });
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: only write(2) on open descriptors happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for fd in entry.tasks.iter().chain(&unified) {
                rustix::io::write(fd.as_fd(), b"0")?;
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}

pub fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits for something that another process brings about.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Letter of the process's state in /proc/PID/stat.
pub fn state(pid: Pid) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    stat[stat.rfind(')').unwrap() + 2..].chars().next().unwrap()
}

/// Runs the tests of this binary that are marked `ignore` on a host with nothing but cgroup v2: in
/// a mount namespace of their own, where a cgroup2 file system stands in the place of whatever the
/// host has on /sys/fs/cgroup.
pub fn rerun_on_v2() {
    let script = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let exe: PathBuf = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(exe)
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    std::io::stdout().write_all(&output.stdout).unwrap();
    std::io::stderr().write_all(&output.stderr).unwrap();
    assert!(output.status.success());
}
