//! What this host cannot do for a config: looked up all at once, for `rt check`. Only reads.

mod files;
mod limits;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rt_cgroups::Layout;
use rt_plan::spec::{Pointer, Process, Spec, escape};
use rt_plan::{Host, NamespaceKind};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use crate::host::program::Format;

/// One thing that would stop the container here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field that needs it.
    pub pointer: String,
    /// What is missing.
    pub message: String,
}

struct Check<'a> {
    spec: &'a Spec<'a>,
    bundle: &'a Path,
    found: Vec<Finding>,
}

/// Compares a config with the host.
pub fn check(spec: &Spec<'_>, host: &Host, bundle: &Path) -> Vec<Finding> {
    let mut check = Check { spec, bundle, found: Vec::new() };
    check.kernel();
    check.mount_sources();
    check.namespaces();
    check.net_devices();
    check.security_modules();
    check.controllers(&host.layout);
    check.limits();
    check.sysctls();
    check.rights(host.root);
    check.resctrl();
    check.ids(host.root);
    check.hooks();
    check.rootfs();
    check.found
}

impl Check<'_> {
    fn lacks(&mut self, pointer: Pointer, message: String) {
        self.found.push(Finding { pointer: pointer.to_string(), message });
    }

    /// The floor is 5.10; some fields need more.
    fn kernel(&mut self) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version = version_of(&release);
        if version < (5, 10) {
            self.lacks(Pointer::new("/"), format!("Linux {release} is older than 5.10, the oldest that rt works on"));
        }
        let words = self.spec.mounts.as_deref().unwrap_or_default().iter().enumerate();
        let mut needs = Vec::new();
        for (i, mount) in words {
            let options = mount.options.as_deref().unwrap_or_default();
            let recursive =
                |o: &str| matches!(o, "rro" | "rrw" | "rnosuid" | "rsuid" | "rnodev" | "rdev" | "rnoexec" | "rexec");
            let mapped = mount.uid_mappings.as_ref().is_some_and(|m| !m.is_empty());
            if version < (5, 12) && (mapped || options.iter().any(|o| recursive(o) || o.contains("idmap"))) {
                needs.push(i);
            }
        }
        for i in needs {
            let message = format!("recursive attributes and id-mapped mounts need Linux 5.12; this is {release}");
            self.lacks(Pointer::index("/mounts/{}/options", i), message);
        }
    }

    fn mount_sources(&mut self) {
        let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let spec = self.spec;
        for (i, mount) in spec.mounts.as_deref().unwrap_or_default().iter().enumerate() {
            let bind = mount.is_bind();
            let source = mount.source.as_deref().unwrap_or_default();
            if bind && !source.is_empty() {
                let path = self.bundle.join(source);
                if let Err(e) = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                    let message = format!("source {}: {}", path.display(), rt_sys::errno::text(e));
                    self.lacks(Pointer::index("/mounts/{}/source", i), message);
                }
            }
            let kind = mount.kind.as_deref().unwrap_or_default();
            let known = filesystems.lines().any(|l| l.split_whitespace().last() == Some(kind));
            if !bind && !known && !matches!(kind, "" | "cgroup" | "bind") {
                let message = format!("the kernel has no filesystem type {kind:?} loaded (/proc/filesystems)");
                self.lacks(Pointer::index("/mounts/{}/type", i), message);
            }
        }
    }

    fn namespaces(&mut self) {
        let spec = self.spec;
        let list = spec.linux.as_ref().and_then(|l| l.namespaces.as_deref()).unwrap_or_default();
        for (i, ns) in list.iter().enumerate() {
            let Some(kind) = NamespaceKind::ALL.iter().find(|k| Some(k.name) == ns.kind.as_deref()) else { continue };
            if !Path::new("/proc/self/ns").join(kind.file).exists() {
                self.lacks(
                    Pointer::index("/linux/namespaces/{}/type", i),
                    format!("this kernel has no {} namespaces", kind.name),
                );
            }
            let Some(path) = ns.path.as_deref().filter(|p| !p.is_empty()) else { continue };
            let complaint = match openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => files::kind_complaint(&file, kind.file),
                Err(e) => Some(rt_sys::errno::text(e).to_string()),
            };
            if let Some(complaint) = complaint {
                self.lacks(Pointer::index("/linux/namespaces/{}/path", i), format!("{path}: {complaint}"));
            }
        }
    }

    /// Without root, everything else takes the rights that a user namespace gives.
    fn rights(&mut self, root: bool) {
        let list = self.spec.linux.as_ref().and_then(|l| l.namespaces.as_deref()).unwrap_or_default();
        if !root && !list.iter().any(|ns| ns.kind.as_deref() == Some("user")) {
            let message = "this user is not root, and there is no user namespace: run as root, or begin with the config of \"rt spec --rootless\"";
            self.lacks(Pointer::new("/linux/namespaces"), message.to_owned());
        }
    }

    fn net_devices(&mut self) {
        let spec = self.spec;
        for name in spec.linux.iter().flat_map(|l| l.net_devices.iter().flatten()).map(|(name, _)| name) {
            if !name.contains('/') && !Path::new("/sys/class/net").join(&**name).exists() {
                let pointer = format!("/linux/netDevices/{}", escape(name));
                self.found.push(Finding { pointer, message: format!("this host has no network device {name:?}") });
            }
        }
    }

    fn security_modules(&mut self) {
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        let active = |name: &str| modules.trim().split(',').any(|m| m == name);
        let Some(process) = &self.spec.process else { return };
        let wanted = [
            (process.apparmor_profile.is_some(), "apparmor", "/process/apparmorProfile"),
            (process.selinux_label.is_some(), "selinux", "/process/selinuxLabel"),
        ];
        for (set, name, at) in wanted {
            if set && !active(name) {
                self.lacks(Pointer::new(at), format!("{name} is not active on this host (/sys/kernel/security/lsm)"));
            }
        }
    }

    fn controllers(&mut self, layout: &Layout) {
        let Some(resources) = self.spec.linux.as_ref().and_then(|l| l.resources.as_ref()) else { return };
        let available = controllers_of(layout);
        let has = |name: &str| available.iter().any(|c| c == name);
        let wanted = [
            (resources.memory.is_some(), "memory", "memory", "/linux/resources/memory"),
            (resources.cpu.is_some(), "cpu", "cpu", "/linux/resources/cpu"),
            (resources.pids.is_some(), "pids", "pids", "/linux/resources/pids"),
            (resources.block_io.is_some(), "io", "blkio", "/linux/resources/blockIO"),
            (!resources.hugepage_limits.is_empty(), "hugetlb", "hugetlb", "/linux/resources/hugepageLimits"),
            (!resources.rdma.is_empty(), "rdma", "rdma", "/linux/resources/rdma"),
        ];
        for (set, v2, v1, at) in wanted {
            if set && !has(v2) && !has(v1) {
                self.lacks(Pointer::new(at), format!("this host has no {v2} controller in its cgroups"));
            }
        }
    }

    fn resctrl(&mut self) {
        let wanted = self.spec.linux.as_ref().is_some_and(|l| l.intel_rdt.is_some());
        if wanted && crate::host::resctrl::mounted().is_none() {
            let message = "resctrl is not mounted on this host, or its CPU has none".to_owned();
            self.lacks(Pointer::new("/linux/intelRdt"), message);
        }
    }

    /// Without root only ids that /etc/subuid and /etc/subgid give can be mapped.
    fn ids(&mut self, root: bool) {
        let Some(linux) = self.spec.linux.as_ref().filter(|_| !root) else { return };
        let user = rustix::process::geteuid().as_raw();
        let own = [
            (&linux.uid_mappings, "/etc/subuid", user, "/linux/uidMappings/{}"),
            (&linux.gid_mappings, "/etc/subgid", rustix::process::getegid().as_raw(), "/linux/gidMappings/{}"),
        ];
        for (maps, file, id, at) in own {
            let ranges = subordinate(Path::new("/"), file, user);
            for (i, map) in maps.as_deref().unwrap_or_default().iter().enumerate() {
                let (start, end) = (u64::from(map.host_id), u64::from(map.host_id) + u64::from(map.size));
                let mine = map.host_id == id && map.size == 1;
                if !mine && !ranges.iter().any(|(s, e)| *s <= start && end <= *e) {
                    self.lacks(
                        Pointer::index(at, i),
                        format!("{file} does not give the ids {start} to {} to this user", end - 1),
                    );
                }
            }
        }
    }

    /// The rootfs and, as far as it can be seen without the mounts, the program in it.
    fn rootfs(&mut self) {
        let Some(path) = self.spec.root.as_ref().and_then(|r| r.path.as_deref()) else { return };
        let path = self.bundle.join(path);
        let root = match openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => root,
            Err(e) => {
                return self
                    .lacks(Pointer::new("/root/path"), format!("{}: {}", path.display(), rt_sys::errno::text(e)));
            }
        };
        self.places(&root);
        let Some(process) = &self.spec.process else { return };
        let Some(program) = process.args.as_deref().and_then(<[_]>::first) else { return };
        let covered = |candidate: &str| {
            let mounts = self.spec.mounts.as_deref().unwrap_or_default();
            mounts
                .iter()
                .any(|m| m.destination.as_deref().is_some_and(|d| candidate.starts_with(d.trim_end_matches('/'))))
        };
        let candidates = candidates(program, process);
        let found = candidates.iter().find(|c| covered(c) || is_program(&root, c));
        if let Some(path) = found {
            if !covered(path)
                && let Some(complaint) = complaint_about(&root, path, &covered)
            {
                self.lacks(Pointer::new("/process/args/0"), complaint);
            }
        } else {
            let message = if program.contains('/') {
                format!("{program}: no program in the rootfs")
            } else {
                format!("{program}: not in the directories of PATH in the rootfs")
            };
            self.lacks(Pointer::new("/process/args/0"), message);
        }
    }
}

fn candidates(program: &str, process: &Process<'_>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let env = process.env.as_deref().unwrap_or_default();
    let search = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    search.split(':').filter(|d| !d.is_empty()).map(|d| format!("{d}/{program}")).collect()
}

/// Opens what the container would find at `path` in its rootfs.
fn open_in(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn is_program(root: &OwnedFd, path: &str) -> bool {
    let Ok(file) = open_in(root, path, OFlags::PATH) else { return false };
    fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile && s.st_mode & 0o111 != 0)
}

/// What the kernel would say of the program at `path` in the rootfs: an interpreter or loader that
/// is missing, another processor.
fn complaint_about(root: &OwnedFd, path: &str, covered: &dyn Fn(&str) -> bool) -> Option<String> {
    // If this user may not read the file, the error comes when it is executed.
    let file = std::fs::File::from(open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    let mut head = [0; 1024];
    let len = file.read_at(&mut head, 0).ok()?;
    let format = Format::of(head.get(..len)?);
    let missing = |needed: &str| !covered(needed) && !is_program(root, needed);
    match &format {
        Format::Script { interpreter } => missing(interpreter).then(|| format.complaint(path, None))?,
        Format::Elf { loader: Some((at, size)), .. } => {
            let mut loader = vec![0; usize::try_from(*size).ok()?.min(4096)];
            file.read_exact_at(&mut loader, *at).ok()?;
            let loader = String::from_utf8_lossy(&loader).trim_end_matches('\0').to_owned();
            if missing(&loader) { format.complaint(path, Some(&loader)) } else { format.foreign(path) }
        }
        Format::Elf { loader: None, .. } => format.foreign(path),
        Format::Unknown { .. } => format.complaint(path, None),
    }
}

pub(super) fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn controllers_of(layout: &Layout) -> Vec<String> {
    let unified = |root: &PathBuf| {
        let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    match layout {
        Layout::V2 { root } => unified(root),
        Layout::V1 { hierarchies } => hierarchies.iter().flat_map(|h| h.controllers.clone()).collect(),
        Layout::Hybrid { hierarchies, unified: root } => {
            hierarchies.iter().flat_map(|h| h.controllers.clone()).chain(unified(root)).collect()
        }
        Layout::None => Vec::new(),
    }
}

/// The name of a user, by the passwd(5) below `root`.
pub(super) fn user_name(root: &Path, uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    passwd.lines().find_map(|l| {
        let mut fields = l.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The ranges of a user, by name or number (subuid(5)), in a file below `root`.
pub(super) fn subordinate(root: &Path, file: &str, uid: u32) -> Vec<(u64, u64)> {
    let name = user_name(root, uid);
    // No file, no ranges.
    let text = std::fs::read_to_string(root.join(file.trim_start_matches('/'))).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let owner = fields.next()?;
            let (start, size): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (Some(owner) == name.as_deref() || owner.parse() == Ok(uid)).then_some((start, start + size))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        assert_eq!(version_of("6.18.44-x"), (6, 18));
        assert_eq!(version_of("5.10.0-28-amd64"), (5, 10));
        assert!(version_of("5.9.1") < (5, 10));
    }
}
