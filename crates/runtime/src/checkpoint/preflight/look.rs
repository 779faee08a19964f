//! Looks at a container: its processes and what they have open.

use std::collections::{HashMap, HashSet};

use procfs::process::{FDInfo, FDTarget, Process as Proc};
use rt_plan::NamespaceKind;
use rustix::fs::{FileType, getxattr, stat};
use rustix::net::SocketType;

use super::unix::{self, Table, Unix};
use super::{Descriptor, Facts, Obstacle, Process, Socket};
use crate::checkpoint::criu::has;
use crate::checkpoint::dump::mounts_of;
use crate::checkpoint::mounts::of_descriptor;
use crate::checkpoint::options::CriuOptions;
use crate::checkpoint::rpc::Features;
use crate::error::Error;
use crate::store::state::State;

/// Looks at the container's processes, its mounts, CRIU and the kernel. A process that ends
/// meanwhile is left out.
pub fn look(state: &State, options: &CriuOptions) -> Result<Facts, Error> {
    let pids = state.own_cgroup()?.processes()?;
    let mut sockets = Sockets::default();
    let processes = pids.iter().filter_map(|pid| process(pid.as_raw_nonzero().get(), state.pid, &mut sockets));
    Ok(Facts {
        processes: processes.collect(),
        mounts: mounts_of(state)?,
        locks: locks(),
        // Through the root of init, in which a path of the container leads nowhere else.
        has_tmp: std::fs::symlink_metadata(format!("/proc/{}/root/tmp", state.pid)).is_ok_and(|tmp| tmp.is_dir()),
        lacking: lacking(options)?,
    })
}

fn lacking(options: &CriuOptions) -> Result<Vec<Obstacle>, Error> {
    let wanted = Features { mem_track: Some(true), lazy_pages: Some(true) };
    let features = match has(options.program.as_deref(), wanted) {
        Err(Error::Checkpoint(e)) => {
            let remedy = e.hint().unwrap_or("look at `criu check`");
            return Ok(vec![Obstacle { at: "criu".to_owned(), what: e.to_string(), remedy }]);
        }
        other => other?,
    };
    let rules = [
        (options.pre_dump, features.mem_track, "it does not track memory, which --pre-dump needs", "save all at once"),
        (
            options.lazy_pages,
            features.lazy_pages,
            "it has no userfaultfd, which --lazy-pages needs",
            "save all at once",
        ),
    ];
    let missing = rules.into_iter().filter(|(wanted, has, ..)| *wanted && *has != Some(true));
    Ok(missing
        .map(|(_, _, what, remedy)| Obstacle { at: "kernel".to_owned(), what: what.to_owned(), remedy })
        .collect())
}

fn process(pid: i32, init: i32, sockets: &mut Sockets) -> Option<Process> {
    let proc = Proc::new(pid).ok()?;
    let status = proc.status().ok()?;
    let of = |pid: i32, file: &str| std::fs::read_link(format!("/proc/{pid}/ns/{file}")).ok();
    let apart = NamespaceKind::ALL.iter().filter(|kind| of(pid, kind.file) != of(init, kind.file));
    let descriptors = proc.fd().ok()?.flatten().filter_map(|info| descriptor(pid, &info, sockets));
    Some(Process {
        pid,
        name: status.name,
        tracer: status.tracerpid,
        apart: apart.map(|kind| kind.name).collect(),
        descriptors: descriptors.collect(),
    })
}

fn descriptor(pid: i32, info: &FDInfo, sockets: &mut Sockets) -> Option<Descriptor> {
    let number = info.fd;
    let path = format!("/proc/{pid}/fd/{number}");
    let found = stat(path.as_str()).ok()?;
    let target = rustix::fs::readlink(path, Vec::new()).ok()?.to_string_lossy().into_owned();
    let mount = of_descriptor(pid, number)?;
    let socket = match info.target {
        FDTarget::Socket(inode) => Some(sockets.kind(pid, number, inode)),
        _ => None,
    };
    Some(Descriptor {
        number,
        target,
        kind: FileType::from_raw_mode(found.st_mode),
        device: (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)),
        has_name: found.st_nlink > 0,
        size: found.st_blocks.unsigned_abs().saturating_mul(512),
        mount,
        inode: found.st_ino,
        socket,
    })
}

/// The connected sockets, once for each network namespace.
#[derive(Default)]
struct Sockets(HashMap<String, Connected>);

struct Connected {
    /// Established TCP connections.
    tcp: HashSet<u64>,
    unix: Table,
}

/// Protocols whose sockets CRIU saves, by the names that the kernel gives them.
const SAVED: &[&str] = &[
    "TCP",
    "TCPv6",
    "UDP",
    "UDPv6",
    "UDP-Lite",
    "UDPLITEv6",
    "RAW",
    "RAWv6",
    "PING",
    "PINGv6",
    "UNIX",
    "UNIX-STREAM",
    "NETLINK",
    "PACKET",
];

/// The state of an established connection, in the fourth column of tcp and tcp6 (proc_pid_net(5)).
const ESTABLISHED: &str = "01";

impl Sockets {
    fn kind(&mut self, pid: i32, number: i32, inode: u64) -> Socket {
        let mut name = [0_u8; 32];
        // An attribute of every socket (net/socket.c), with a NUL at its end.
        let length = getxattr(format!("/proc/{pid}/fd/{number}"), c"system.sockprotoname", &mut name[..]).unwrap_or(0);
        let name = String::from_utf8_lossy(name.get(..length).unwrap_or_default());
        if !SAVED.contains(&name.trim_end_matches('\0')) {
            return Socket::Unknown;
        }
        let namespace = std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let namespace = namespace.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let connected = self.0.entry(namespace).or_insert_with(|| Connected {
            tcp: connections(pid),
            // A kernel without socket diagnostics is no reason to say nothing of the rest.
            unix: unix::list(pid).unwrap_or_default(),
        });
        if connected.tcp.contains(&inode) {
            return Socket::Tcp;
        }
        match connected.unix.get(&inode) {
            Some(Unix { kind, peer: Some(peer) }) => {
                let near = connected.unix.contains_key(peer);
                Socket::Unix { peer: *peer, near, datagram: SocketType::DGRAM.as_raw() == u32::from(*kind) }
            }
            _ => Socket::Plain,
        }
    }
}

fn connections(pid: i32) -> HashSet<u64> {
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    let lines = tables.iter().flatten().flat_map(|text| text.lines().skip(1));
    let inode = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        (fields.get(3) == Some(&ESTABLISHED)).then(|| fields.get(9)?.parse().ok()).flatten()
    };
    lines.filter_map(inode).collect()
}

/// The pids that hold locks (proc_locks(5)).
fn locks() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let held = text.lines().filter(|line| !line.contains("->"));
    held.filter_map(|line| line.split_ascii_whitespace().nth(4)?.parse().ok()).collect()
}
