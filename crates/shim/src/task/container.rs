//! What the shim knows of containers and their processes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use rt_cgroups::Cgroup;

use crate::error::Error;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::server::{Reply, Server, Then};
use crate::stdio::{Io, Streams};
use crate::{log, rootfs};

use super::memory::Memory;

/// Names a process: a container's first one, or one that was executed in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub container: String,
    /// Empty for the first process.
    pub exec: String,
}

impl Key {
    pub fn init(container: &str) -> Key {
        Key { container: container.to_owned(), exec: String::new() }
    }

    pub fn new(container: &str, exec: &str) -> Key {
        Key { container: container.to_owned(), exec: exec.to_owned() }
    }

    pub fn is_init(&self) -> bool {
        self.exec.is_empty()
    }

    /// The name of the process in events: its own, or the container's for the first one.
    pub fn name(&self) -> &str {
        if self.is_init() { &self.container } else { &self.exec }
    }

    /// What the process's files in the bundle are called.
    pub fn file_name(&self) -> &str {
        if self.is_init() { "init" } else { &self.exec }
    }
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Created,
    Running,
    Stopped,
}

/// How a process has ended.
#[derive(Clone, Debug)]
pub struct Exit {
    pub status: u32,
    pub at: Timestamp,
}

impl Exit {
    pub fn now(status: u32) -> Exit {
        Exit { status, at: log::timestamp() }
    }
}

/// A process of a container.
#[derive(Default)]
pub struct Process {
    /// Differs from that of every other process that this shim has known.
    pub serial: u64,
    /// 0: not there yet.
    pub pid: i32,
    pub state: State,
    pub streams: Streams,
    pub io: Io,
    pub exit: Option<Exit>,
    /// Who waits for the end.
    pub waiters: Vec<Reply>,
    /// `Start` is under way: the end of the process is told after its start.
    pub starting: bool,
    /// The end that came while `starting`.
    pub early: Option<Exit>,
    /// An operation that excludes others is under way; the others wait.
    pub busy: bool,
    pub queue: VecDeque<Then>,
    /// What goes on when all output is copied.
    pub when_drained: Option<Then>,
    /// `CloseIO` came before the process was there.
    pub stdin_closed: bool,
    /// The JSON of an executed process, until it is started.
    pub spec: Vec<u8>,
}

impl Process {
    /// Takes the streams that were opened for the process.
    pub fn attach(&mut self, io: Io) {
        self.io = io;
        if self.stdin_closed {
            self.io.close_stdin();
        }
    }
}

/// A container.
pub struct Container {
    pub bundle: PathBuf,
    pub runtime: Runtime,
    pub options: Options,
    /// The shim has mounted the root filesystem.
    pub mounted: bool,
    pub init: Process,
    pub execs: HashMap<String, Process>,
    /// The kernel ends all processes with the first one.
    pub ends_with_init: bool,
    pub paused: bool,
    pub pausing: bool,
    /// The end of the first process, told after those of all others.
    pub held: Option<Exit>,
    /// A checkpoint to start from.
    pub restore: Option<super::start::Restore>,
    pub cgroup: Option<Cgroup>,
    pub memory: Option<Memory>,
}

impl Container {
    /// Unmounts the root filesystem, if the shim has mounted it.
    pub fn unmount(&self) {
        if self.mounted
            && let Err(error) = rootfs::unmount_all(&self.bundle.join("rootfs"))
        {
            log::warn(error);
        }
    }
}

/// All containers of the pod.
#[derive(Default)]
pub struct Tasks {
    pub containers: HashMap<String, Container>,
    /// Containers whose `Create` is under way.
    pub creating: HashSet<String>,
    /// Processes that run, by pid.
    pub running: HashMap<i32, Key>,
    /// Commands under way that make a process, and children that ended meanwhile and may be it.
    pub births: usize,
    pub unknown: HashMap<i32, Exit>,
    serials: u64,
}

impl Tasks {
    /// Neither a container nor one that is being made.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.creating.is_empty()
    }

    /// The container.
    pub fn container(&mut self, id: &str) -> Result<&mut Container, Error> {
        self.containers.get_mut(id).ok_or(Error::NoContainer)
    }

    /// The process, if it exists.
    pub fn process(&mut self, key: &Key) -> Option<&mut Process> {
        let container = self.containers.get_mut(&key.container)?;
        if key.is_init() { Some(&mut container.init) } else { container.execs.get_mut(&key.exec) }
    }

    /// The process, or the reason why there is none.
    pub fn find(&mut self, key: &Key) -> Result<&mut Process, Error> {
        self.container(&key.container)?;
        self.process(key).ok_or_else(|| Error::NoProcess { id: key.exec.clone() })
    }

    /// A new process with these streams.
    pub fn new_process(&mut self, streams: Streams) -> Process {
        self.serials += 1;
        Process { serial: self.serials, streams, ..Process::default() }
    }

    /// A command is to make a process.
    pub fn birth_begins(&mut self) {
        self.births += 1;
    }

    /// The command has ended, and has made this process, or none. If the process has ended already,
    /// that is returned.
    pub fn birth_ends(&mut self, key: &Key, pid: Option<i32>) -> Option<Exit> {
        self.births -= 1;
        let exit = pid.and_then(|pid| self.unknown.remove(&pid));
        if let Some(pid) = pid.filter(|_| exit.is_none()) {
            self.running.insert(pid, key.clone());
        }
        if self.births == 0 {
            self.unknown.clear();
        }
        exit
    }
}

impl Server {
    /// Runs an operation that excludes others of its kind on the same process; each ends with
    /// [`Server::release`].
    pub fn exclusively(&mut self, key: &Key, operation: impl FnOnce(&mut Server) + 'static) {
        match self.tasks.process(key) {
            Some(process) if process.busy => process.queue.push_back(Box::new(operation)),
            Some(process) => {
                process.busy = true;
                operation(self);
            }
            // It says itself that there is no such process.
            None => operation(self),
        }
    }

    /// Ends an operation, and lets the next one begin.
    pub fn release(&mut self, key: &Key) {
        let Some(process) = self.tasks.process(key) else { return };
        process.busy = false;
        if let Some(next) = process.queue.pop_front() {
            process.busy = true;
            next(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process can end before the command that made it: its end is then known by its pid. What else
    /// ended meanwhile was somebody's orphan.
    #[test]
    fn an_end_before_the_birth_is_known() {
        let mut tasks = Tasks::default();
        let key = Key::new("c", "e");
        tasks.birth_begins();
        tasks.birth_begins();
        tasks.unknown.insert(7, Exit::now(3));
        tasks.unknown.insert(8, Exit::now(0));
        assert_eq!(tasks.birth_ends(&key, Some(7)).map(|exit| exit.status), Some(3));
        assert!(tasks.running.is_empty() && tasks.unknown.len() == 1);
        assert!(tasks.birth_ends(&key, Some(9)).is_none());
        assert_eq!(tasks.running.get(&9), Some(&key));
        assert!(tasks.unknown.is_empty());
    }
}
