//! What there is beside a container: everything that it could leave behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rt_tests::Done;

/// How long a command may take; all of them take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Mounts, files of the bundle and the state directory, cgroups with the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World(BTreeSet<String>);

impl World {
    /// Looks around.
    pub fn look(id: &str, dir: &Path) -> World {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // The mount id, its parent and the device may come again; place and type are what counts.
        let mount = |line: &str| format!("mount {}", line.split(' ').skip(3).collect::<Vec<_>>().join(" "));
        // The base of new mount namespaces stays for the next start.
        let stays = |line: &&str| line.contains(" /run/rt-mounts");
        let mut all: BTreeSet<String> = mounts.lines().filter(|line| !stays(line)).map(mount).collect();
        all.extend(rt_tests::cgroups_named(id));
        let mut todo = vec![dir.to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                // Where crun keeps compiled filters, for the next container.
                if entry.file_name() == ".cache" {
                    continue;
                }
                all.insert(format!("file {}", entry.path().display()));
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    todo.push(entry.path());
                }
            }
        }
        World(all)
    }

    /// Both together.
    pub fn with(mut self, other: World) -> World {
        self.0.extend(other.0);
        self
    }

    /// What is here and was not there, or the other way round.
    pub fn difference(&self, before: &World) -> Vec<String> {
        let new = self.0.difference(&before.0).map(|what| format!("left: {what}"));
        new.chain(before.0.difference(&self.0).map(|what| format!("gone: {what}"))).collect()
    }
}

/// Unmounts the namespaces that others have mounted: whoever removes one of them removes its mount
/// here, too, in the middle of a sweep (`ip netns del`).
pub fn let_go_of_namespaces() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in mounts.lines().filter(|line| line.contains(" - nsfs ")).filter_map(|line| line.split(' ').nth(4)) {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

/// Runs a command to its end. What it says is kept in files.
pub fn run(mut command: Command) -> Done {
    let mut files = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let [out, err] = files.each_ref().map(|file| file.try_clone().expect("a descriptor"));
    let (code, late) = to_the_end(command.stdout(out).stderr(err));
    let [out, err] = files.each_mut().map(text);
    Done { code, out, err: err + &late }
}

/// Runs a command whose container keeps the standard streams: they are the null device, because no
/// other file can be restored anywhere.
pub fn run_apart(mut command: Command) -> Done {
    let (code, late) = to_the_end(command.stdout(Stdio::null()).stderr(Stdio::null()));
    Done { code, out: String::new(), err: format!("exit code {code} of {command:?} {late}") }
}

/// Meanwhile it waits for orphans that end, as an engine's shim does: until somebody has, the init
/// of their pid namespace cannot end either. Returns the exit code, and where the command hung.
#[expect(clippy::zombie_processes, reason = "it is waited for by its pid, among all others")]
fn to_the_end(command: &mut Command) -> (i32, String) {
    let child = command.stdin(Stdio::null()).spawn().expect("the command starts");
    let child = Pid::from_raw(child.id() as i32);
    let end = Instant::now() + PATIENCE;
    let mut late = String::new();
    let code = loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => break code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => break 128 + signal as i32,
            Ok(WaitStatus::StillAlive) if late.is_empty() && Instant::now() > end => {
                late = format!("no end within {PATIENCE:?}: {}", waiting(child));
                let _ = kill(child, Signal::SIGKILL);
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(300)),
            Ok(_) => {}
            Err(_) => break -1,
        }
    };
    (code, late)
}

/// Where in the kernel a process waits, and what it has made: whether they wait for each other, or
/// the machine is slow.
fn waiting(pid: Pid) -> String {
    let read = |pid: &str, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let one = |pid: &str| format!("{} in {}", read(pid, "comm").trim_end(), read(pid, "wchan"));
    let made = read(&pid.to_string(), &format!("task/{pid}/children"));
    std::iter::once(one(&pid.to_string())).chain(made.split_whitespace().map(one)).collect::<Vec<_>>().join(", ")
}

/// All that was written to a file.
pub fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    if file.rewind().is_ok() {
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for children that have ended, and gives those that have not after two seconds. Orphans of
/// all that was started here become children of this process (PR_SET_CHILD_SUBREAPER), so none can
/// hide.
pub fn survivors() -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Err(_) => return Vec::new(),
            Ok(WaitStatus::StillAlive) if Instant::now() > end => break,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
        }
    }
    let alive = children();
    let name = |pid: &Pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let named = alive.iter().map(|pid| format!("left: process {pid} {}", name(pid).trim_end())).collect();
    for pid in alive {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
    }
    named
}

/// This process's children.
pub fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let text: String = tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok()).collect();
    text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}
