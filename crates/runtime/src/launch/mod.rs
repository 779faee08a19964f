//! The parent's half of a launch: a process is cloned into its namespaces and its cgroup, executes the stub, gets the plan, and
//! reports back.

mod child;
mod error;
mod hooks;
mod maps;
mod network;
mod stub;
pub mod timeline;

use std::ffi::{CString, c_char};
use std::mem::ManuallyDrop;

use rt_cgroups::Entry;
use rt_init::op::{encode, flag};
use rt_init::report::{HEAD, Kind, MAX_DETAIL, Report, Step};
use rt_init::wire::{CHUNK, LENGTH, Sink};
use rt_sys::clone::{flags, spawn};
use rt_sys::mount::{Attributes, attr, set_attributes};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, prlimit, waitid,
};

use tracing::trace_span;

use crate::host::in_first_user_namespace;
use crate::plan::{Join, Op, Plan, limit_name, slot};
use crate::spec::Pointer;
use child::{BEFORE_STUB, Child, Second};

pub use error::{LateOp, LaunchError, from_late_report, what};
pub use hooks::{HookRun, run_hooks};
pub use stub::size as stub_size;

/// Descriptors for the slots of the plan.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The console socket.
    pub console: Option<OwnedFd>,
    /// The start barrier's listening socket.
    pub start: Option<OwnedFd>,
    /// The seccomp agent.
    pub agent: Option<OwnedFd>,
    /// The pidfd socket.
    pub pidfd: Option<OwnedFd>,
    /// Where init notes its times, for `--trace`.
    pub timeline: Option<OwnedFd>,
}

/// Where the process goes.
pub enum Place<'a> {
    /// New and joined namespaces, as the plan says.
    Planned,
    /// The namespaces of the process behind a pidfd: CLONE_NEW* of those that differ from ours.
    Inside(BorrowedFd<'a>, u64),
}

/// Who puts the process into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entering {
    /// The launch, by what [`Entry`] has.
    ByEntry,
    /// Somebody else, while the process waits for [`Launched::proceed`] before it does anything.
    Held,
}

/// A process that executes the stub.
#[derive(Debug)]
pub struct Launched {
    /// Its pid, as the runtime sees it.
    pub pid: i32,
    /// The process itself, whatever becomes of the number.
    pub pidfd: OwnedFd,
    socket: OwnedFd,
    ops: Vec<(Op, Pointer)>,
    /// The encoded plan, while the process is held.
    plan: Vec<u8>,
    timeline: Option<OwnedFd>,
}

/// What the stub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It waits for the hooks of the runtime namespace.
    Hooks,
    /// It is ready and waits to be released.
    Ready,
    /// It has executed the program.
    Executed,
}

struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The ops as the stub gets them, behind their length.
fn encoded(ops: &[(Op, Pointer)]) -> Vec<u8> {
    let mut bytes = Bytes(Vec::with_capacity(CHUNK));
    bytes.put(&[0; LENGTH]);
    encode(ops.iter().map(|(op, _)| op), &mut bytes);
    let length = (bytes.0.len() - LENGTH) as u64;
    bytes.0[..LENGTH].copy_from_slice(&length.to_le_bytes());
    bytes.0
}

const STACK: usize = 16 * 1024;

/// The name under which the stub shows in /proc/PID/comm.
pub const WAITING_NAME: &str = "rt:init";

/// Clones the process and starts the stub. `preserve` descriptors from 3 on stay open in the program.
/// The descriptors are for the process alone: the caller closes them when there will be no second try.
pub fn launch(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    preserve: u32,
    place: &Place<'_>,
    entering: Entering,
) -> Result<Launched, LaunchError> {
    let parent = LaunchError::parent;
    // Init may wait long at its barrier: what the caller left open and did not ask for must end at the stub, not with it.
    rt_sys::process::close_range(3 + preserve, u32::MAX, true).map_err(parent("mark descriptors close-on-exec"))?;
    let span = trace_span!("prepare init").entered();
    let idmaps = plan.idmaps.iter().map(maps::user_namespace).collect::<Result<Vec<_>, _>>()?;
    let trees = bind_sources(plan, place, &idmaps);
    let time = time_namespace(plan, place)?;
    let ops = final_ops(plan, descriptors, entry, (&idmaps, &trees, &time), preserve)?;
    let stub_fd = stub::executable().map_err(parent("make a memfd for init"))?;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(parent("make a socket pair"))?;
    inherit(theirs.as_fd())?;
    let arguments = [c"rt-init".to_owned(), number(&theirs)];
    let argv: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    // The child reads these until it has executed the stub, and nothing tells when that is: they are never given back.
    // The runtime is a short-lived process.
    let (_arguments, argv) = (ManuallyDrop::new(arguments), ManuallyDrop::new(argv));
    let wiring = Wiring { socket: theirs.as_fd(), stub: stub_fd.as_fd(), argv: argv.as_ptr() };
    drop(span);
    let (pid, pidfd) = trace_span!("clone")
        .in_scope(|| clone_process(plan, entry, place, entering == Entering::Held, &wiring, &socket))?;
    drop((theirs, stub_fd));
    let timeline = descriptors.timeline.as_ref().and_then(|file| file.try_clone().ok());
    // While the process executes the stub.
    let plan = trace_span!("encode the plan").in_scope(|| encoded(&ops));
    let mut launched = Launched { pid, pidfd, socket, ops, plan, timeline };
    if entering == Entering::ByEntry {
        launched.send_plan()?;
    }
    Ok(launched)
}

/// The source of a bind mount, opened by the parent.
struct Source {
    /// Which op of the plan it is for.
    op: usize,
    tree: OwnedFd,
    /// Whether its ids are mapped already.
    mapped: bool,
}

struct Wiring<'a> {
    socket: BorrowedFd<'a>,
    stub: BorrowedFd<'a>,
    argv: *const *const c_char,
}

fn number(fd: &OwnedFd) -> CString {
    CString::new(fd.as_raw_fd().to_string()).unwrap_or_default()
}

fn inherit(fd: BorrowedFd<'_>) -> Result<(), LaunchError> {
    fcntl_setfd(fd, FdFlags::empty()).map_err(LaunchError::parent("pass a descriptor to init"))
}

/// The plan's ops with descriptors in place, behind those that only the launcher knows of.
fn final_ops(
    plan: &Plan,
    descriptors: &Descriptors,
    entry: &Entry,
    (idmaps, trees, time): (&[OwnedFd], &[Source], &Option<OwnedFd>),
    preserve: u32,
) -> Result<Vec<(Op, Pointer)>, LaunchError> {
    let mut ops = Vec::with_capacity(plan.ops.len() + entry.tasks.len() + 2);
    if let Some(fd) = &descriptors.timeline {
        inherit(fd.as_fd())?;
        ops.push((Op::Timeline { fd: fd.as_raw_fd() }, Pointer::new("/process")));
    }
    ops.push((Op::CloseFrom { from: 3 + preserve }, Pointer::new("/process")));
    for tasks in &entry.tasks {
        inherit(tasks.as_fd())?;
        ops.push((Op::JoinCgroup { fd: tasks.as_raw_fd() }, Pointer::new("/linux/cgroupsPath")));
    }
    if let Some(fd) = time {
        inherit(fd.as_fd())?;
        ops.push((Op::EnterTime { fd: fd.as_raw_fd() }, Pointer::new("/linux/namespaces")));
    }
    let find = |wanted: i32| -> Result<i32, LaunchError> {
        let fd = match wanted {
            slot::CONSOLE => descriptors.console.as_ref(),
            slot::START => descriptors.start.as_ref(),
            slot::SECCOMP_AGENT => descriptors.agent.as_ref(),
            slot::PIDFD => descriptors.pidfd.as_ref(),
            n if n <= slot::IDMAP_BASE => idmaps.get((slot::IDMAP_BASE - n) as usize),
            n => return Ok(n),
        };
        let fd = fd.ok_or(LaunchError::Parent { what: "find a descriptor for init", errno: Errno::BADF })?;
        inherit(fd.as_fd())?;
        Ok(fd.as_raw_fd())
    };
    for (index, (op, at)) in plan.ops.iter().enumerate() {
        let mut op = op.clone();
        if let Op::Bind { tree, idmap, .. } = &mut op
            && let Some(source) = trees.iter().find(|source| source.op == index)
        {
            inherit(source.tree.as_fd())?;
            *tree = source.tree.as_raw_fd();
            if source.mapped {
                *idmap = slot::NONE;
            }
        }
        match &mut op {
            Op::Terminal { socket: fd, .. }
            | Op::AwaitStart { socket: fd }
            | Op::Seccomp { listener: fd, .. }
            | Op::SendPidfd { socket: fd, .. }
            | Op::Bind { idmap: fd, .. }
            | Op::Root { idmap: fd, .. } => *fd = find(*fd)?,
            _ => {}
        }
        ops.push((op, *at));
    }
    Ok(ops)
}

/// The time namespace to be joined. Not by the child: a process that shares its memory may not (time_namespaces(7)).
fn time_namespace(plan: &Plan, place: &Place<'_>) -> Result<Option<OwnedFd>, LaunchError> {
    match place {
        Place::Planned => {
            let mut joins = plan.namespaces.join.iter();
            joins.find(|join| join.kind.flag == flags::NEWTIME).map(open_namespace).transpose()
        }
        Place::Inside(pidfd, kinds) if kinds & flags::NEWTIME != 0 => {
            let failed = LaunchError::parent("open the container's time namespace");
            let open = || {
                let path = format!("/proc/{}/ns/time", pid_of(*pidfd)?);
                let fd = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                // Whoever is still alive was behind that number.
                pid_of(*pidfd).and(fd)
            };
            open().map(Some).map_err(failed)
        }
        Place::Inside(..) => Ok(None),
    }
}

/// The number behind a pidfd, of a process that lives.
fn pid_of(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or(Errno::SRCH)
}

/// The sources of bind mounts that root of a user namespace might not reach: opened with our rights, as detached copies,
/// and their ids mapped, which takes rights over the file system.
/// What cannot be opened or mapped is left to init, which has the words for it.
fn bind_sources(plan: &Plan, place: &Place<'_>, idmaps: &[OwnedFd]) -> Vec<Source> {
    if !plan.namespaces.has(flags::NEWUSER) || matches!(place, Place::Inside(..)) {
        return Vec::new();
    }
    let open = |source: &CString, own: u32| {
        let mut how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        how.set(OpenTreeFlags::AT_RECURSIVE, own & flag::RECURSIVE != 0);
        how.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, own & flag::SOURCE_NOFOLLOW != 0);
        open_tree(CWD, source.as_c_str(), how).ok()
    };
    let mapped = |tree: &OwnedFd, idmap: i32, own: u32| {
        let userns_fd = idmaps.get((slot::IDMAP_BASE - idmap) as usize)?.as_raw_fd() as u64;
        let map = Attributes { set: attr::IDMAP, userns_fd, ..Attributes::default() };
        set_attributes(tree.as_fd(), c"", own & flag::IDMAP_RECURSIVE != 0, &map).ok()
    };
    let binds = plan.ops.iter().enumerate().filter_map(|(op, (kind, _))| match kind {
        Op::Bind { source, flags, idmap, .. } if flags & flag::COPY_SYMLINK == 0 => {
            let tree = open(&source.0, *flags)?;
            let mapped = *idmap <= slot::IDMAP_BASE && mapped(&tree, *idmap, *flags).is_some();
            Some(Source { op, tree, mapped })
        }
        _ => None,
    });
    binds.collect()
}

fn clone_process(
    plan: &Plan,
    entry: &Entry,
    place: &Place<'_>,
    held: bool,
    wiring: &Wiring<'_>,
    socket: &OwnedFd,
) -> Result<(i32, OwnedFd), LaunchError> {
    let parent = LaunchError::parent;
    let joined = open_namespaces(plan)?;
    let joins: ManuallyDrop<Vec<(BorrowedFd<'_>, u64)>> = ManuallyDrop::new(match place {
        Place::Planned => joined.iter().map(|(fd, flag)| (fd.as_fd(), *flag)).collect(),
        Place::Inside(pidfd, kinds) => vec![(*pidfd, kinds & !flags::NEWTIME)],
    });
    let joined_kinds = joins.iter().fold(0, |all, (_, kinds)| all | kinds);
    // The first two are init's own business, after it joined its cgroup.
    let new = plan.namespaces.new & !(flags::NEWCGROUP | flags::NEWTIME | plan.namespaces.made_meanwhile());
    let new_user = new & flags::NEWUSER != 0;
    // A pid namespace takes effect for children only, and a new user namespace must own what is made with it but
    // not be needed for what is joined: both take a process that joins and one that is made there.
    let two = joined_kinds & (flags::NEWPID | flags::NEWUSER) != 0 || (new_user && !joins.is_empty());
    // With another user's rights the cgroup might not be writable any more.
    let cgroup = entry.unified.as_ref().map(AsRawFd::as_raw_fd);
    let cgroup_first = !two || joined_kinds & flags::NEWUSER != 0;
    // Like the arguments, all that the child reads stays for good.
    // Seen from another cgroup namespace, the cgroup cannot be entered any more; so that one is joined last. The process
    // that joins must not be in the cgroup itself: its limits would reach this memory.
    let last = if two && !cgroup_first {
        joins.iter().find(|(_, k)| k & flags::NEWCGROUP != 0).map(|(fd, _)| *fd)
    } else {
        None
    };
    let first_joins = joins.iter().map(|(fd, k)| (*fd, if last.is_some() { k & !flags::NEWCGROUP } else { *k }));
    let joins = ManuallyDrop::new(first_joins.filter(|(_, k)| *k != 0).collect::<Vec<_>>());
    let mut stack = ManuallyDrop::new(Box::new_uninit_slice(STACK));
    let mut second_stack = ManuallyDrop::new(Box::new_uninit_slice(if two { STACK } else { 0 }));
    // What enters a cgroup that is too small gets a copy of this memory, so that it dies alone and we tell of it.
    let shared = flags::VM | flags::CLEAR_SIGHAND;
    let base = if plan.tight_memory.is_some() { flags::CLEAR_SIGHAND } else { shared };
    let mut child = ManuallyDrop::new(Box::new(Child {
        joins: &joins,
        last_cgroup_namespace: last,
        second: two.then_some(Second {
            flags: base | flags::PARENT | new,
            cgroup: cgroup.filter(|_| !cgroup_first),
            stack: &mut second_stack,
            result: None,
        }),
        await_maps: new_user || held,
        become_root: new_user,
        socket: wiring.socket,
        stub: wiring.stub,
        argv: wiring.argv,
    }));
    let first_flags = if two { shared | flags::FILES | flags::VFORK } else { base | new };
    let arg = (&raw mut **child).cast();
    if joined_kinds != 0 {
        // The child is in reach of a container's processes while it still shares this memory.
        rt_sys::process::set_dumpable(false).map_err(parent("hide from the container"))?;
    }
    // SAFETY: `child`, the stacks and what they point to are never freed, and not written here while the child may
    // read them; the entry only makes system calls.
    let spawned = unsafe { spawn(first_flags, cgroup.filter(|_| cgroup_first), &mut stack, child::first, arg) };
    let (mut pid, mut pidfd) = spawned.map_err(parent("clone a process into the container's namespaces"))?;
    if two {
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(parent("wait for the joining process"))?;
        match child.second.as_mut().and_then(|s| s.result.take()) {
            Some(made) => (pid, pidfd) = made.map_err(parent("clone a process inside the joined namespaces"))?,
            None => return Err(before_stub(socket, &plan.namespaces.join)),
        }
    }
    if new_user {
        let mapped = maps::write_maps(pid, &plan.namespaces.maps);
        let released = mapped.and_then(|()| if held { Ok(()) } else { proceed(socket) });
        if let Err(e) = released {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            return Err(e);
        }
    }
    Ok((pid, pidfd))
}

fn unless_gone(sent: Result<(), Errno>) -> Result<(), Errno> {
    match sent {
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        other => other,
    }
}

/// Lets the child go on to the stub.
fn proceed(socket: &OwnedFd) -> Result<(), LaunchError> {
    send(socket, b"m", SendFlags::NOSIGNAL).map(drop).map_err(LaunchError::parent("let init begin"))
}

fn open_namespaces(plan: &Plan) -> Result<Vec<(OwnedFd, u64)>, LaunchError> {
    let joins = plan.namespaces.join.iter().filter(|join| join.kind.flag != flags::NEWTIME);
    joins.map(|join| Ok((open_namespace(join)?, join.kind.flag))).collect()
}

fn open_namespace(join: &Join) -> Result<OwnedFd, LaunchError> {
    let named = |errno| LaunchError::Named {
        pointer: join.at.to_string(),
        what: "open namespace",
        name: join.path.display().to_string(),
        errno,
    };
    openat(CWD, &join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(named)
}

/// The failure that the child reported before it had a plan.
fn before_stub(socket: &OwnedFd, joins: &[crate::plan::Join]) -> LaunchError {
    let mut message = [0_u8; HEAD];
    let report = match recv(socket, &mut message[..], RecvFlags::DONTWAIT) {
        Ok((n, _)) => Report::decode(message.get(..n).unwrap_or_default()).map(|(r, _)| r),
        Err(_) => None,
    };
    let errno = report.map_or(Errno::CHILD, |r| Errno::from_raw_os_error(r.errno as i32));
    match report.map(|r| r.step) {
        Some(Step::Source) if !joins.is_empty() => {
            let paths: Vec<String> = joins.iter().map(|j| j.path.display().to_string()).collect();
            LaunchError::Named {
                pointer: "/linux/namespaces".into(),
                what: "join namespaces",
                name: paths.join(", "),
                errno,
            }
        }
        Some(Step::Source) => LaunchError::Parent { what: "join the container's namespaces", errno },
        Some(Step::Idmap) => LaunchError::Parent { what: "become root of the user namespace", errno },
        Some(_) => LaunchError::Parent { what: "execute the init stub", errno },
        None => LaunchError::Parent { what: "start init", errno },
    }
}

impl Launched {
    /// Waits for what the stub says next.
    pub fn event(&self) -> Result<Event, LaunchError> {
        let _span = trace_span!("wait for init").entered();
        let mut message = [0_u8; HEAD + MAX_DETAIL];
        loop {
            let n = match recv(&self.socket, &mut message[..], RecvFlags::empty()) {
                // A process that died with unread bytes on its side resets the connection, once; what it said comes after.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                other => other.map_err(LaunchError::parent("wait for init"))?.0,
            };
            if n == 0 {
                return Ok(Event::Executed);
            }
            let Some((report, detail)) = Report::decode(message.get(..n).unwrap_or_default()) else {
                return Err(LaunchError::Parent { what: "understand init's report", errno: Errno::PROTO });
            };
            match report.kind {
                Kind::Hooks => return Ok(Event::Hooks),
                Kind::Ready => return Ok(Event::Ready),
                Kind::Warning => self.warned(&report, detail),
                Kind::Failed => return Err(self.failed(&report, detail)),
            }
        }
    }

    /// The one thing that is a warning so far: capabilities that were asked for and are not ours to give.
    fn warned(&self, report: &Report, detail: &[u8]) {
        let at = self.ops.get(report.op as usize).map(|(_, at)| at.to_string()).unwrap_or_default();
        let missing = detail.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
        let names = crate::plan::capability_names_of(missing).join(", ");
        tracing::warn!("{at}: the caller of rt does not have {names}; left out");
    }

    fn failed(&self, report: &Report, detail: &[u8]) -> LaunchError {
        let errno = Errno::from_raw_os_error(report.errno as i32);
        match self.ops.get(report.op as usize) {
            Some((op, at)) => error::from_report(op, *at, report, detail),
            None if report.op == BEFORE_STUB && report.step == Step::Source => {
                LaunchError::Parent { what: "join namespaces", errno }
            }
            None if report.op == BEFORE_STUB && report.step == Step::Idmap => {
                LaunchError::Parent { what: "become root of the new user namespace", errno }
            }
            None if report.op == BEFORE_STUB => LaunchError::Parent { what: "execute the init stub", errno },
            None => LaunchError::Parent { what: "execute the plan", errno },
        }
    }

    /// Lets a held process begin.
    pub fn proceed(&mut self) -> Result<(), LaunchError> {
        proceed(&self.socket)?;
        self.send_plan()
    }

    fn send_plan(&mut self) -> Result<(), LaunchError> {
        let plan = std::mem::take(&mut self.plan);
        let sent = plan
            .chunks(CHUNK)
            .try_for_each(|chunk| retry_on_intr(|| send(&self.socket, chunk, SendFlags::NOSIGNAL)).map(drop));
        unless_gone(sent).map_err(LaunchError::parent("send init its plan"))
    }

    /// Lets the stub go on, and tells it its pid as we see it. One that is gone has said why.
    pub fn release(&self) -> Result<(), LaunchError> {
        let go = format!("g{}", self.pid);
        unless_gone(send(&self.socket, go.as_bytes(), SendFlags::NOSIGNAL).map(drop))
            .map_err(LaunchError::parent("release init"))
    }

    /// Makes what the plan leaves to us while init is at work, and hands it over.
    pub fn make_meanwhile(&self, plan: &Plan) -> Result<(), LaunchError> {
        if plan.namespaces.made_meanwhile() & flags::NEWNET != 0 {
            let namespace = trace_span!("network namespace").in_scope(|| network::make(in_first_user_namespace()))?;
            let sent = rt_sys::socket::send_fd(self.socket.as_fd(), namespace.as_fd(), b"n");
            unless_gone(sent).map_err(LaunchError::parent("send init its network namespace"))?;
        }
        Ok(())
    }

    /// Sets resource limits that only the parent may set.
    pub fn set_limits(&self, limits: &[(u32, u64, u64)]) -> Result<(), LaunchError> {
        let pid = Pid::from_raw(self.pid);
        for (resource, soft, hard) in limits {
            let unlimited = |n: &u64| (*n != u64::MAX).then_some(*n);
            let limit = Rlimit { current: unlimited(soft), maximum: unlimited(hard) };
            let name = limit_name(*resource);
            let Some(resource) = RESOURCES.get(*resource as usize) else { continue };
            prlimit(pid, *resource, limit).map_err(|errno| LaunchError::Named {
                pointer: "/process/rlimits".into(),
                what: "set resource limit",
                name: name.to_owned(),
                errno,
            })?;
        }
        Ok(())
    }

    /// Kills the process and waits for its end; for a launch that failed.
    pub fn abort(&self) -> Option<WaitIdStatus> {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten()
    }

    /// Tells `--trace` what init has spent its time on so far; with `waits` it is at the start barrier.
    pub fn tell_timeline(&self, waits: bool) {
        let labels = self.ops.iter().enumerate().map(|(i, (op, at))| (i, what(op), at.to_string()));
        if let Some(file) = &self.timeline {
            timeline::tell(file, self.pid, labels, waits);
        }
    }

    /// The ops after the start barrier, for the errors of `start`.
    pub fn late_ops(&self) -> Vec<LateOp> {
        let barrier = self.ops.iter().position(|(op, _)| matches!(op, Op::AwaitStart { .. }));
        let Some(barrier) = barrier else { return Vec::new() };
        let late = self.ops.iter().enumerate().skip(barrier);
        late.map(|(i, (op, at))| LateOp { index: i as u32, pointer: at.to_string(), what: what(op) }).collect()
    }
}

const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];
