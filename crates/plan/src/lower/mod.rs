//! Lowering: a config becomes a plan. Pure functions, one file per concern, in the order in which
//! init executes.
//!
//! Nothing here makes a system call; what the host can do comes in as [`Host`], what the caller
//! asked for as [`Request`].

mod ahead;
mod capabilities;
mod cgroup_mount;
mod devices;
mod hooks;
mod mount_namespace;
mod mounts;
mod namespaces;
mod network;
mod options;
mod paths;
mod process;
mod protect;
mod resctrl;
mod scheduling;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rt_protocol::op;
use rt_protocol::wire::{Blob, Str};
use rt_resources::{DeviceRule, Layout, Location, Resources, Severity};

use crate::spec::{Fault, IdMapping, Pointer, Problem, Spec, SpecError, sort_problems};

pub use capabilities::{Sets, known_names as capability_names, names_of as capability_names_of};
pub use namespaces::{Join, Kind as NamespaceKind, Namespaces};
pub use network::NetDevice;
pub use options::known as mount_option_names;
pub use process::{ExecRequest, limit_name, lower_exec};
pub use protect::path_of_sysctl;
pub use resctrl::Resctrl;

/// An op as `rt` holds it.
pub type Op = op::Op<CString, Vec<u8>>;

/// Facts of this host that lowering needs.
#[derive(Clone, Debug)]
pub struct Host {
    /// How cgroups are mounted.
    pub layout: Layout,
    /// The caller's effective user id is 0.
    pub root: bool,
    /// The caller is in the host's first user namespace, not in a user namespace that was made
    /// later.
    pub first_user_namespace: bool,
    /// The kernel has /proc/kcore.
    pub kcore: bool,
    /// The kernel's own architecture, which every seccomp filter covers.
    pub arch: rt_seccomp::Arch,
}

impl Host {
    /// The host as far as it matters to a process that joins an existing container: the container's
    /// cgroups and namespaces are there, so only the caller's rights count.
    pub fn of_executed(root: bool) -> Host {
        Host { layout: Layout::None, root, first_user_namespace: false, kcore: false, arch: rt_seccomp::Arch::native() }
    }
}

/// How the container gets its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// The master goes over a socket of the caller.
    Socket,
    /// The master goes to this process, which relays it to the caller's terminal.
    Relayed,
    /// None was offered.
    Absent,
}

/// What the caller asked for beside the config.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// Where its cgroup will be.
    pub cgroup: &'a Location,
    /// Where a terminal's master would go.
    pub console: Console,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// Descriptors of socket activation (LISTEN_FDS), which come before the preserved ones, and
    /// LISTEN_FDNAMES.
    pub listen_fds: u32,
    /// Names of the descriptors of socket activation.
    pub listen_names: Option<&'a str>,
    /// The host's directory that holds the container's notify socket.
    pub notify_dir: Option<&'a Path>,
    /// `--pidfd-socket` was given.
    pub pidfd_socket: bool,
    /// Wait for `rt start` after everything is prepared.
    pub barrier: bool,
    /// The caller's environment, for hooks that have none of their own: `NAME=VALUE`, each with its
    /// NUL.
    pub environment: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request with nothing beside the config.
    pub fn plain(id: &'a str, bundle: &'a Path, cgroup: &'a Location) -> Request<'a> {
        Request {
            id,
            bundle,
            cgroup,
            console: Console::Absent,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: 0,
            listen_names: None,
            notify_dir: None,
            pidfd_socket: false,
            barrier: false,
            environment: &[],
        }
    }
}

/// Two id maps of one user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMapping>,
    /// Group ids.
    pub gid: Vec<IdMapping>,
}

/// Where the id map of a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idmap {
    /// A user namespace is made for these maps.
    Maps(IdMaps),
    /// The user namespace that the container joins has them.
    Joined,
}

/// Everything that will be done for a container.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which namespaces are made and which joined.
    pub namespaces: Namespaces,
    /// What init does, each op with the field it comes from.
    pub ops: Vec<(Op, Pointer)>,
    /// Id maps of mounts, for `Slot::Idmap`.
    pub idmaps: Vec<Idmap>,
    /// Init needs nothing of the parent when it is ready, so the parent may release it in advance.
    pub unattended: bool,
    /// Resource limits that the parent sets, because init will not have the right to.
    pub limits: Vec<(u32, u64, u64)>,
    /// oom_score_adj, inherited from the parent.
    pub oom_score_adj: Option<i32>,
    /// A memory limit so low that the kernel may kill init before it executes the stub, together
    /// with all processes that share its memory.
    pub tight_memory: Option<i64>,
    /// Network devices that the parent moves into the container while init waits.
    pub net_devices: Vec<NetDevice>,
    /// The class of cache and memory bandwidth.
    pub resctrl: Option<Resctrl>,
    /// The device rules of the cgroup, defaults included.
    pub devices: Vec<DeviceRule>,
    /// Where the seccomp listener goes.
    pub seccomp_agent: Option<PathBuf>,
    /// The encoded seccomp program, for the processes that are executed later.
    pub seccomp: Option<Vec<u8>>,
    /// The rootfs, absolute.
    pub rootfs: PathBuf,
    /// Why the container's mount namespace begins as a copy of the host's, if it does.
    pub host_mounts: Option<&'static str>,
    /// Fields that were understood but can have no effect; they are reported as warnings.
    pub warnings: Vec<Problem>,
}

/// Several times what init needs, see docs/limits.md.
const TIGHT_MEMORY: i64 = 1 << 20;

/// The state of one lowering: what has been produced, and all that was found wrong.
struct Lowering<'a> {
    spec: &'a Spec<'a>,
    host: &'a Host,
    request: &'a Request<'a>,
    namespaces: Namespaces,
    ops: Vec<(Op, Pointer)>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    idmaps: Vec<Idmap>,
    /// The rootfs, absolute.
    rootfs: PathBuf,
    /// `linux.rootfsPropagation`, once it was read.
    propagation: Option<(u64, bool)>,
    /// Why the mount namespace begins as a copy of the host's.
    host_mounts: Option<&'static str>,
}

/// Lowers a config. All violations are reported at once, in the order of the specification.
pub fn lower(spec: &Spec<'_>, host: &Host, request: &Request<'_>) -> Result<Plan, SpecError> {
    let mut low = Lowering {
        spec,
        host,
        request,
        namespaces: Namespaces::default(),
        ops: Vec::with_capacity(96),
        problems: Vec::new(),
        warnings: Vec::new(),
        idmaps: Vec::new(),
        rootfs: PathBuf::new(),
        propagation: None,
        host_mounts: None,
    };
    low.namespaces();
    low.rootfs = low.rootfs();
    low.enter_namespaces();
    low.root_mount();
    low.mounts();
    low.devices();
    low.working_directory_exists();
    low.terminal();
    low.network();
    let net_devices = low.net_devices();
    low.runtime_hooks(!net_devices.is_empty());
    low.create_container_hooks();
    low.sysctls();
    low.protected_paths();
    low.change_root();
    low.names();
    let prepared = low.process();
    low.mount_namespace();
    low.work_ahead_of_network();
    let resources = spec.linux.as_ref().and_then(|l| l.resources.as_ref());
    if let Some(resources) = resources {
        let (problems, warnings) = problems_with_limits(resources, &host.layout);
        low.problems.extend(problems);
        low.warnings.extend(warnings);
    }
    let devices = low.device_rules(resources);
    let resctrl = low.resctrl();
    if !low.problems.is_empty() {
        sort_problems(&mut low.problems);
        return Err(SpecError::Invalid(low.problems));
    }
    Ok(Plan {
        namespaces: low.namespaces,
        ops: low.ops,
        idmaps: low.idmaps,
        unattended: prepared.unattended,
        limits: prepared.limits,
        oom_score_adj: prepared.oom_score_adj,
        tight_memory: resources
            .and_then(|r| r.memory.as_ref()?.limit)
            .filter(|limit| (1..TIGHT_MEMORY).contains(limit)),
        net_devices,
        resctrl,
        devices,
        seccomp_agent: prepared.seccomp_agent,
        seccomp: prepared.seccomp,
        rootfs: low.rootfs,
        host_mounts: low.host_mounts,
        warnings: low.warnings,
    })
}

impl<'a> Lowering<'a> {
    fn push(&mut self, op: Op, at: Pointer) {
        self.ops.push((op, at));
    }

    fn wrong(&mut self, at: Pointer, fault: Fault) {
        self.problems.push(Problem { pointer: at.to_string(), fault });
    }

    fn warn(&mut self, at: Pointer, fault: Fault) {
        self.warnings.push(Problem { pointer: at.to_string(), fault });
    }

    /// A user or group id for the kernel. To the kernel 4294967295 is -1, which stands for
    /// "unchanged" (setresuid(2), chown(2)).
    fn id(&mut self, id: u32, at: Pointer) -> u32 {
        if id == u32::MAX {
            let why = "is no id: the kernel takes it for -1, which stands for \"unchanged\"";
            self.wrong(at, Fault::Value { value: id.to_string(), why });
        }
        id
    }

    /// A string for the kernel. A string with a NUL inside is reported and becomes empty.
    fn text(&mut self, text: &str, at: Pointer) -> Str<CString> {
        Str(CString::new(text).unwrap_or_else(|_| {
            self.wrong(at, Fault::Nul);
            CString::default()
        }))
    }

    /// NUL-terminated strings in one blob.
    fn texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>, template: &'static str) -> Blob<Vec<u8>> {
        let mut blob = Vec::new();
        for (i, text) in texts.enumerate() {
            if text.contains('\0') {
                self.wrong(Pointer::index(template, i), Fault::Nul);
            }
            blob.extend_from_slice(text.as_bytes());
            blob.push(0);
        }
        Blob(blob)
    }

    fn linux(&self) -> Option<&'a crate::spec::Linux<'a>> {
        self.spec.linux.as_ref()
    }

    /// The rootfs, absolute (config.md "Root"). Init finds out whether it exists when it opens it.
    fn rootfs(&mut self) -> PathBuf {
        let path = self.spec.root.as_ref().and_then(|r| r.path.as_deref());
        match path {
            None => self.wrong(Pointer::new("/root/path"), Fault::Missing),
            Some("") => self.wrong(Pointer::new("/root/path"), Fault::Empty),
            Some(path) => return paths::absolute(self.request.bundle, path),
        }
        PathBuf::new()
    }
}

/// The parts of `linux.resources` that the cgroup would refuse, and those that it could not honour.
pub fn problems_with_limits(resources: &Resources, layout: &Layout) -> (Vec<Problem>, Vec<Problem>) {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        resources.check(layout).into_iter().partition(|problem| problem.severity == Severity::Error);
    let named = |problems: Vec<rt_resources::Problem>| {
        let pointer = |pointer: &str| format!("/linux/resources{pointer}");
        let problems = problems.into_iter();
        problems.map(|p| Problem { pointer: pointer(&p.pointer), fault: Fault::Resources(p.message) }).collect()
    };
    (named(errors), named(warnings))
}
