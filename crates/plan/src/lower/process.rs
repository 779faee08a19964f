//! `process` (config.md "Process"): from the terminal to the exec, for a container's init and for
//! exec'd processes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rt_protocol::descriptor::{Descriptor, Slot};
use rt_protocol::flags::namespace;
use rt_protocol::op::{self, flag};
use rt_protocol::wire::Blob;

use super::{Console, Host, Lowering, Namespaces, Plan, Request, capabilities};
use crate::spec::{Fault, Pointer, Process, Spec, SpecError, Text};

/// rlimits by number (asm-generic/resource.h).
const LIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// The name of a resource limit, RLIMIT_*.
pub fn limit_name(number: u32) -> &'static str {
    LIMITS.get(number as usize).copied().unwrap_or("an unknown resource limit")
}

/// What the parent does for the process.
#[derive(Default)]
pub(super) struct Prepared {
    pub unattended: bool,
    pub limits: Vec<(u32, u64, u64)>,
    pub oom_score_adj: Option<i32>,
    pub seccomp_agent: Option<PathBuf>,
    pub seccomp: Option<Vec<u8>>,
}

/// How the filter gets to the process.
enum Filter {
    None,
    /// Compiled bytes and flags; a listener goes to the agent.
    Program {
        bytes: Vec<u8>,
        flags: u32,
        notify: bool,
    },
}

/// What `exec` knows beside the process.
#[derive(Clone, Debug)]
pub struct ExecRequest<'a> {
    /// The container's request, with the fields of exec: console, fds, id, bundle.
    pub request: Request<'a>,
    /// The container's namespaces (CLONE_NEW*).
    pub namespaces: u64,
    /// The encoded seccomp program of the container.
    pub seccomp: Option<&'a [u8]>,
}

/// Lowers a process to be executed in an existing container.
pub fn lower_exec(spec: &Spec<'_>, host: &Host, exec: &ExecRequest<'_>) -> Result<Plan, SpecError> {
    let mut low = Lowering {
        spec,
        host,
        request: &exec.request,
        namespaces: Namespaces { new: exec.namespaces, ..Namespaces::default() },
        ops: Vec::with_capacity(32),
        problems: Vec::new(),
        warnings: Vec::new(),
        idmaps: Vec::new(),
        rootfs: PathBuf::new(),
        propagation: None,
        host_mounts: None,
    };
    let mut prepared = Prepared::default();
    if let Some(process) = &spec.process {
        low.exec_affinity(process);
        low.personality();
        low.memory_policy();
        if !exec.request.no_new_keyring {
            let at = Pointer::new("/process");
            let name = low.text(&format!("_ses.{}", exec.request.id), at);
            let label = low.text("", at);
            low.push(op::Op::SessionKeyring { name, label }, at);
        }
        low.terminal_of(process, false);
        let filter = match exec.seccomp.map(rt_seccomp::Program::from_bytes) {
            None => Filter::None,
            Some(Ok(program)) => {
                Filter::Program { bytes: filter_bytes(&program), flags: program.flags, notify: program.notify }
            }
            Some(Err(e)) => {
                low.wrong(Pointer::new("/linux/seccomp"), Fault::Seccomp(e.to_string()));
                Filter::None
            }
        };
        prepared = low.process_ops(process, filter, Role::Executed);
        prepared.seccomp_agent = low.listener_path();
    } else {
        low.wrong(Pointer::new("/process"), Fault::Missing);
    }
    if !low.problems.is_empty() {
        return Err(SpecError::Invalid(low.problems));
    }
    Ok(Plan {
        namespaces: Namespaces::default(),
        ops: low.ops,
        idmaps: Vec::new(),
        unattended: false,
        limits: prepared.limits,
        oom_score_adj: prepared.oom_score_adj,
        tight_memory: None,
        net_devices: Vec::new(),
        resctrl: None,
        devices: Vec::new(),
        seccomp_agent: prepared.seccomp_agent,
        seccomp: None,
        rootfs: PathBuf::new(),
        host_mounts: None,
        warnings: low.warnings,
    })
}

fn filter_bytes(program: &rt_seccomp::Program) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.filter.len() * 8);
    for i in &program.filter {
        bytes.extend_from_slice(&i.code.to_le_bytes());
        bytes.extend_from_slice(&[i.jt, i.jf]);
        bytes.extend_from_slice(&i.k.to_le_bytes());
    }
    bytes
}

/// Of several entries of one name the last, in their order: programs disagree on which of two
/// counts.
fn last_of_each(mut entries: Vec<&str>) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    entries.reverse();
    entries.retain(|entry| seen.insert(entry.split_once('=').map_or(*entry, |(name, _)| name)));
    entries.reverse();
    entries
}

/// What a process is to its container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The first process, which may wait for `start`, and has hooks.
    Init,
    /// A process that joins the container later.
    Executed,
}

impl Lowering<'_> {
    /// The terminal of a container's init, which is also its /dev/console.
    pub(super) fn terminal(&mut self) {
        if let Some(process) = &self.spec.process {
            self.terminal_of(process, true);
        }
    }

    fn terminal_of(&mut self, process: &Process<'_>, console: bool) {
        let at = Pointer::new("/process/terminal");
        if !process.terminal.unwrap_or(false) {
            self.push(op::Op::NewSession {}, at);
            return;
        }
        if self.request.console == Console::Absent {
            return;
        }
        let size = process.console_size.unwrap_or_default();
        let (columns, rows) = (size.width.unwrap_or(0), size.height.unwrap_or(0));
        if columns > 0xffff || rows > 0xffff {
            let fault = Fault::Rule("width and height must be below 65536");
            self.wrong(Pointer::new("/process/consoleSize"), fault);
        }
        let console = u32::from(console);
        let relayed = u32::from(self.request.console == Console::Relayed);
        self.push(op::Op::Terminal { socket: Descriptor::Slot(Slot::Console), columns, rows, console, relayed }, at);
    }

    /// All of `process` for a container's init.
    pub(super) fn process(&mut self) -> Prepared {
        let spec = self.spec;
        self.all_cpus();
        self.personality();
        self.memory_policy();
        let Some(process) = &spec.process else {
            self.wrong(Pointer::new("/process"), Fault::Missing);
            return Prepared::default();
        };
        let (filter, program) = self.filter();
        // Without an action that asks it, an agent has nothing to do.
        let agent = matches!(filter, Filter::Program { notify: true, .. }).then(|| self.listener_path()).flatten();
        let mut prepared = self.process_ops(process, filter, Role::Init);
        prepared.seccomp = program;
        prepared.seccomp_agent = agent;
        prepared
    }

    fn listener_path(&self) -> Option<PathBuf> {
        let profile = self.linux()?.seccomp.as_ref()?;
        profile.listener_path.as_deref().filter(|p| !p.is_empty()).map(PathBuf::from)
    }

    /// `linux.seccomp`, compiled.
    fn filter(&mut self) -> (Filter, Option<Vec<u8>>) {
        let Some(profile) = self.linux().and_then(|l| l.seccomp.as_ref()) else { return (Filter::None, None) };
        if profile.is_empty() {
            let why = "has neither defaultAction nor syscalls: the container gets no filter";
            self.warn(Pointer::new("/linux/seccomp"), Fault::Rule(why));
            return (Filter::None, None);
        }
        let host = rt_seccomp::HostSeccomp { native: self.host.arch, ..Default::default() };
        match rt_seccomp::compile(profile, &host) {
            Ok(program) if program.filter.is_empty() => (Filter::None, None),
            Ok(program) => {
                if let Some(refusal) = rt_seccomp::refusal_to_execute(profile, &program, &host) {
                    self.wrong(Pointer::new("/linux/seccomp"), Fault::Seccomp(refusal));
                }
                let saved = program.to_bytes();
                let filter =
                    Filter::Program { bytes: filter_bytes(&program), flags: program.flags, notify: program.notify };
                (filter, Some(saved))
            }
            Err(e) => {
                let pointer = format!("/linux/seccomp{}", e.pointer());
                self.problems.push(crate::spec::Problem { pointer, fault: Fault::Seccomp(e.to_string()) });
                (Filter::None, None)
            }
        }
    }

    /// From the scheduler to the exec.
    fn process_ops(&mut self, process: &Process<'_>, filter: Filter, role: Role) -> Prepared {
        let mut prepared = Prepared { oom_score_adj: self.oom_score(process), ..Prepared::default() };
        let at = Pointer::new("/process");
        self.scheduling(process);
        self.limits(process, &mut prepared);
        self.prepare_label(process);
        let user = process.user.clone().unwrap_or_default();
        let uid = self.id(user.uid.unwrap_or(0), Pointer::new("/process/user/uid"));
        let gid = self.id(user.gid.unwrap_or(0), Pointer::new("/process/user/gid"));
        // The specification's default is the runtime's choice; all peers choose 0022. The kernel
        // drops what is beyond 0777.
        let mask = user.umask.unwrap_or(0o022) & 0o777;
        self.push(op::Op::Umask { mask }, Pointer::new("/process/user/umask"));
        let sets = self.capability_sets(process.capabilities.as_ref());
        let no_new_privileges = process.no_new_privileges.unwrap_or(false);
        let cwd = self.working_directory(process);
        self.push(op::Op::WorkingDirectory { path: cwd.clone(), last: 0 }, Pointer::new("/process/cwd"));
        self.push(op::Op::OwnStdio { uid }, Pointer::new("/process/user/uid"));
        self.push(
            op::Op::Bounding { keep: sets.bounding, last: capabilities::LAST },
            Pointer::new("/process/capabilities/bounding"),
        );
        let gids = user.additional_gids.as_deref().unwrap_or_default();
        for (i, gid) in gids.iter().enumerate() {
            self.id(*gid, Pointer::index("/process/user/additionalGids/{}", i));
        }
        let keep = self.keep_groups(gids);
        let groups = Blob(gids.iter().flat_map(|g| g.to_le_bytes()).collect());
        self.push(op::Op::User { uid, gid, groups, keep_groups: u32::from(keep) }, Pointer::new("/process/user"));
        let needs_admin = matches!(filter, Filter::Program { .. }) && !no_new_privileges;
        self.push(
            op::Op::Capabilities {
                effective: sets.effective,
                permitted: sets.permitted,
                inheritable: sets.inheritable,
                ambient: sets.ambient,
                held: if needs_admin { capabilities::SYS_ADMIN } else { 0 },
            },
            Pointer::new("/process/capabilities"),
        );
        if no_new_privileges {
            self.push(op::Op::NoNewPrivileges {}, Pointer::new("/process/noNewPrivileges"));
        }
        self.push(op::Op::WorkingDirectory { path: cwd, last: 1 }, Pointer::new("/process/cwd"));
        self.program(process);
        if self.request.pidfd_socket {
            let payload = Blob(if role == Role::Init { b"standard".to_vec() } else { b"setns".to_vec() });
            self.push(op::Op::SendPidfd { socket: Descriptor::Slot(Slot::Pidfd), payload }, at);
        }
        if role == Role::Init {
            let meets_before = self.ops.iter().any(|(op, _)| matches!(op, op::Op::AwaitHooks {}));
            let asks = self
                .ops
                .iter()
                .any(|(op, _)| matches!(op, op::Op::Bind(op::Bind { flags, .. }) if flags & flag::BY_PARENT != 0));
            prepared.unattended = !self.request.barrier && !meets_before && !asks && prepared.limits.is_empty();
            self.push(op::Op::Ready { quiet: u32::from(prepared.unattended) }, at);
            if self.request.barrier {
                self.push(op::Op::AwaitStart { socket: Descriptor::Slot(Slot::Start) }, at);
            }
        } else if matches!(filter, Filter::Program { notify: true, .. }) {
            // The agent gets the pid, which only the parent knows.
            self.push(op::Op::Ready { quiet: 0 }, at);
        }
        if let Filter::Program { bytes, flags, notify } = filter {
            self.attach_filter(bytes, flags, notify);
        }
        if role == Role::Init {
            self.start_container_hooks();
        }
        self.write_label(process);
        self.exec(process, uid);
        prepared
    }

    fn oom_score(&mut self, process: &Process<'_>) -> Option<i32> {
        let value = process.oom_score_adj?;
        if !(-1000..=1000).contains(&value) {
            let fault = Fault::Value { value: value.to_string(), why: "must be between -1000 and 1000" };
            self.wrong(Pointer::new("/process/oomScoreAdj"), fault);
        }
        Some(value)
    }

    fn limits(&mut self, process: &Process<'_>, prepared: &mut Prepared) {
        let mut seen = 0_u32;
        for (i, limit) in process.rlimits.as_deref().unwrap_or_default().iter().enumerate() {
            let at = Pointer::index("/process/rlimits/{}", i);
            let name = limit.kind.as_deref().unwrap_or_default();
            let Some(resource) = LIMITS.iter().position(|l| *l == name) else {
                let known = "RLIMIT_AS, _CORE, _CPU, _DATA, _FSIZE, _LOCKS, _MEMLOCK, _MSGQUEUE, _NICE, _NOFILE, _NPROC, _RSS, _RTPRIO, _RTTIME, _SIGPENDING, _STACK";
                let fault =
                    if name.is_empty() { Fault::Missing } else { Fault::Unknown { value: name.to_owned(), known } };
                self.wrong(Pointer::index("/process/rlimits/{}/type", i), fault);
                continue;
            };
            if seen & (1 << resource) != 0 {
                self.wrong(at, Fault::Duplicate);
                continue;
            }
            seen |= 1 << resource;
            let (soft, hard) = (limit.soft.unwrap_or(0), limit.hard.unwrap_or(0));
            if soft > hard {
                self.wrong(at, Fault::Rule("soft must not be above hard"));
            }
            if self.namespaces.has(namespace::NEWUSER) {
                // Raising a hard limit takes a right over the host that init does not have there.
                prepared.limits.push((resource as u32, soft, hard));
            } else {
                self.push(op::Op::Limit { resource: resource as u32, soft, hard }, at);
            }
        }
    }

    fn keep_groups(&mut self, gids: &[u32]) -> bool {
        let annotations = self.spec.annotations.as_ref();
        let asked =
            annotations.and_then(|a| a.get(&"run.oci.keep_original_groups".into())).is_some_and(|v| &**v == "1");
        if gids.len() > 1024 {
            self.wrong(Pointer::new("/process/user/additionalGids"), Fault::Rule("has more than 1024 entries"));
        }
        // Without root, setgroups is denied in the user namespace (user_namespaces(7)); there is
        // nothing to drop then.
        let denied = self.namespaces.has(namespace::NEWUSER) && !self.host.root;
        if denied
            && !gids.is_empty()
            && self.namespaces.maps.gid.len() <= 1
            && self.namespaces.maps.gid.iter().all(|m| m.size <= 1)
        {
            let fault = Fault::Rule("cannot be set without root: setgroups(2) is denied in this user namespace");
            self.wrong(Pointer::new("/process/user/additionalGids"), fault);
        }
        asked || (denied && gids.is_empty())
    }

    fn working_directory(&mut self, process: &Process<'_>) -> rt_protocol::wire::Str<std::ffi::CString> {
        let at = Pointer::new("/process/cwd");
        match process.cwd.as_deref() {
            None => self.wrong(at, Fault::Missing),
            Some("") => self.wrong(at, Fault::Empty),
            Some(cwd) if !cwd.starts_with('/') => {
                self.wrong(at, Fault::Value { value: cwd.to_owned(), why: "must be an absolute path" });
            }
            Some(cwd) => return self.text(cwd, at),
        }
        self.text("/", at)
    }

    fn program(&mut self, process: &Process<'_>) {
        let at = Pointer::new("/process/args");
        let args = process.args.as_deref().unwrap_or_default();
        let Some(file) = args.first() else {
            return self.wrong(at, Fault::Empty);
        };
        let env = process.env.as_deref().unwrap_or_default();
        // Of several entries the last counts, for the program as for this look-up.
        let search = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
        let search = self.text(search, Pointer::new("/process/env"));
        let file = self.text(file, Pointer::new("/process/args/0"));
        self.push(op::Op::FindProgram { file, search }, Pointer::new("/process/args/0"));
    }

    fn label_of<'p>(&mut self, process: &'p Process<'_>) -> Option<(&'p str, &'static str, Pointer)> {
        let apparmor = process.apparmor_profile.as_deref().filter(|p| !p.is_empty());
        let selinux = process.selinux_label.as_deref().filter(|l| !l.is_empty());
        match (apparmor, selinux) {
            (Some(_), Some(_)) => {
                let fault = Fault::Rule("apparmorProfile and selinuxLabel cannot both be set");
                self.wrong(Pointer::new("/process/apparmorProfile"), fault);
                None
            }
            (Some(profile), None) => Some((profile, "apparmor", Pointer::new("/process/apparmorProfile"))),
            (None, Some(label)) => Some((label, "selinux", Pointer::new("/process/selinuxLabel"))),
            (None, None) => None,
        }
    }

    /// The attribute file is opened while procfs is at hand; it is written at the end, to take
    /// effect at exec.
    fn prepare_label(&mut self, process: &Process<'_>) {
        if let Some((_, lsm, at)) = self.label_of(process) {
            let file = self.text(if lsm == "apparmor" { "self/attr/apparmor/exec" } else { "self/attr/exec" }, at);
            self.push(op::Op::PrepareLabel { file }, at);
        }
    }

    fn write_label(&mut self, process: &Process<'_>) {
        if let Some((label, lsm, at)) = self.label_of(process) {
            let value = if lsm == "apparmor" { format!("exec {label}") } else { label.to_owned() };
            self.push(op::Op::Label { value: Blob(value.into_bytes()) }, at);
        }
    }

    fn attach_filter(&mut self, bytes: Vec<u8>, flags: u32, notify: bool) {
        let at = Pointer::new("/linux/seccomp");
        let (mut listener, mut head, mut tail) = (Descriptor::None, Vec::new(), Vec::new());
        if notify && self.listener_path().is_none() {
            // Without a path no agent would ever answer, and Docker before 23.0 drops the path from
            // its profiles.
            let fault = Fault::Rule("must be set where SCMP_ACT_NOTIFY is used");
            self.wrong(Pointer::new("/linux/seccomp/listenerPath"), fault);
        } else if notify {
            listener = Descriptor::Slot(Slot::SeccompAgent);
            let profile = self.linux().and_then(|l| l.seccomp.as_ref());
            let metadata = profile.and_then(|p| p.listener_metadata.as_deref()).unwrap_or_default();
            (head, tail) = crate::hook_state::seccomp_message_around_pid(
                self.spec,
                self.request.id,
                self.request.bundle,
                metadata,
            );
        }
        let op = op::Op::Seccomp {
            program: Blob(bytes),
            flags,
            listener,
            message_head: Blob(head),
            message_tail: Blob(tail),
        };
        self.push(op, at);
    }

    fn exec(&mut self, process: &Process<'_>, uid: u32) {
        let env = process.env.as_deref().unwrap_or_default();
        for (i, entry) in env.iter().enumerate() {
            if !entry.contains('=') {
                let fault = Fault::Value { value: entry.to_string(), why: "must be NAME=VALUE" };
                self.warn(Pointer::index("/process/env/{}", i), fault);
            }
        }
        let (env, home) = self.environment(env);
        let args = process.args.as_deref().unwrap_or_default();
        let argv = self.texts(args.iter().map(|a| &**a), "/process/args/{}");
        self.push(op::Op::Exec { argv, env, home: u32::from(home), uid }, Pointer::new("/process/args"));
    }

    /// The environment of the container's program, and whether HOME is left to init, which can read
    /// the container's passwd(5).
    pub(super) fn environment(&mut self, env: &[Text<'_>]) -> (Blob<Vec<u8>>, bool) {
        let mut extra = Vec::new();
        if self.request.listen_fds > 0 {
            extra.push(format!("LISTEN_FDS={}", self.request.listen_fds));
            extra.push("LISTEN_PID=1".to_owned());
            if let Some(names) = self.request.listen_names {
                extra.push(format!("LISTEN_FDNAMES={names}"));
            }
        }
        if self.request.notify_dir.is_some() {
            extra.push("NOTIFY_SOCKET=/run/notify/notify.sock".to_owned());
        }
        let texts = env.iter().map(|e| &**e).chain(extra.iter().map(String::as_str));
        let mut texts = last_of_each(texts.collect());
        // An empty HOME is as good as none.
        texts.retain(|e| *e != "HOME=");
        let home = !texts.iter().any(|e| e.starts_with("HOME="));
        (self.texts(texts.into_iter(), "/process/env/{}"), home)
    }
}
