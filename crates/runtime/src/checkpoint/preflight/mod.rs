//! What stands in the way of a checkpoint, said before anything is stopped: what CRIU cannot save
//! in this container, in terms of the config and of the process that has it.

mod look;
mod unix;

use std::fmt;
use std::path::Path;

use rustix::fs::FileType;

pub use look::look;

use super::mounts::Mounts;
use super::options::CriuOptions;

/// One thing that stops a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The process, the field of the config, or the program that has it.
    pub at: String,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.at, self.what, self.remedy)
    }
}

/// What was seen of a container.
#[derive(Debug, Default)]
pub struct Facts {
    pub processes: Vec<Process>,
    pub mounts: Mounts,
    /// Pids that hold file locks.
    pub locks: Vec<i32>,
    /// The root filesystem has a directory `/tmp`.
    pub has_tmp: bool,
    /// What CRIU or the kernel lacks.
    pub lacking: Vec<Obstacle>,
}

impl Facts {
    /// Whether a process of the container has this socket.
    fn has_socket(&self, inode: u64) -> bool {
        let mut descriptors = self.processes.iter().flat_map(|process| &process.descriptors);
        descriptors.any(|descriptor| descriptor.socket.is_some() && descriptor.inode == inode)
    }
}

/// A process of the container.
#[derive(Debug, Default)]
pub struct Process {
    pub pid: i32,
    pub name: String,
    /// The debugger's pid, or 0.
    pub tracer: i32,
    /// Kinds of namespaces that it does not share with init.
    pub apart: Vec<&'static str>,
    pub descriptors: Vec<Descriptor>,
}

/// An open file.
#[derive(Debug)]
pub struct Descriptor {
    pub number: i32,
    /// As /proc shows it.
    pub target: String,
    pub kind: FileType,
    /// Of a device: major and minor number.
    pub device: (u32, u32),
    /// The file has a name left: another link to it.
    pub has_name: bool,
    /// Bytes on the disk.
    pub size: u64,
    /// The number of its mount.
    pub mount: i32,
    pub inode: u64,
    pub socket: Option<Socket>,
}

/// What kind of socket a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// A connection that is established.
    Tcp,
    /// A unix socket that is connected to the one with this inode number.
    Unix {
        /// Its peer's.
        peer: u64,
        /// Whether it is in the same network namespace.
        near: bool,
        /// Whether it has no connection, only an address to which it sends.
        datagram: bool,
    },
    /// Another that CRIU saves.
    Plain,
    /// Of a protocol that CRIU does not save.
    Unknown,
}

/// Anonymous files that CRIU saves.
const SAVED: &[&str] =
    &["[eventfd]", "[eventpoll]", "inotify", "[fanotify]", "[signalfd]", "[timerfd]", "[pidfd]", "bpf-map"];

/// The largest file without a name that CRIU saves (criu(8), `--ghost-limit`).
const GHOST_LIMIT: u64 = 1 << 20;

/// Kinds of filesystems that CRIU makes again with the same contents, or that have none.
const FILESYSTEMS: &[&str] = &[
    "proc",
    "sysfs",
    "devtmpfs",
    "binfmt_misc",
    "tmpfs",
    "devpts",
    "btrfs",
    "pstore",
    "mqueue",
    "fusectl",
    "debugfs",
    "tracefs",
    "cgroup",
    "cgroup2",
    "aufs",
    "fuse",
    "overlay",
    "autofs",
];

/// Character devices that CRIU opens again: memory (1), terminals (5), pseudo-terminals (136 to
/// 143), and of the miscellaneous ones (10) the network tunnel.
fn is_saved_device((major, minor): (u32, u32)) -> bool {
    matches!(major, 1 | 5 | 136..=143) || (major, minor) == (10, 200)
}

/// All that stands in the way.
pub fn judge(facts: &Facts, options: &CriuOptions) -> Vec<Obstacle> {
    let mut found = facts.lacking.clone();
    mounts(facts, &mut found);
    for process in &facts.processes {
        let whom = || format!("process {} ({})", process.pid, process.name);
        let mut say = |what: String, remedy| found.push(Obstacle { at: whom(), what, remedy });
        if process.tracer != 0 {
            say(format!("process {} traces it", process.tracer), "detach the debugger");
        }
        for kind in process.apart.iter().filter(|kind| !matches!(**kind, "mount" | "network")) {
            say(format!("it is in another {kind} namespace than init"), "criu saves one of this kind for a container");
        }
        if facts.locks.contains(&process.pid) && !options.file_locks {
            say("it holds file locks".to_owned(), "give --file-locks");
        }
        for descriptor in &process.descriptors {
            if let Some((what, remedy)) = descriptor_obstacle(descriptor, facts, options) {
                let at = format!("{}, descriptor {}", whom(), descriptor.number);
                found.push(Obstacle { at, what, remedy });
            }
        }
    }
    found.extend(no_place_to_restore(facts));
    found
}

/// CRIU makes a directory in the container's `/tmp` before it restores the mounts. Where it can make
/// none, a checkpoint is of no use.
fn no_place_to_restore(facts: &Facts) -> Option<Obstacle> {
    let root = facts.mounts.container.iter().find(|mount| mount.point == Path::new("/"))?;
    (root.read_only && !facts.has_tmp).then(|| Obstacle {
        at: "/root/readonly".to_owned(),
        what: "the root filesystem is read-only and has no directory /tmp, which criu needs to restore it".to_owned(),
        remedy: "add the directory to the image",
    })
}

fn mounts(facts: &Facts, found: &mut Vec<Obstacle>) {
    for mount in &facts.mounts.container {
        let at = || format!("mount {}", mount.point.display());
        if mount.idmapped {
            let what = "its ids are mapped, and criu would restore it without the map".to_owned();
            found.push(Obstacle { at: at(), what, remedy: "mount it without idmap" });
        }
        let outside = facts.mounts.host.contains(&mount.device);
        if !outside && !FILESYSTEMS.contains(&mount.kind.as_str()) {
            let what = format!("criu cannot make a {} filesystem again", mount.kind);
            found.push(Obstacle { at: at(), what, remedy: "mount it on the host, and bind it" });
        }
    }
}

fn descriptor_obstacle(
    descriptor: &Descriptor,
    facts: &Facts,
    options: &CriuOptions,
) -> Option<(String, &'static str)> {
    let Descriptor { target, kind, device, has_name, size, mount, socket, number, inode: _ } = descriptor;
    if let Some(name) = target.strip_prefix("anon_inode:") {
        let saved = SAVED.contains(&name);
        return (!saved).then(|| (format!("criu cannot save {name}"), "close it, or make the program do without"));
    }
    match socket {
        Some(Socket::Tcp) if !options.tcp_established => {
            return Some(("an established TCP connection".to_owned(), "give --tcp-established"));
        }
        Some(Socket::Unknown) => {
            return Some(("a socket of a protocol that criu cannot save".to_owned(), "close it"));
        }
        Some(Socket::Unix { peer, near, datagram }) if !facts.has_socket(*peer) => {
            return match (near, datagram) {
                (true, true) if options.ext_unix_sk => None,
                (true, true) => Some((
                    "a unix socket that sends to a process outside of the container".to_owned(),
                    "give --ext-unix-sk",
                )),
                (true, false) => Some((
                    "a connection over a unix socket to a process outside of the container".to_owned(),
                    "close it: criu saves none",
                )),
                (false, _) => Some((
                    "a unix socket that is connected to a process of another network namespace".to_owned(),
                    "close it: criu saves none",
                )),
            };
        }
        Some(_) => return None,
        None => {}
    }
    let inside = facts.mounts.container.iter().any(|known| known.id == *mount);
    match kind {
        FileType::CharacterDevice if !is_saved_device(*device) => {
            Some((format!("{target}: a device that criu cannot save"), "close it"))
        }
        FileType::CharacterDevice if !inside && matches!(device.0, 5 | 136..=143) && !options.shell_job => {
            Some((format!("{target}: a terminal outside of the container"), "give --shell-job"))
        }
        FileType::BlockDevice => Some((format!("{target}: a block device"), "close it")),
        FileType::RegularFile | FileType::Directory if !inside && *number > 2 && !target.starts_with("/memfd:") => {
            Some((format!("{target}: the container cannot see this file"), "do not pass it to the container"))
        }
        FileType::RegularFile if *has_name && target.ends_with(" (deleted)") && !options.link_remap => {
            Some((format!("{target}: a file that was removed but has other names"), "give --link-remap"))
        }
        FileType::RegularFile if !has_name && *size > GHOST_LIMIT && inside => Some((
            format!("{target}: a removed file of {size} bytes, more than criu saves by itself"),
            "put `ghost-limit 1G` into the file that org.criu.config names",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::mounts::Mount;
    use super::*;

    fn file(target: &str, kind: FileType) -> Descriptor {
        Descriptor {
            number: 7,
            target: target.into(),
            kind,
            device: (0, 0),
            has_name: true,
            size: 0,
            mount: 1,
            inode: 8,
            socket: None,
        }
    }

    fn of(descriptor: Descriptor, options: &CriuOptions) -> Vec<String> {
        let process = Process { pid: 5, name: "p".into(), descriptors: vec![descriptor], ..Process::default() };
        let root = Mount {
            id: 1,
            device: "8:1".into(),
            root: "/r".into(),
            point: "/".into(),
            kind: "ext4".into(),
            idmapped: false,
            read_only: false,
        };
        let mounts = Mounts { container: vec![root], host: ["8:1".to_owned()].into(), own_cgroups: false };
        let facts = Facts { processes: vec![process], mounts, ..Facts::default() };
        judge(&facts, options).iter().map(ToString::to_string).collect()
    }

    /// Each thing that CRIU refuses, and beside it what it saves.
    #[test]
    fn what_criu_refuses_is_found() {
        let plain = CriuOptions::default();
        let character = |target, device| Descriptor { device, ..file(target, FileType::CharacterDevice) };
        let socket = |socket| Descriptor { socket: Some(socket), ..file("socket:[1]", FileType::Socket) };
        let removed = |has_name, size| Descriptor { has_name, size, ..file("/x (deleted)", FileType::RegularFile) };
        for (descriptor, part) in [
            (file("anon_inode:[io_uring]", FileType::Unknown), "criu cannot save [io_uring]"),
            (character("/dev/kvm", (10, 232)), "/dev/kvm: a device"),
            (Descriptor { mount: 9, ..character("/dev/pts/3", (136, 3)) }, "--shell-job"),
            (file("/dev/vda", FileType::BlockDevice), "a block device"),
            (socket(Socket::Tcp), "--tcp-established"),
            (socket(Socket::Unknown), "a socket of a protocol"),
            (socket(Socket::Unix { peer: 9, near: true, datagram: true }), "--ext-unix-sk"),
            (socket(Socket::Unix { peer: 9, near: true, datagram: false }), "a connection over a unix socket"),
            (socket(Socket::Unix { peer: 9, near: false, datagram: true }), "of another network namespace"),
            (Descriptor { mount: 9, ..file("/srv/x", FileType::RegularFile) }, "cannot see this file"),
            (removed(true, 0), "--link-remap"),
            (removed(false, 2 << 20), "ghost-limit"),
        ] {
            let said = of(descriptor, &plain);
            assert!(
                matches!(&said[..], [one] if one.contains(part) && one.starts_with("process 5 (p), descriptor 7: ")),
                "{part}: {said:?}"
            );
        }
        for descriptor in [
            file("anon_inode:[eventfd]", FileType::Unknown),
            character("/dev/null", (1, 3)),
            character("/dev/pts/0", (136, 0)),
            socket(Socket::Plain),
            socket(Socket::Unix { peer: 8, near: true, datagram: false }),
            removed(false, 5),
            file("/etc/x", FileType::RegularFile),
            Descriptor { number: 1, mount: 9, ..file("/var/log/x", FileType::RegularFile) },
        ] {
            assert_eq!(of(descriptor, &plain), [""; 0]);
        }
        let all = CriuOptions { tcp_established: true, link_remap: true, shell_job: true, file_locks: true, ..plain };
        assert_eq!(of(socket(Socket::Tcp), &all), [""; 0]);
        assert_eq!(of(removed(true, 0), &all), [""; 0]);
        let outside = socket(Socket::Unix { peer: 9, near: true, datagram: true });
        assert_eq!(of(outside, &CriuOptions { ext_unix_sk: true, ..all }), [""; 0]);
    }

    /// Found by a restore that failed: what cannot be restored is said before it is saved.
    #[test]
    fn a_read_only_root_needs_a_tmp() {
        let said = |read_only, has_tmp| {
            let root = Mount {
                id: 1,
                device: "0:9".into(),
                root: "/".into(),
                point: "/".into(),
                kind: "overlay".into(),
                idmapped: false,
                read_only,
            };
            let mounts = Mounts { container: vec![root], ..Mounts::default() };
            judge(&Facts { mounts, has_tmp, ..Facts::default() }, &CriuOptions::default()).len()
        };
        assert_eq!([said(true, false), said(true, true), said(false, false)], [1, 0, 0]);
    }

    #[test]
    fn processes_and_mounts_are_looked_at() {
        let mount = |kind: &str, idmapped| Mount {
            id: 2,
            device: "0:9".into(),
            root: "/".into(),
            point: "/m".into(),
            kind: kind.into(),
            idmapped,
            read_only: false,
        };
        let process =
            Process { pid: 5, name: "p".into(), tracer: 4, apart: vec!["pid", "network"], ..Process::default() };
        let mounts = Mounts { container: vec![mount("ext4", false), mount("tmpfs", true)], ..Mounts::default() };
        let facts = Facts { processes: vec![process], mounts, locks: vec![5, 6], ..Facts::default() };
        let said: Vec<_> =
            judge(&facts, &CriuOptions::default()).into_iter().map(|o| format!("{}: {}", o.at, o.what)).collect();
        assert_eq!(
            said,
            [
                "mount /m: criu cannot make a ext4 filesystem again",
                "mount /m: its ids are mapped, and criu would restore it without the map",
                "process 5 (p): process 4 traces it",
                "process 5 (p): it is in another pid namespace than init",
                "process 5 (p): it holds file locks",
            ]
        );
    }
}
