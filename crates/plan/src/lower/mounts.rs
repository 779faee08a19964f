//! `root` and `mounts` (config.md "Root", "Mounts"; config-linux.md "Rootfs Mount Propagation").

use rt_protocol::descriptor::{Descriptor, Slot};
use rt_protocol::flags::namespace;
use rt_protocol::flags::{attr, propagation};
use rt_protocol::op::{self, flag};
use rt_protocol::wire::Blob;

use super::options::Options;
use super::{IdMaps, Idmap, Lowering, Op, paths};
use crate::spec::{Fault, IdMapping, Mount, Pointer};

/// fsconfig(2) takes strings of at most 255 bytes; a longer option goes through mount(2).
const LONGEST_OPTION: usize = 255;

/// Filesystems whose superblock may be shared with the host or is made for the mount: only the
/// mount becomes read-only.
const VIRTUAL: &[&str] = &["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "binder"];

impl Lowering<'_> {
    /// The propagation asked for, and whether it applies to all mounts below. The first caller that
    /// asks for an unknown value reports it.
    pub(super) fn propagation(&mut self) -> (u64, bool) {
        if let Some(known) = self.propagation {
            return known;
        }
        let known = self.read_propagation();
        self.propagation = Some(known);
        known
    }

    fn read_propagation(&mut self) -> (u64, bool) {
        let at = Pointer::new("/linux/rootfsPropagation");
        match self.linux().and_then(|l| l.rootfs_propagation.as_deref()).unwrap_or_default() {
            "" | "rslave" => (propagation::SLAVE, true),
            "slave" => (propagation::SLAVE, false),
            "shared" => (propagation::SHARED, false),
            "rshared" => (propagation::SHARED, true),
            "private" => (propagation::PRIVATE, false),
            "rprivate" => (propagation::PRIVATE, true),
            "unbindable" => (propagation::UNBINDABLE, false),
            "runbindable" => (propagation::UNBINDABLE, true),
            other => {
                let known = "shared, slave, private, unbindable, each with r before it for all mounts below";
                self.wrong(at, Fault::Unknown { value: other.to_owned(), known });
                (propagation::SLAVE, true)
            }
        }
    }

    /// The mount namespace's own propagation, and the rootfs as a mount.
    pub(super) fn root_mount(&mut self) {
        let path = self.rootfs.to_string_lossy().into_owned();
        let path = self.text(&path, Pointer::new("/root/path"));
        let at = Pointer::new("/root/path");
        if !self.namespaces.has(namespace::NEWNS) {
            // All mounts go below this mount, which `delete` removes from the host with everything
            // on it.
            self.push(op::Op::Root { path, idmap: Descriptor::None, opened: 0 }, at);
            self.push(op::Op::RootAttributes { set: 0, propagation: propagation::PRIVATE, recursive: 1 }, at);
            return;
        }
        let (value, recursive) = self.propagation();
        let propagation_at = Pointer::new("/linux/rootfsPropagation");
        // The propagation is not unbindable yet, because the rootfs itself is bound next.
        let first = if value == propagation::UNBINDABLE { propagation::PRIVATE } else { value };
        self.push(op::Op::MountsPropagation { propagation: first, recursive: u32::from(recursive) }, propagation_at);
        // A shared or partly shared mount at the rootfs would pass the container's mounts on to the
        // host.
        if value != propagation::SLAVE || !recursive {
            self.push(op::Op::ParentPrivate { path: path.clone() }, propagation_at);
        }
        self.push(op::Op::Root { path, idmap: Descriptor::None, opened: 0 }, at);
    }

    pub(super) fn mounts(&mut self) {
        let spec = self.spec;
        let mounts = spec.mounts.as_deref().unwrap_or_default();
        for (i, mount) in mounts.iter().enumerate() {
            self.mount(i, mount);
        }
        if let Some(dir) = self.request.notify_dir {
            self.notify_socket(dir);
        }
    }

    fn mount(&mut self, i: usize, mount: &Mount<'_>) {
        let at = Pointer::index("/mounts/{}", i);
        let destination_at = Pointer::index("/mounts/{}/destination", i);
        match mount.destination.as_deref() {
            None => return self.wrong(destination_at, Fault::Missing),
            Some("") => return self.wrong(destination_at, Fault::Empty),
            Some(_) => {}
        }
        let destination = self.destination(mount);
        if destination == "/" {
            let fault = Fault::Value { value: "/".into(), why: "is the rootfs itself; set /root/path instead" };
            return self.wrong(destination_at, fault);
        }
        let words = mount.options.as_deref().unwrap_or_default();
        let options = Options::parse(words.iter().map(|w| &**w));
        let kind = mount.kind.as_deref().unwrap_or_default();
        if kind == "bind" && options.bind.is_none() {
            let why = "needs \"bind\" or \"rbind\" in the options";
            return self.wrong(Pointer::index("/mounts/{}/type", i), Fault::Value { value: kind.into(), why });
        }
        if (!kind.is_empty() || options.bind.is_some())
            && let Err(why) = may_be_on_proc(&destination, kind, options.bind.is_some())
        {
            return self.wrong(destination_at, Fault::Value { value: destination, why });
        }
        if let Some(recursive) = options.bind {
            return self.bind_mount(i, mount, &destination, &options, recursive);
        }
        match kind {
            "" => self.wrong(Pointer::index("/mounts/{}/type", i), Fault::Missing),
            "cgroup" | "cgroup2" => self.cgroup_mount(i, &destination, &options),
            _ => {
                if has_maps(mount) || options.idmap.is_some() {
                    let why = "id-mapped mounts are bind mounts: add \"bind\" to the options";
                    self.wrong(Pointer::index("/mounts/{}/uidMappings", i), Fault::Rule(why));
                }
                let op = self.filesystem(i, mount, &destination, kind, &options);
                self.push(op, at);
            }
        }
    }

    /// The destination of a mount inside the container. A relative destination is taken from the
    /// root, as all runtimes do and older specifications allowed. A destination that begins with
    /// the rootfs's own path is below the rootfs.
    pub(super) fn destination(&self, mount: &Mount<'_>) -> String {
        let path = paths::clean(mount.destination.as_deref().unwrap_or_default());
        paths::below(&self.rootfs, &path).unwrap_or(path)
    }

    fn filesystem(&mut self, i: usize, mount: &Mount<'_>, destination: &str, kind: &str, options: &Options) -> Op {
        let at = Pointer::index("/mounts/{}", i);
        let mut attributes = options.attributes() | options.below_set;
        let mut data = options.data.clone();
        if attributes & attr::RDONLY != 0 {
            if !VIRTUAL.contains(&kind) {
                data.insert(0, ("ro".to_owned(), None));
            }
            if self.is_filled_later(i, destination, kind) {
                attributes &= !attr::RDONLY;
            }
        }
        if matches!(kind, "tmpfs" | "mqueue" | "devpts" | "ramfs" | "shm") {
            self.mount_label(&mut data);
        }
        let mut flags = 0;
        if matches!(kind, "proc" | "sysfs") {
            flags |= flag::REAL_DIRECTORY;
        }
        if options.copy_up {
            if kind == "tmpfs" {
                flags |= flag::COPY_UP;
            } else {
                let fault = Fault::Rule("tmpcopyup is for tmpfs only");
                self.wrong(Pointer::index("/mounts/{}/options", i), fault);
            }
        }
        // As in other runtimes: images rely on /run still having mode 755 when a tmpfs covers it.
        if kind == "tmpfs" && !data.iter().any(|(k, _)| k == "mode") {
            flags |= flag::COVERED_MODE;
        }
        let source = mount.source.as_deref().filter(|s| !s.is_empty()).unwrap_or(kind);
        let long = data.iter().any(|(_, v)| v.as_ref().is_some_and(|v| v.len() > LONGEST_OPTION))
            || source.len() > LONGEST_OPTION;
        let blob = if long {
            flags |= flag::LEGACY;
            legacy_data(&data)
        } else {
            option_blob(&data)
        };
        if data.iter().any(|(k, v)| k.contains('\0') || v.as_ref().is_some_and(|v| v.contains('\0'))) {
            self.wrong(Pointer::index("/mounts/{}/options", i), Fault::Nul);
        }
        let plain = attributes & !(attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::STRICTATIME) == 0;
        if plain && options.propagation == 0 && flags == 0 && self.at_once(kind, &data) {
            flags |= flag::AT_ONCE;
        }
        op::Op::Mount(op::Mount {
            fstype: self.text(kind, Pointer::index("/mounts/{}/type", i)),
            source: self.text(source, Pointer::index("/mounts/{}/source", i)),
            target: self.text(destination, at),
            options: Blob(blob),
            attributes,
            propagation: options.propagation,
            propagation_recursive: u32::from(options.propagation_recursive),
            flags,
            fallback: self.text("", at),
        })
    }

    /// Whether mount(2) can take all of a mount's options as one text: true for filesystems that
    /// are known to read it in the same way as single options.
    fn at_once(&self, kind: &str, data: &[(String, Option<String>)]) -> bool {
        let hooks = self.spec.hooks.as_ref().and_then(|h| h.create_container.as_ref());
        let values = || data.iter().filter_map(|(_, value)| value.as_deref());
        matches!(kind, "tmpfs" | "devpts" | "mqueue")
            && hooks.is_none_or(Vec::is_empty)
            && values().all(|value| !value.contains(','))
            && data.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len) + 2).sum::<usize>()
                < 1024
    }

    fn mount_label(&mut self, data: &mut Vec<(String, Option<String>)>) {
        let linux = self.linux();
        let Some(label) = linux.and_then(|l| l.mount_label.as_deref()).filter(|l| !l.is_empty()) else { return };
        let annotations = self.spec.annotations.as_ref();
        let key = annotations.and_then(|a| a.get(&"run.oci.mount_context_type".into())).map_or("context", |t| t);
        if !matches!(key, "context" | "fscontext" | "defcontext" | "rootcontext") {
            let fault = Fault::Unknown { value: key.to_owned(), known: "context, fscontext, defcontext, rootcontext" };
            self.wrong(Pointer::new("/annotations/run.oci.mount_context_type"), fault);
        }
        if !data.iter().any(|(k, _)| k == key) {
            data.push((key.to_owned(), Some(label.to_owned())));
        }
    }

    fn bind_mount(&mut self, i: usize, mount: &Mount<'_>, destination: &str, options: &Options, recursive: bool) {
        let at = Pointer::index("/mounts/{}", i);
        let source_at = Pointer::index("/mounts/{}/source", i);
        let Some(source) = mount.source.as_deref().filter(|s| !s.is_empty()) else {
            return self.wrong(source_at, Fault::Missing);
        };
        // mount(2) ignores these options as well, and configs of old engines contain them.
        for (word, _) in options.data.iter().filter(|(k, _)| !VFS_WORDS.contains(&k.as_str())) {
            let why = "is an option of a filesystem, and is ignored on a bind mount";
            self.warn(Pointer::index("/mounts/{}/options", i), Fault::Value { value: word.clone(), why });
        }
        let source = paths::absolute(self.request.bundle, source).to_string_lossy().into_owned();
        // A source inside the rootfs is resolved inside it: a symlink of the image must not lead
        // out, and earlier mounts below the source are part of it.
        let inside = paths::below(&self.rootfs, &source);
        let mut how = 0;
        for (on, bit) in [
            (inside.is_some(), flag::SOURCE_IN_ROOT),
            (options.exact, flag::EXACT),
            (within_proc(destination), flag::ON_PROC),
            (self.host.root && self.namespaces.has(namespace::NEWUSER), flag::BY_PARENT),
            (recursive, flag::RECURSIVE),
            (options.source_nofollow, flag::SOURCE_NOFOLLOW),
            (options.target_nofollow, flag::TARGET_NOFOLLOW),
            (options.copy_symlink, flag::COPY_SYMLINK),
            (options.idmap == Some(true), flag::IDMAP_RECURSIVE),
        ] {
            if on {
                how |= bit;
            }
        }
        let idmap = self.mount_maps(i, mount, options);
        let op = op::Op::Bind(op::Bind {
            source: self.text(inside.as_deref().unwrap_or(&source), source_at),
            target: self.text(destination, at),
            set: options.attributes(),
            clear: options.cleared(),
            below_set: options.below_set,
            below_clear: options.below_clear,
            propagation: options.propagation,
            propagation_recursive: u32::from(options.propagation_recursive),
            flags: how,
            idmap,
            opened: 0,
        });
        self.push(op, at);
    }

    /// The maps of an id-mapped mount: its own, or those of the container (config.md
    /// "uidMappings").
    fn mount_maps(&mut self, i: usize, mount: &Mount<'_>, options: &Options) -> Descriptor {
        if options.idmap.is_none() && !has_maps(mount) {
            return Descriptor::None;
        }
        let at = Pointer::index("/mounts/{}/uidMappings", i);
        // Maps that the mount itself has come first; the maps of a joined user namespace are read
        // from that namespace.
        if !has_maps(mount) && options.idmap_text.is_none() && self.namespaces.joins(namespace::NEWUSER) {
            return self.idmap_slot(Idmap::Joined);
        }
        let maps = if let Some(text) = &options.idmap_text {
            let container = self.linux().map(|l| IdMaps {
                uid: l.uid_mappings.clone().unwrap_or_default(),
                gid: l.gid_mappings.clone().unwrap_or_default(),
            });
            match inline_maps(text, &container.unwrap_or_default()) {
                Some(maps) => maps,
                None => {
                    let why = "is no id map; write uids=CONTAINER-HOST-SIZE;gids=CONTAINER-HOST-SIZE";
                    self.wrong(Pointer::index("/mounts/{}/options", i), Fault::Value { value: text.clone(), why });
                    return Descriptor::None;
                }
            }
        } else if has_maps(mount) {
            IdMaps {
                uid: mount.uid_mappings.clone().unwrap_or_default(),
                gid: mount.gid_mappings.clone().unwrap_or_default(),
            }
        } else {
            self.namespaces.maps.clone()
        };
        if maps.uid.is_empty() || maps.gid.is_empty() {
            self.wrong(
                at,
                Fault::Rule("an id-mapped mount needs uidMappings and gidMappings, its own or the container's"),
            );
            return Descriptor::None;
        }
        if !self.host.root {
            self.wrong(at, Fault::Rule("id-mapped mounts need root"));
        }
        self.check_map(&maps.uid, "/mounts/uidMappings/{}");
        self.check_map(&maps.gid, "/mounts/gidMappings/{}");
        self.idmap_slot(Idmap::Maps(maps))
    }

    fn idmap_slot(&mut self, idmap: Idmap) -> Descriptor {
        let place = self.idmaps.iter().position(|known| *known == idmap).unwrap_or_else(|| {
            self.idmaps.push(idmap);
            self.idmaps.len() - 1
        });
        Descriptor::Slot(Slot::Idmap(place as u32))
    }

    /// `process.cwd` is made if the image lacks it, as by all peers.
    pub(super) fn working_directory_exists(&mut self) {
        let Some(cwd) = self.spec.process.as_ref().and_then(|p| p.cwd.as_deref()) else { return };
        if !cwd.starts_with('/') {
            return;
        }
        let at = Pointer::new("/process/cwd");
        let path = paths::clean(cwd);
        if path == "/" {
            return;
        }
        let path = self.text(&path, at);
        self.push(
            op::Op::Directory { path, mode: 0o755, uid: 0, gid: 0, flags: flag::KEEP_EXISTING | flag::OPTIONAL },
            at,
        );
    }

    /// A bind mount of the runtime's own, without options but these attributes.
    pub(super) fn plain_bind(&mut self, at: Pointer, target: &str, attributes: u64, source: &std::path::Path) -> Op {
        op::Op::Bind(op::Bind {
            source: self.text(&source.to_string_lossy(), at),
            target: self.text(target, at),
            set: attributes,
            clear: 0,
            below_set: 0,
            below_clear: 0,
            propagation: 0,
            propagation_recursive: 0,
            flags: 0,
            idmap: Descriptor::None,
            opened: 0,
        })
    }

    /// sd_notify: the directory with the proxy's socket (`NOTIFY_SOCKET`, sd_notify(3)).
    fn notify_socket(&mut self, dir: &std::path::Path) {
        let at = Pointer::new("/process/env");
        let op = self.plain_bind(at, "/run/notify", 0, dir);
        self.push(op, at);
    }

    /// Leaves the host's root for the container's.
    pub(super) fn change_root(&mut self) {
        let at = Pointer::new("/root/path");
        let shared = !matches!(self.propagation(), (propagation::SLAVE, true));
        if !self.namespaces.has(namespace::NEWNS) {
            self.push(op::Op::Chroot {}, at);
        } else if self.request.no_pivot {
            self.push(op::Op::MoveRoot {}, at);
        } else {
            self.push(op::Op::PivotRoot { slave_first: u32::from(shared) }, at);
        }
        let (value, recursive) = self.propagation();
        let explicit = self.linux().and_then(|l| l.rootfs_propagation.as_deref()).is_some_and(|p| !p.is_empty());
        let read_only = self.read_only_root();
        if read_only.is_some() || explicit {
            let set = if read_only.is_some() { attr::RDONLY } else { 0 };
            let value = if explicit && self.namespaces.has(namespace::NEWNS) { value } else { 0 };
            // The mounts that came from the host have been slaves from the beginning. To make them
            // slaves again would undo the propagation that mounts ask for.
            let below = recursive && value != propagation::SLAVE;
            let op = op::Op::RootAttributes { set, propagation: value, recursive: u32::from(below) };
            self.push(op, read_only.unwrap_or(Pointer::new("/linux/rootfsPropagation")));
        }
        if explicit && recursive && value != propagation::SLAVE {
            self.own_propagation();
        }
        self.read_only_later();
    }

    /// The propagation that a mount asks for applies to that mount, whatever all others get.
    fn own_propagation(&mut self) {
        for (i, mount) in self.spec.mounts.as_deref().unwrap_or_default().iter().enumerate() {
            let words = mount.options.as_deref().unwrap_or_default();
            let options = Options::parse(words.iter().map(|w| &**w));
            if options.propagation != 0 {
                let at = Pointer::index("/mounts/{}/options", i);
                let path = self.text(&self.destination(mount), at);
                let (propagation, recursive) = (options.propagation, u32::from(options.propagation_recursive));
                self.push(op::Op::Attributes { path, set: 0, clear: 0, propagation, recursive }, at);
            }
        }
    }

    /// Whether the mount becomes read-only only when all others are made ([`Self::read_only_later`]): a
    /// /dev, for its nodes, and a tmpfs, for the destinations of mounts in it. A mount that another one
    /// covers cannot be found then.
    fn is_filled_later(&self, i: usize, destination: &str, kind: &str) -> bool {
        let covers = |mount: &Mount<'_>| paths::below(self.destination(mount).as_ref(), destination).is_some();
        let mut later = self.spec.mounts.iter().flatten().skip(i + 1);
        destination == "/dev" || (kind == "tmpfs" && !later.any(covers))
    }

    fn read_only_later(&mut self) {
        for (i, mount) in self.spec.mounts.as_deref().unwrap_or_default().iter().enumerate() {
            let words = mount.options.as_deref().unwrap_or_default();
            let options = Options::parse(words.iter().map(|w| &**w));
            let read_only = (options.attributes() | options.below_set) & attr::RDONLY != 0;
            let destination = self.destination(mount);
            let kind = mount.kind.as_deref().unwrap_or_default();
            if read_only && options.bind.is_none() && self.is_filled_later(i, &destination, kind) {
                let at = Pointer::index("/mounts/{}/options", i);
                let path = self.text(&destination, at);
                self.push(op::Op::Attributes { path, set: attr::RDONLY, clear: 0, propagation: 0, recursive: 0 }, at);
            }
        }
    }
}

/// Files of /proc that may be covered: what lxcfs and its like show a container instead, and two
/// harmless parameters. The list is runc's, so that what works there works here.
const COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

fn within_proc(destination: &str) -> bool {
    destination.strip_prefix("/proc").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A file mounted over a file of /proc would receive what init writes there, such as the security
/// label, or would pretend contents to the program (CVE-2019-16884). For a bind mount on /proc
/// itself init checks that the source is a procfs.
fn may_be_on_proc(destination: &str, kind: &str, bind: bool) -> Result<(), &'static str> {
    if !within_proc(destination) || COVERABLE.contains(&destination) {
        Ok(())
    } else if destination != "/proc" {
        Err("cannot be mounted because it is inside /proc")
    } else if kind == "proc" || bind {
        Ok(())
    } else {
        Err("cannot be mounted because it is not of type proc")
    }
}

/// Superblock words that a bind mount ignores: they belong to the source's filesystem.
const VFS_WORDS: &[&str] = &["sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime"];

fn has_maps(mount: &Mount<'_>) -> bool {
    let some = |maps: &Option<Vec<IdMapping>>| maps.as_ref().is_some_and(|m| !m.is_empty());
    some(&mount.uid_mappings) || some(&mount.gid_mappings)
}

/// The options as the stub reads them: a flag is `f` and its name; a pair is `s` and its key, then
/// its value.
pub(super) fn option_blob(data: &[(String, Option<String>)]) -> Vec<u8> {
    let mut blob = Vec::new();
    for (key, value) in data {
        blob.push(if value.is_some() { b's' } else { b'f' });
        blob.extend_from_slice(key.as_bytes());
        blob.push(0);
        if let Some(value) = value {
            blob.extend_from_slice(value.as_bytes());
            blob.push(0);
        }
    }
    blob
}

/// The options as mount(2) reads them, without the words that are flags there.
fn legacy_data(data: &[(String, Option<String>)]) -> Vec<u8> {
    let words = data.iter().filter(|(k, _)| k != "ro" && !VFS_WORDS.contains(&k.as_str()));
    let words: Vec<String> = words.map(|(k, v)| v.as_ref().map_or_else(|| k.clone(), |v| format!("{k}={v}"))).collect();
    let mut blob = words.join(",").into_bytes();
    blob.push(0);
    blob
}

/// `uids=0-1000-10#20-2000-5;gids=…`; a container id that begins with `@` is looked up in the
/// container's own map, so that its number is the one inside the container (crun.1, "idmap").
fn inline_maps(text: &str, container: &IdMaps) -> Option<IdMaps> {
    let mut maps = IdMaps::default();
    for part in text.split(';') {
        let (name, list) = part.split_once('=')?;
        let (out, own) = match name {
            "uids" => (&mut maps.uid, &container.uid),
            "gids" => (&mut maps.gid, &container.gid),
            _ => return None,
        };
        for entry in list.split('#') {
            let (relative, entry) = entry.strip_prefix('@').map_or((false, entry), |e| (true, e));
            let mut numbers = entry.split('-').map(|n| n.parse::<u32>().ok());
            let (a, b, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
            if numbers.next().is_some() {
                return None;
            }
            let host_id = if relative { mapped(own, b)? } else { b };
            out.push(IdMapping { container_id: a, host_id, size });
        }
    }
    Some(maps)
}

fn mapped(maps: &[IdMapping], id: u32) -> Option<u32> {
    let map = maps.iter().find(|m| id >= m.container_id && id - m.container_id < m.size)?;
    map.host_id.checked_add(id - map.container_id)
}
