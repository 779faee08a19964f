//! The loop: read an op, execute it, report.

use rt_protocol::descriptor::Descriptor;
use rt_protocol::greeting::Greeting;
use rt_protocol::op::{self, Op, flag};
use rt_protocol::report::{HEAD, Kind, LENT, Lent, Report, Step};
use rt_sys::process::{self, SchedAttr};
use rt_sys::{exec::exit, socket::send_fd};
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    DumpableBehavior, PidfdFlags, Rlimit, chdir, chroot, fchdir, getpid, pidfd_open, set_dumpable_behavior, setrlimit,
    setsid, umask,
};
use rustix::thread::{
    ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, set_name, set_no_new_privs, unshare_unsafe,
};

use crate::fail::{At, Fail};
use crate::files::Host;
use crate::hook;
use crate::mounts::{self, Mounts};
use crate::program::{self, Program};
use crate::temporary::{Temporary, close_finished};
use crate::terminal::Terminal;
use crate::timeline::Timeline;
use crate::{credentials, files, plan, proc, start, terminal};

/// What ops leave for later ones.
struct Init {
    mounts: Mounts,
    label: Option<OwnedFd>,
    program: Option<Program>,
    filter: Option<Filter>,
    entered: bool,
    /// Init's pid as its creator sees it, in decimal.
    outer_pid: ([u8; 15], usize),
    timeline: Timeline,
    /// What hooks get: the caller's umask, later the program's.
    umask: Mode,
    /// Where reports go: to `rt create` at first, to `rt start` after the start barrier.
    peer: Option<OwnedFd>,
}

/// `Op::Seccomp`, kept until the moment before execve(2): a profile lists the calls of the program,
/// not those of init.
#[derive(Clone, Copy)]
struct Filter {
    index: u32,
    program: &'static [u8],
    flags: u32,
    listener: Descriptor,
    message: (&'static [u8], &'static [u8]),
}

/// Executes the plan that arrives over `peer`. Never returns: it ends by executing the program or
/// by exiting.
pub fn run(peer: OwnedFd) -> ! {
    // The stub's memfd is unreadable, which makes init undumpable from execve(2) on; this call
    // covers a kernel that would still allow it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A signal that asks init to end must still be pending when init waits at the barrier. The
    // program starts with no signal blocked.
    let _ = process::set_signal_mask(start::ENDING);
    // Files are made with exactly the modes that the plan gives.
    let callers_umask = umask(Mode::empty());
    let mut init = Init {
        umask: callers_umask,
        mounts: Mounts::default(),
        label: None,
        program: None,
        filter: None,
        entered: false,
        outer_pid: ([0; 15], 0),
        timeline: Timeline::default(),
        peer: Some(peer),
    };
    // By this name `rt` recognises the init of a container that waits.
    if let Err(e) = set_name(c"rt:init") {
        init.give_up(0, Fail::new(Step::LoadPlan, e));
    }
    let bytes = match init.peer.as_ref().map(plan::receive) {
        Some(Ok(Some(bytes))) => bytes,
        Some(Err(e)) => init.give_up(0, Fail::new(Step::LoadPlan, e)),
        _ => exit(255),
    };
    let Ok((count, mut reader)) = op::decode(bytes) else {
        init.give_up(0, Fail::new(Step::LoadPlan, Errno::INVAL));
    };
    for index in 0..count {
        let done = match op::next(&mut reader) {
            Ok(op) => {
                init.timeline.begins(index);
                init.execute(index as u32, op)
            }
            Err(_) => Err(Fail::new(Step::LoadPlan, Errno::INVAL)),
        };
        if let Err(fail) = done {
            init.give_up(index as u32, fail);
        }
    }
    init.give_up(count as u32, Fail::new(Step::LoadPlan, Errno::INVAL))
}

impl Init {
    fn report(&self, kind: Kind, op: u32, step: Step, errno: u32, detail: &[u8]) -> Result<(), Errno> {
        report(self.peer.as_ref(), &Report { kind, op, step, errno }, detail)
    }

    fn give_up(&self, op: u32, fail: Fail) -> ! {
        let detail = fail.detail.as_ref().map_or(&b""[..], |d| d.bytes());
        let _ = self.report(Kind::Failed, op, fail.step, fail.errno, detail);
        exit(255)
    }

    /// Reports `kind` and waits for the parent's answer.
    fn report_and_wait(&mut self, kind: Kind, op: u32) -> Result<(), Fail> {
        // A parent that did not get this report would wait for it, and init would wait for the
        // parent.
        if self.report(kind, op, Step::Only, 0, b"").is_err() {
            exit(255);
        }
        // The parent may set a limit on open files now, so init closes what it no longer needs.
        close_finished();
        self.await_release()
    }

    /// Waits for the release, which carries init's pid. If the parent has gone, init ends.
    fn await_release(&mut self) -> Result<(), Fail> {
        let mut answer = [0_u8; 16];
        let peer = self.peer.as_ref().ok_or(Errno::PIPE)?;
        match retry_on_intr(|| recv(peer, &mut answer[..], RecvFlags::empty())) {
            Ok((n @ 1.., _)) if Greeting::Release.begins(&answer) => {
                self.outer_pid.0.copy_from_slice(&answer[1..]);
                self.outer_pid.1 = n.min(answer.len()) - 1;
                Ok(())
            }
            _ => exit(255),
        }
    }

    fn execute(&mut self, index: u32, op: Op<&'static core::ffi::CStr, &'static [u8]>) -> Result<(), Fail> {
        match op {
            Op::JoinCgroup { fd } => {
                let tasks = owned(fd)?;
                // "0" stands for the writing process itself: a process that moves itself needs no
                // lock over all threads of the host.
                rustix::io::write(&tasks, b"0")?;
            }
            Op::Unshare { flags } => {
                // SAFETY: only namespaces are left, not memory, files or the file system context.
                unsafe { unshare_unsafe(UnshareFlags::from_bits_retain(flags as u32)) }?;
            }
            Op::TimeOffsets { text } => proc::put(&mut self.mounts.proc, c"self/timens_offsets", text.0)?,
            Op::EnterTime { fd } => {
                let namespace = match fd {
                    Descriptor::None => proc::new_time_namespace(&mut self.mounts.proc)?,
                    fd => owned(fd)?,
                };
                move_into_thread_name_spaces(namespace.as_fd(), ThreadNameSpaceType::TIME)?;
            }
            Op::MountsPropagation { propagation, recursive } => {
                mounts::mounts_propagation(propagation, recursive != 0)?
            }
            Op::ParentPrivate { path } => mounts::parent_private(path.0)?,
            Op::Source { path, flags, base } => {
                if base.number().is_some() {
                    self.mounts.open_in_advance(path.0, flags)?;
                }
            }
            Op::MountNamespace { base } => self.mounts.enter_namespace(base)?,
            Op::Root { path, idmap, opened } => self.mounts.open_root(path.0, idmap, opened)?,
            Op::Mount(mount) => {
                let peer = self.peer.as_ref();
                self.mounts.filesystem(&mount, &|| ask_for_tree(peer, index))?;
            }
            Op::Bind(bind) => {
                let peer = self.peer.as_ref();
                self.mounts.bind(&bind, &|| ask_for_tree(peer, index))?;
            }
            Op::Directory { path, mode, uid, gid, flags } => {
                files::directory(self.mounts.root()?, path.0, mode, uid, gid, flags)?;
            }
            Op::Node { path, mode, major, minor, uid, gid } => {
                let peer = self.peer.as_ref();
                let ask = || ask_for_tree(peer, index);
                let host = if self.mounts.is_apart() { Host::Asked(&ask) } else { Host::Here };
                files::node(self.mounts.root()?, path.0, mode, (major, minor), (uid, gid), host)?;
            }
            Op::Symlink { path, target, flags } => files::symlink(self.mounts.root()?, path.0, target.0, flags)?,
            Op::Mask { path } => self.mounts.mask(path.0)?,
            Op::ReadOnly { path } => self.mounts.read_only(path.0)?,
            Op::Sysctl { path, value } => proc::put(&mut self.mounts.proc, path.0, value.0)?,
            Op::Attributes { path, set, clear, propagation, recursive } => {
                self.mounts.attributes(path.0, set, clear, (propagation, recursive != 0))?;
            }
            Op::Terminal { socket, columns, rows, console, relayed } => {
                if self.mounts.root().is_err() {
                    self.mounts.use_directory(c"/")?;
                }
                let how = Terminal { size: (columns, rows), console: console != 0, relayed: relayed != 0 };
                terminal::terminal(self.mounts.root()?, owned(socket)?, &how)?;
            }
            Op::NewSession {} => match setsid() {
                Ok(_) | Err(Errno::PERM) => {}
                Err(e) => return Err(e.into()),
            },
            Op::AwaitHooks {} => self.report_and_wait(Kind::Hooks, index)?,
            Op::Hook(hook) => {
                let in_rootfs = (hook.flags & flag::HOOK_IN_ROOTFS != 0).then(|| self.mounts.root()).transpose()?;
                // A filter with a listener is for one process only: the agent gets the program's.
                let under =
                    |filter: &Filter| hook.flags & flag::HOOK_FILTERED != 0 && filter.listener == Descriptor::None;
                let filter = self.filter.filter(under).map(|filter| (filter.program, filter.flags));
                hook::run(&hook, in_rootfs.map(|root| root.mount.as_fd()), filter, self.umask)?;
            }
            Op::PivotRoot { slave_first } => self.mounts.pivot_root(slave_first != 0)?,
            Op::MoveRoot {} => self.mounts.move_root()?,
            Op::Chroot {} => {
                fchdir(&self.mounts.root()?.mount)?;
                chroot(c".")?;
                chdir(c"/")?;
            }
            Op::RootAttributes { set, propagation, recursive } => {
                self.mounts.root_attributes(set, propagation, recursive != 0)?;
            }
            Op::Hostname { name } => rustix::system::sethostname(name.0)?,
            Op::Domainname { name } => rustix::system::setdomainname(name.0)?,
            Op::LoopbackUp {} => drop(Temporary::from(rt_sys::net::loopback_up()?)),
            Op::SessionKeyring { name, label } => match self.session_keyring(name.0, label.0.to_bytes()) {
                // EPERM comes from a seccomp profile around the runtime, as in a container of an
                // older engine.
                Err(fail) if label.0.is_empty() && fail.errno == Errno::PERM.raw_os_error() as u32 => {
                    let _ = self.report(Kind::Warning, index, fail.step, fail.errno, b"");
                }
                other => other?,
            },
            Op::Personality { persona } => process::personality(persona)?,
            Op::MemoryPolicy { mode, nodes } => {
                let mut words = [0_u64; 16];
                process::set_mempolicy(mode, read_words(nodes.0, &mut words)?)?;
            }
            Op::Affinity { mask } => affinity(mask.0)?,
            Op::Scheduler { policy, flags, nice, priority, runtime, deadline, period } => {
                process::set_scheduler(&SchedAttr {
                    size: 0,
                    policy,
                    flags,
                    nice,
                    priority,
                    runtime,
                    deadline,
                    period,
                })?;
            }
            Op::IoPriority { value } => process::set_io_priority(value)?,
            Op::Umask { mask } => {
                self.umask = Mode::from_bits_retain(mask);
                umask(self.umask);
            }
            Op::Limit { resource, soft, hard } => {
                // Descriptors that are still open must not count against a low limit on open files.
                if resource == NOFILE && soft < 128 {
                    close_finished();
                }
                set_limit(resource, soft, hard)?;
            }
            Op::PrepareLabel { file } => {
                let proc = proc::handle(&mut self.mounts.proc)?;
                self.label = Some(proc::open(proc, file.0).at(Step::Target)?);
            }
            Op::Label { value } => {
                let file = self.label.take().ok_or(Errno::BADF)?;
                rustix::io::write(&file, value.0)?;
            }
            Op::OwnStdio { uid } => credentials::own_stdio(uid)?,
            Op::User { uid, gid, groups, keep_groups } => credentials::user(uid, gid, groups.0, keep_groups != 0)?,
            Op::Bounding { keep, last } => credentials::bounding(keep, last)?,
            Op::Capabilities { effective, permitted, inheritable, ambient, held } => {
                let (missing, not_raised) =
                    credentials::capabilities(effective, permitted, inheritable, ambient, held)?;
                if (missing, not_raised) != (0, 0) {
                    let mut masks = [0; 16];
                    masks[..8].copy_from_slice(&missing.to_le_bytes());
                    masks[8..].copy_from_slice(&not_raised.to_le_bytes());
                    let _ = self.report(Kind::Warning, index, Step::Only, 0, &masks);
                }
            }
            Op::NoNewPrivileges {} => set_no_new_privs(true)?,
            Op::WorkingDirectory { path, last } => self.working_directory(path.0, last != 0)?,
            Op::FindProgram { file, search } => self.program = Some(program::find(file.0, search.0)?),
            Op::CloseFrom { from } => process::close_range(from, u32::MAX, true)?,
            Op::SendPidfd { socket, payload } => {
                let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
                send_fd(owned(socket)?.as_fd(), pidfd.as_fd(), payload.0).at(Step::Send)?;
            }
            Op::Ready { quiet: 0 } => self.report_and_wait(Kind::Ready, index)?,
            Op::Ready { .. } => self.await_release()?,
            Op::JoinNetwork {} => self.join_network()?,
            Op::Timeline { fd } => self.timeline = Timeline::map(&owned(fd)?)?,
            Op::AwaitStart { socket } => {
                self.peer = None;
                close_finished();
                self.peer = Some(start::await_start(owned(socket)?)?);
            }
            Op::Seccomp { program, flags, listener, message_head, message_tail } => {
                let message = (message_head.0, message_tail.0);
                self.filter = Some(Filter { index, program: program.0, flags, listener, message });
            }
            Op::Exec { argv, env, home, uid } => {
                let program = self.program.as_ref().ok_or(Errno::NOENT)?;
                process::set_signal_mask(0)?;
                let errno = program::exec(program, argv.0, env.0, (home != 0).then_some(uid), &|| self.attach());
                self.not_executed(index, errno);
            }
        }
        Ok(())
    }

    /// Reports why the program could not be executed, and what is known of its file.
    #[cold]
    #[inline(never)] // For its frame, see `main.rs`.
    fn not_executed(&self, index: u32, errno: Errno) -> ! {
        // This report goes first, because the filter may end init at the calls that follow.
        let _ = self.report(Kind::Failed, index, Step::Only, errno.raw_os_error() as u32, b"");
        if let Some(program) = &self.program {
            let mut space = [0; rt_protocol::report::MAX_DETAIL];
            let _ = self.report(Kind::Program, index, Step::Only, 0, program::about(program, &mut space));
        }
        exit(255)
    }

    fn join_network(&self) -> Result<(), Fail> {
        let peer = self.peer.as_ref().ok_or(Errno::PIPE)?;
        match rt_sys::socket::receive_fd(peer.as_fd()).at(Step::Source)? {
            Some(namespace) => {
                move_into_thread_name_spaces(Temporary::from(namespace).as_fd(), ThreadNameSpaceType::NETWORK)?;
            }
            None => exit(255),
        }
        Ok(())
    }

    fn session_keyring(&mut self, name: &core::ffi::CStr, label: &[u8]) -> Result<(), Fail> {
        if !label.is_empty() {
            proc::put(&mut self.mounts.proc, c"self/attr/keycreate", label)?;
        }
        let key = match process::join_session_keyring(name) {
            // The kernel, or an outer container, has no keyrings.
            Err(Errno::NOSYS) => return Ok(()),
            other => other?,
        };
        if !label.is_empty() {
            proc::put(&mut self.mounts.proc, c"self/attr/keycreate", b"")?;
        }
        // The permissions of a session keyring (join_session_keyring in
        // security/keys/process_keys.c: everything for the possessor; view, read and link for the
        // owner), and search for the owner, so that a process of the container can find it
        // (keyctl(2)).
        const PERMISSIONS: u32 = 0x3f1b_0000;
        process::set_key_permissions(key, PERMISSIONS)?;
        Ok(())
    }

    fn working_directory(&mut self, path: &core::ffi::CStr, last: bool) -> Result<(), Fail> {
        if self.entered {
            return Ok(());
        }
        match enter(path) {
            // A network filesystem may not trust root; the user may be allowed to enter.
            Err(fail) if !last && fail.errno == Errno::ACCESS.raw_os_error() as u32 => Ok(()),
            other => {
                self.entered = true;
                other
            }
        }
    }

    fn attach(&self) {
        let Some(Filter { index, program, flags, listener, message: (head, tail) }) = self.filter else { return };
        let (pid, len) = &self.outer_pid;
        let attached = match owned(listener) {
            Err(_) => rt_sys::seccomp::attach(program, flags).map(drop).map_err(Fail::from),
            Ok(listener) => crate::listener::attach_with_listener(program, flags, listener, [head, &pid[..*len], tail]),
        };
        if let Err(fail) = attached {
            self.give_up(index, fail);
        }
    }
}

fn report(peer: Option<&OwnedFd>, report: &Report, detail: &[u8]) -> Result<(), Errno> {
    let Some(peer) = peer else { return Ok(()) };
    let mut message = [0; HEAD + rt_protocol::report::MAX_DETAIL];
    message[..HEAD].copy_from_slice(&report.encode());
    let end = HEAD + detail.len().min(rt_protocol::report::MAX_DETAIL);
    message[HEAD..end].copy_from_slice(&detail[..end - HEAD]);
    send(peer, &message[..end], SendFlags::NOSIGNAL).map(drop)
}

/// Asks the parent for the source of the bind mount that is op `op`. If the parent has gone, init
/// ends.
#[inline(never)] // For its frame, see `main.rs`.
fn ask_for_tree(peer: Option<&OwnedFd>, op: u32) -> Result<OwnedFd, Fail> {
    let peer = peer.ok_or(Errno::PIPE)?;
    if report(Some(peer), &Report { kind: Kind::Tree, op, step: Step::Only, errno: 0 }, b"").is_err() {
        exit(255);
    }
    let mut answer = [0; LENT];
    match rt_sys::socket::receive(peer.as_fd(), &mut answer).at(Step::Source)? {
        (_, Some(tree)) => Ok(tree),
        (LENT, None) => {
            let Lent { step, errno } = Lent::decode(&answer);
            Err(Fail { step, errno, detail: None })
        }
        _ => exit(255),
    }
}

/// Enters the working directory, and refuses one that leads out of the container (CVE-2024-21626).
fn enter(path: &core::ffi::CStr) -> Result<(), Fail> {
    chdir(path)?;
    let mut space = [0; 4096];
    match process::working_directory(&mut space) {
        Ok(len) if len > 0 && space[0] == b'/' => Ok(()),
        // A path that is longer than the buffer still begins at the root; ENOENT means a deleted
        // directory.
        Err(Errno::RANGE) => Ok(()),
        _ => Err(Fail::new(Step::OutsideRoot, Errno::PERM)),
    }
}

/// RLIMIT_NOFILE (getrlimit(2)).
const NOFILE: u32 = 7;

fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let unlimited = |n: u64| (n != u64::MAX).then_some(n);
    let limit = Rlimit { current: unlimited(soft), maximum: unlimited(hard) };
    setrlimit(process::resource(resource).ok_or(Errno::INVAL)?, limit)
}

/// `Op::Affinity`.
#[inline(never)] // For its frame, see `main.rs`.
fn affinity(mask: &[u8]) -> Result<(), Errno> {
    let mut words = [u64::MAX; 128];
    match read_words(mask, &mut words)? {
        // If a seccomp profile around the runtime forbids the call, the caller's CPUs stay, which
        // is no failure.
        [] => {
            let _ = process::set_affinity(&words);
            Ok(())
        }
        mask => process::set_affinity(mask),
    }
}

fn read_words<'w>(bytes: &[u8], words: &'w mut [u64]) -> Result<&'w [u64], Errno> {
    let words = words.get_mut(..bytes.len() / 8).ok_or(Errno::INVAL)?;
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(words)
}

pub fn owned(fd: Descriptor) -> Result<OwnedFd, Errno> {
    let number = fd.number().ok_or(Errno::BADF)?;
    // SAFETY: the parent opened this descriptor for one op alone, and each op is executed once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
