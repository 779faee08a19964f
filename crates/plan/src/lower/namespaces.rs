//! `linux.namespaces`, the id maps and the time offsets (config-linux.md "Namespaces", "User
//! namespace mappings", "Offset for Time Namespace").

use std::path::PathBuf;

use rt_protocol::descriptor::Descriptor;
use rt_protocol::flags::namespace;
use rt_protocol::op;
use rt_protocol::wire::Blob;

use super::{IdMaps, Lowering};
use crate::spec::{Fault, Pointer};

/// A kind of namespace: its name in config.json, its CLONE_NEW flag, its file below /proc/PID/ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Name in config.json.
    pub name: &'static str,
    /// CLONE_NEW*.
    pub flag: u64,
    /// Name in /proc/PID/ns.
    pub file: &'static str,
}

impl Kind {
    /// All kinds, in the order of the specification, except for the user namespace, which is joined
    /// last: joining a namespace that it does not own takes the caller's rights. Namespaces that
    /// need the rights of the user namespace are tried again after it (`launch/child.rs`).
    pub const ALL: [Kind; 8] = [
        Kind { name: "pid", flag: namespace::NEWPID, file: "pid" },
        Kind { name: "network", flag: namespace::NEWNET, file: "net" },
        Kind { name: "ipc", flag: namespace::NEWIPC, file: "ipc" },
        Kind { name: "uts", flag: namespace::NEWUTS, file: "uts" },
        Kind { name: "cgroup", flag: namespace::NEWCGROUP, file: "cgroup" },
        Kind { name: "time", flag: namespace::NEWTIME, file: "time" },
        Kind { name: "mount", flag: namespace::NEWNS, file: "mnt" },
        Kind { name: "user", flag: namespace::NEWUSER, file: "user" },
    ];
}

/// A namespace to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its kind.
    pub kind: Kind,
    /// Its file.
    pub path: PathBuf,
    /// The field that asks for it.
    pub at: Pointer,
}

/// What the container's namespaces will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* of the namespaces to make.
    pub new: u64,
    /// The namespaces to join, in order.
    pub join: Vec<Join>,
    /// Maps of a new user namespace.
    pub maps: IdMaps,
    /// Lines for /proc/PID/timens_offsets.
    pub time_offsets: String,
    /// Init makes the mount namespace, after it has opened what it takes along from the host's
    /// mounts.
    pub mounts_by_init: bool,
}

impl Namespaces {
    /// Whether one of this kind is made or joined.
    pub fn has(&self, flag: u64) -> bool {
        self.new & flag != 0 || self.joins(flag)
    }

    /// Whether one of this kind is joined.
    pub fn joins(&self, flag: u64) -> bool {
        self.join.iter().any(|j| j.kind.flag == flag)
    }

    /// CLONE_NEW* of the namespaces that the runtime makes while init is already at work. A network
    /// namespace takes the kernel longer than all other new namespaces together; a network
    /// namespace that belongs to a new user namespace has to be made inside it.
    pub fn made_meanwhile(&self) -> u64 {
        if self.has(namespace::NEWUSER) { 0 } else { self.new & namespace::NEWNET }
    }

    /// CLONE_NEW* of the namespaces that init is born in. Those of cgroups and time it makes itself,
    /// after it has joined its cgroup.
    pub fn made_by_clone(&self) -> u64 {
        let mounts = if self.mounts_by_init { namespace::NEWNS } else { 0 };
        self.new & !(namespace::NEWCGROUP | namespace::NEWTIME | mounts | self.made_meanwhile())
    }

    /// Whether the offsets of the clocks are set before the stub is executed. Root of a new user
    /// namespace may not open the /proc files of a process that cannot be traced, and the stub
    /// cannot be traced, not even by itself.
    pub fn offsets_before_stub(&self) -> bool {
        self.new & namespace::NEWUSER != 0 && self.new & namespace::NEWTIME != 0 && !self.time_offsets.is_empty()
    }

    /// CLONE_NEW* of all kinds that the container does not share with the runtime.
    pub fn all(&self) -> u64 {
        self.join.iter().fold(self.new, |all, j| all | j.kind.flag)
    }
}

const KNOWN: &str = "pid, network, mount, ipc, uts, user, cgroup, time";

impl Lowering<'_> {
    pub(super) fn namespaces(&mut self) {
        let Some(linux) = self.linux() else { return };
        for (i, ns) in linux.namespaces.as_deref().unwrap_or_default().iter().enumerate() {
            let at = Pointer::index("/linux/namespaces/{}", i);
            let Some(name) = ns.kind.as_deref() else {
                self.wrong(Pointer::index("/linux/namespaces/{}/type", i), Fault::Missing);
                continue;
            };
            let Some(kind) = Kind::ALL.into_iter().find(|k| k.name == name) else {
                let fault = Fault::Unknown { value: name.to_owned(), known: KNOWN };
                self.wrong(Pointer::index("/linux/namespaces/{}/type", i), fault);
                continue;
            };
            if self.namespaces.has(kind.flag) {
                self.wrong(at, Fault::Duplicate);
                continue;
            }
            match ns.path.as_deref() {
                None | Some("") => self.namespaces.new |= kind.flag,
                Some(path) if !path.starts_with('/') => {
                    let fault = Fault::Value { value: path.to_owned(), why: "must be an absolute path" };
                    self.wrong(Pointer::index("/linux/namespaces/{}/path", i), fault);
                }
                Some(path) => self.namespaces.join.push(Join { kind, path: path.into(), at }),
            }
        }
        self.namespaces.join.sort_by_key(|j| Kind::ALL.iter().position(|k| *k == j.kind));
        self.id_maps();
        self.time_offsets();
    }

    fn id_maps(&mut self) {
        let Some(linux) = self.linux() else { return };
        let uid = linux.uid_mappings.clone().unwrap_or_default();
        let gid = linux.gid_mappings.clone().unwrap_or_default();
        let new_user = self.namespaces.new & namespace::NEWUSER != 0;
        if new_user {
            if uid.is_empty() {
                self.wrong(Pointer::new("/linux/uidMappings"), Fault::Rule("must be set for a new user namespace"));
            }
            if gid.is_empty() {
                self.wrong(Pointer::new("/linux/gidMappings"), Fault::Rule("must be set for a new user namespace"));
            }
            let maps_root = |maps: &[crate::spec::IdMapping]| maps.iter().any(|m| m.container_id == 0 && m.size > 0);
            if !uid.is_empty() && !maps_root(&uid) {
                self.wrong(
                    Pointer::new("/linux/uidMappings"),
                    Fault::Rule("must map user 0 of the container, which sets it up"),
                );
            }
            if !gid.is_empty() && !maps_root(&gid) {
                self.wrong(
                    Pointer::new("/linux/gidMappings"),
                    Fault::Rule("must map group 0 of the container, which sets it up"),
                );
            }
            self.check_map(&uid, "/linux/uidMappings/{}");
            self.check_map(&gid, "/linux/gidMappings/{}");
            self.namespaces.maps = IdMaps { uid, gid };
        } else if !self.namespaces.joins(namespace::NEWUSER) {
            // As with runc and crun, which go on, too.
            for (maps, at) in [(uid, "/linux/uidMappings"), (gid, "/linux/gidMappings")] {
                if !maps.is_empty() {
                    let why = "has no effect without a user namespace in /linux/namespaces";
                    self.warn(Pointer::new(at), Fault::Rule(why));
                }
            }
        }
    }

    /// A range ends before 4294967295, which is no id, and is not empty (user_namespaces(7)).
    pub(super) fn check_map(&mut self, map: &[crate::spec::IdMapping], template: &'static str) {
        for (i, entry) in map.iter().enumerate() {
            let fits = |first: u32| first.checked_add(entry.size).is_some();
            if entry.size == 0 || !fits(entry.container_id) || !fits(entry.host_id) {
                let value = format!("{} {} {}", entry.container_id, entry.host_id, entry.size);
                let why = "is no range of ids: its size must be above 0, and it must end below 4294967295";
                self.wrong(Pointer::index(template, i), Fault::Value { value, why });
            }
        }
    }

    fn time_offsets(&mut self) {
        let Some(offsets) = self.linux().and_then(|l| l.time_offsets.as_ref()) else { return };
        if offsets.is_empty() {
            return;
        }
        if self.namespaces.new & namespace::NEWTIME == 0 {
            self.wrong(
                Pointer::new("/linux/timeOffsets"),
                Fault::Rule("needs a new time namespace in /linux/namespaces"),
            );
        }
        for (clock, offset) in offsets {
            if !matches!(&**clock, "monotonic" | "boottime") {
                let fault = Fault::Unknown { value: clock.to_string(), known: "monotonic, boottime" };
                self.wrong(Pointer::new("/linux/timeOffsets"), fault);
            }
            if offset.nanosecs >= 1_000_000_000 {
                let fault =
                    Fault::Value { value: offset.nanosecs.to_string(), why: "nanoseconds must be below 1000000000" };
                self.wrong(Pointer::new("/linux/timeOffsets"), fault);
            }
            self.namespaces.time_offsets += &format!("{clock} {} {}\n", offset.secs, offset.nanosecs);
        }
    }

    /// What init does about namespaces before it mounts.
    pub(super) fn enter_namespaces(&mut self) {
        let at = Pointer::new("/linux/namespaces");
        let new = self.namespaces.new;
        // The root of a cgroup namespace is the cgroup in which the process is when it makes the
        // namespace. So it is made after the process has joined its cgroup, and not by clone3.
        if new & namespace::NEWCGROUP != 0 {
            self.push(op::Op::Unshare { flags: namespace::NEWCGROUP }, at);
        }
        // The offsets can be set only before a process is in the namespace. unshare(2) moves only
        // later children into it, and before Linux 6.2 execve(2) did not move the process either;
        // so init enters the namespace itself.
        if new & namespace::NEWTIME != 0 {
            let by_child = self.namespaces.offsets_before_stub();
            if !by_child {
                self.push(op::Op::Unshare { flags: namespace::NEWTIME }, at);
            }
            if !self.namespaces.time_offsets.is_empty() && !by_child {
                let text = Blob(self.namespaces.time_offsets.clone().into_bytes());
                self.push(op::Op::TimeOffsets { text }, Pointer::new("/linux/timeOffsets"));
            }
            self.push(op::Op::EnterTime { fd: Descriptor::None }, at);
        }
        if !self.request.no_new_keyring {
            let name = self.text(&format!("_ses.{}", self.request.id), at);
            let label = self.spec.process.as_ref().and_then(|p| p.selinux_label.as_deref()).unwrap_or_default();
            let label = self.text(label, Pointer::new("/process/selinuxLabel"));
            let labelled = !label.0.is_empty();
            let at = if labelled { Pointer::new("/process/selinuxLabel") } else { Pointer::new("/process") };
            self.push(op::Op::SessionKeyring { name, label }, at);
        }
    }

    /// The network namespace is joined as late as possible: before the first op that concerns the
    /// container's network.
    pub(super) fn network(&mut self) {
        let at = Pointer::new("/linux/namespaces");
        if self.namespaces.made_meanwhile() & namespace::NEWNET != 0 {
            let first = self.ops.iter().position(|(op, _)| sees_network(op)).unwrap_or(self.ops.len());
            self.ops.insert(first, (op::Op::JoinNetwork {}, at));
        }
        if self.namespaces.new & namespace::NEWNET != 0 {
            self.push(op::Op::LoopbackUp {}, at);
        }
    }

    /// Host and domain name (config.md "Hostname", "Domainname").
    pub(super) fn names(&mut self) {
        let uts = self.namespaces.has(namespace::NEWUTS);
        let names = [(&self.spec.hostname, "/hostname", true), (&self.spec.domainname, "/domainname", false)];
        for (name, at, host) in names {
            let Some(name) = name.as_deref().filter(|n| !n.is_empty()) else { continue };
            let at = Pointer::new(at);
            if !uts {
                self.wrong(at, Fault::Rule("needs a uts namespace in /linux/namespaces"));
            }
            let name = Blob(name.as_bytes().to_vec());
            self.push(if host { op::Op::Hostname { name } } else { op::Op::Domainname { name } }, at);
        }
    }
}

/// Of the ops before the hooks, mounts may belong to the network namespace of the process that
/// makes them: sysfs and network filesystems.
fn sees_network(op: &super::Op) -> bool {
    const BLIND: [&[u8]; 6] = [b"proc", b"tmpfs", b"devpts", b"mqueue", b"cgroup", b"cgroup2"];
    matches!(op, op::Op::Mount(op::Mount { fstype, .. }) if !BLIND.contains(&fstype.0.to_bytes()))
}
