//! A process that executes the stub: its reports, and the answers to them.

use rt_plan::spec::Pointer;
use rt_plan::what;
use rt_plan::{Join, Op, Plan, limit_name};
use rt_protocol::flags::namespace;
use rt_protocol::greeting::Greeting;
use rt_protocol::op::{self, flag};
use rt_protocol::report::{Kind, Lent, Report, Step};
use rt_protocol::wire::CHUNK;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, send};
use rustix::process::{Pid, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, prlimit, waitid};
use tracing::trace_span;

use super::child::{BEFORE_STUB, FIRST_JOIN};
use super::error::{self, LateOp, LaunchError};
use super::process::{JOIN_INSIDE, join_refused, time_offsets_refused};
use super::reports::Message;
use super::trees::{self, Wanted};
use super::{network, timeline};
use crate::host::in_first_user_namespace;

/// A process that executes the stub.
#[derive(Debug)]
pub struct Launched {
    /// Its pid, as the runtime sees it.
    pub pid: i32,
    /// A handle to the process, which stays valid if the pid is reused.
    pub pidfd: OwnedFd,
    pub(super) socket: OwnedFd,
    pub(super) ops: Vec<(Op, Pointer)>,
    /// The namespaces that the process joins before it executes the stub.
    pub(super) joins: Vec<Join>,
    /// The user namespaces of id-mapped mounts, by the numbers in `ops`.
    pub(super) idmaps: Vec<OwnedFd>,
    /// Becomes readable when the wait for init is to end (signalfd(2)).
    pub interrupt: Option<OwnedFd>,
    /// The encoded plan, kept until the held process may begin.
    pub(super) plan: Vec<u8>,
    pub(super) timeline: Option<OwnedFd>,
}

/// What the stub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Init waits for the hooks of the runtime's namespace.
    Hooks,
    /// It is ready and waits to be released.
    Ready,
    /// It has executed the program.
    Executed,
}

fn unless_gone(sent: Result<(), Errno>) -> Result<(), Errno> {
    match sent {
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        other => other,
    }
}

/// Waits until there is something to read from `socket`; a signal from `interrupt` is an error.
fn await_either(socket: &OwnedFd, interrupt: &OwnedFd) -> Result<(), LaunchError> {
    let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(interrupt, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, None)).map_err(LaunchError::parent("wait for init"))?;
    if fds[1].revents().contains(PollFlags::IN) { Err(interrupted(interrupt)) } else { Ok(()) }
}

/// The error for the signal that arrived over `interrupt`.
pub(super) fn interrupted(interrupt: &OwnedFd) -> LaunchError {
    let mut info = [0_u8; 128];
    let _ = rustix::io::read(interrupt, &mut info);
    LaunchError::Interrupted { signal: info[0].into() }
}

/// Lets the child go on to the stub.
pub(super) fn proceed(socket: &OwnedFd) -> Result<(), LaunchError> {
    send(socket, &Greeting::MapsWritten.bytes(), SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(LaunchError::parent("let init begin"))
}

impl Launched {
    /// Waits for what the stub says next.
    pub fn event(&self) -> Result<Event, LaunchError> {
        let _span = trace_span!("wait for init").entered();
        loop {
            if let Some(interrupt) = &self.interrupt {
                await_either(&self.socket, interrupt)?;
            }
            let message = match Message::receive(&self.socket, RecvFlags::empty()) {
                // A process that died with unread bytes on its side resets the connection, once;
                // its reports come after that.
                Err(Errno::CONNRESET) => continue,
                other => other.map_err(LaunchError::parent("wait for init"))?,
            };
            if message.is_end() {
                return Ok(Event::Executed);
            }
            let Some((report, detail)) = message.report() else {
                return Err(LaunchError::Parent { what: "understand init's report", errno: Errno::PROTO });
            };
            match report.kind {
                Kind::Hooks => return Ok(Event::Hooks),
                Kind::Ready => return Ok(Event::Ready),
                Kind::Warning => self.warned(&report, detail),
                Kind::Tree => self.lend_tree(&report)?,
                Kind::Failed => return Err(self.failed(&report, detail)),
                Kind::Program => {}
            }
        }
    }

    /// Sends init the tree that an op needs of the host, or the reason why it cannot be opened;
    /// init then fails with that reason.
    fn lend_tree(&self, report: &Report) -> Result<(), LaunchError> {
        let rootfs = self.ops.iter().find_map(|(op, _)| match op {
            Op::Root { path, .. } => Some(path.0.as_c_str()),
            _ => None,
        });
        let opened = match self.ops.get(report.op as usize) {
            Some((Op::Bind(op::Bind { source, flags, idmap, .. }), _)) if flags & flag::BY_PARENT != 0 => {
                let idmap = self.idmaps.iter().find(|fd| Some(fd.as_raw_fd()) == idmap.number()).map(AsFd::as_fd);
                let rootfs = rootfs.unwrap_or(c"/");
                trees::open(self.pidfd.as_fd(), &Wanted { source: &source.0, rootfs, flags: *flags, idmap })
            }
            Some((Op::Node { path, .. }, _)) => trees::open_here(&path.0, false),
            Some((Op::Mount(op::Mount { fallback, flags, .. }), _)) if flags & flag::CGROUP_FALLBACK != 0 => {
                trees::open_here(&fallback.0, true)
            }
            _ => Err(Lent { step: Step::LoadPlan, errno: Errno::PROTO.raw_os_error() as u32 }),
        };
        let sent = match opened {
            Ok(tree) => rt_sys::socket::send_fd(self.socket.as_fd(), tree.as_fd(), &Greeting::Tree.bytes()),
            Err(lent) => send(&self.socket, &lent.encode(), SendFlags::NOSIGNAL).map(drop),
        };
        unless_gone(sent).map_err(LaunchError::parent("send init the source of a mount"))
    }

    /// What a warning is enough for.
    fn warned(&self, report: &Report, detail: &[u8]) {
        let Some((op, at)) = self.ops.get(report.op as usize) else { return };
        match op {
            Op::Capabilities { .. } => {
                let masks = detail.as_chunks::<8>().0.iter().map(|mask| u64::from_le_bytes(*mask));
                let names = |mask| rt_plan::capability_names_of(mask).join(", ");
                let mut masks = masks.chain([0, 0]);
                if let Some(missing) = masks.next().filter(|mask| *mask != 0) {
                    tracing::warn!("{at}: the caller of rt does not have {}; left out", names(missing));
                }
                if let Some(not_raised) = masks.next().filter(|mask| *mask != 0) {
                    tracing::warn!(
                        "{at}/ambient: cannot raise {}: a capability must be permitted and inheritable to be ambient; left out",
                        names(not_raised)
                    );
                }
            }
            op => {
                let errno = Errno::from_raw_os_error(report.errno as i32);
                tracing::warn!("{at}: {}: {}; the container goes without", what(op), rt_sys::errno::text(errno));
            }
        }
    }

    fn failed(&self, report: &Report, detail: &[u8]) -> LaunchError {
        let errno = Errno::from_raw_os_error(report.errno as i32);
        self.tell_timeline(false);
        match self.ops.get(report.op as usize) {
            Some((op @ Op::Exec { .. }, at)) => {
                error::of_program(&what(op), at.to_string(), errno, &error::next_report(&self.socket))
            }
            Some((op, at)) => error::from_report(op, *at, report, detail),
            None if let Some(refused) = join_refused(&self.joins, report) => refused,
            None if (FIRST_JOIN..BEFORE_STUB).contains(&report.op) => LaunchError::Parent { what: JOIN_INSIDE, errno },
            None if report.op == BEFORE_STUB && report.step == Step::Source => {
                LaunchError::Parent { what: "join the container's cgroup namespace", errno }
            }
            None if report.op == BEFORE_STUB && report.step == Step::Idmap => {
                LaunchError::Parent { what: "become root of the new user namespace", errno }
            }
            None if report.op == BEFORE_STUB && report.step == Step::Write => time_offsets_refused(errno),
            None if report.op == BEFORE_STUB => LaunchError::Parent { what: "execute the init stub", errno },
            None => LaunchError::Parent { what: "execute the plan", errno },
        }
    }

    /// Lets a held process begin.
    pub fn proceed(&mut self) -> Result<(), LaunchError> {
        proceed(&self.socket)?;
        self.send_plan()
    }

    pub(super) fn send_plan(&mut self) -> Result<(), LaunchError> {
        let plan = std::mem::take(&mut self.plan);
        let sent = plan
            .chunks(CHUNK)
            .try_for_each(|chunk| retry_on_intr(|| send(&self.socket, chunk, SendFlags::NOSIGNAL)).map(drop));
        unless_gone(sent).map_err(LaunchError::parent("send init its plan"))
    }

    /// Lets the stub go on, and sends it its pid in our namespace. If init has exited, it has
    /// already reported the reason.
    pub fn release(&self) -> Result<(), LaunchError> {
        let go = [&Greeting::Release.bytes()[..], self.pid.to_string().as_bytes()].concat();
        unless_gone(send(&self.socket, &go, SendFlags::NOSIGNAL).map(drop)).map_err(LaunchError::parent("release init"))
    }

    /// Makes what the plan leaves to the parent while init is at work, and sends it to init.
    pub fn make_meanwhile(&self, plan: &Plan) -> Result<(), LaunchError> {
        if plan.namespaces.made_meanwhile() & namespace::NEWNET != 0 {
            let namespace = trace_span!("network namespace").in_scope(|| network::make(in_first_user_namespace()))?;
            let sent = rt_sys::socket::send_fd(self.socket.as_fd(), namespace.as_fd(), &Greeting::Network.bytes());
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
            let Some(resource) = rt_sys::process::resource(*resource) else { continue };
            prlimit(pid, resource, limit).map_err(|errno| LaunchError::Named {
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

    /// Reports to `--trace` what init has spent its time on so far; with `waits` init is at the
    /// start barrier.
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
