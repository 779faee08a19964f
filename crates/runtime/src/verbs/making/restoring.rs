//! A container is restored from an image instead of being launched.

use rt_cgroups::Driver;
use rt_plan::{NamespaceKind, Op, Plan};
use rt_protocol::flags::namespace::NEWNET;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::system::{setdomainname, sethostname};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use scopeguard::{ScopeGuard, guard};
use tracing::trace_span;

use super::{Claimed, Placed};
use crate::checkpoint::{CheckpointError, CriuOptions, Events, Restore, remove_root};
use crate::error::{Context, Error};
use crate::host::mount_namespace::in_namespace_of;
use crate::host::thread::apart;
use crate::launch::network::{NetworkLock, is_our_own, loopback_up, move_devices};
use crate::store::directory::Container;
use crate::store::process::Stat;
use crate::store::state::State;
use crate::verbs::undo::Undo;

/// A container that CRIU has restored.
pub struct Restored {
    /// Its directory.
    pub container: Container,
    /// Its state.
    pub state: State,
    /// Its init, a child of this process.
    pub init: OwnedFd,
}

impl Claimed<'_> {
    /// Makes the cgroup and lets CRIU fill it. A clone gets the names of its own config instead of
    /// those that were saved.
    pub fn restore(mut self, options: &CriuOptions, is_clone: bool) -> Result<Restored, Error> {
        self.record()?;
        let classes = self.enter_resctrl()?;
        let draft = &self.draft;
        let restore = Restore::prepare(&self.container, draft.spec, &draft.plan, options);
        let root = guard((), |()| remove_root(&self.container));
        let restore = restore?;
        let cgroup = match draft.location.driver {
            Driver::Systemd => self.make_unit(restore.pid())?,
            Driver::Cgroupfs | Driver::Disabled => self.enter_cgroup(restore.pid())?,
        };
        for tasks in &classes {
            rustix::io::write(tasks, restore.pid().to_string().as_bytes()).doing("enter the class of resctrl")?;
        }
        let lock = if options.tcp_established { lock_joined(&self.draft.plan) } else { None };
        let keeps_connections = options.tcp_established;
        let mut making = Making { claimed: &self, is_clone, keeps_connections, lock, restored: None };
        let pid = trace_span!("criu restores").in_scope(|| restore.run(&draft.location, &mut making))?;
        let (state, init) = making.restored.take().filter(|(state, _)| state.pid == pid).ok_or(Error::NotRunning)?;
        drop(root);
        if let Some(file) = self.pid_file.take() {
            file.publish(pid)?;
        }
        if let Some(socket) = &self.draft.descriptors.pidfd {
            rt_sys::socket::send_fd(socket.as_fd(), init.as_fd(), b"pidfd").doing("send the pidfd")?;
        }
        self.named_pid_file.map(ScopeGuard::into_inner);
        ScopeGuard::into_inner(cgroup);
        Ok(Restored { container: ScopeGuard::into_inner(self.container), state, init })
    }

    fn enter_cgroup(&self, pid: i32) -> Result<Undo<Placed>, Error> {
        let made = self.make_cgroup()?;
        made.0.apply_devices(&self.draft.plan.devices)?;
        made.0.add_process(Pid::from_raw(pid).ok_or(Error::NotRunning)?)?;
        Ok(made)
    }
}

/// The container while CRIU restores it.
struct Making<'a> {
    claimed: &'a Claimed<'a>,
    is_clone: bool,
    keeps_connections: bool,
    /// Held until all connections have their sockets again.
    lock: Option<NetworkLock>,
    /// Its state and a handle to its init, opened before init could run and end.
    restored: Option<(State, OwnedFd)>,
}

impl Events for Making<'_> {
    fn namespaces(&mut self, pid: i32) -> Result<(), Error> {
        let plan = &self.claimed.draft.plan;
        let (init, _) = self.init(pid)?;
        // Devices and hooks may bring the addresses of the connections.
        if self.keeps_connections && plan.namespaces.new & NEWNET != 0 {
            self.lock = close(init.as_fd());
        }
        if plan.ops.iter().any(|(op, _)| matches!(op, Op::LoopbackUp {})) {
            loopback_up(init.as_fd())?;
        }
        move_devices(&plan.net_devices, &init)?;
        trace_span!("hooks").in_scope(|| self.claimed.runtime_hooks(pid, None))
    }

    fn restored(&mut self, pid: i32) -> Result<(), Error> {
        let (init, stat) = self.init(pid)?;
        self.root_attributes(&init)?;
        if self.is_clone {
            self.names(&init)?;
        }
        // From here on CRIU's own lock is open, too.
        self.lock = None;
        let state = self.claimed.state(pid, stat.start_time);
        // CRIU makes a time namespace whatever the config says, so that clocks go on where they
        // were.
        let state = State { namespaces: own_namespaces(pid)?, ..state };
        self.claimed.container.stage(&state)?;
        self.claimed.container.publish()?;
        self.restored = Some((state, init));
        Ok(())
    }

    fn terminal(&mut self, master: OwnedFd) -> Result<(), Error> {
        let socket = self.claimed.draft.descriptors.console.as_ref().ok_or(CheckpointError::Terminal)?;
        rt_sys::socket::send_fd(socket.as_fd(), master.as_fd(), b"/dev/ptmx").doing("send the terminal")
    }
}

/// Locks the network namespace that the container joins, whose addresses may be there already. The
/// host's own stays open.
fn lock_joined(plan: &Plan) -> Option<NetworkLock> {
    let join = plan.namespaces.join.iter().find(|join| join.kind.flag == NEWNET)?;
    // CRIU says what is wrong with a path.
    let file = openat(CWD, &join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if is_our_own(&join.path) == Ok(false) { close(file.as_fd()) } else { None }
}

/// A kernel without nftables can still restore: it is the packets that come too early that do harm.
fn close(namespace: BorrowedFd<'_>) -> Option<NetworkLock> {
    let locked = NetworkLock::close(namespace);
    locked.inspect_err(|errno| tracing::warn!("connections may be reset while they are restored: {errno}")).ok()
}

impl Making<'_> {
    fn init(&self, pid: i32) -> Result<(OwnedFd, Stat), Error> {
        let pidfd = pidfd_open(Pid::from_raw(pid).ok_or(Error::NotRunning)?, PidfdFlags::empty());
        let pidfd = pidfd.doing("open the container's init")?;
        let stat = Stat::read(pid).doing("look at the container's init")?.ok_or(Error::NotRunning)?;
        Ok((pidfd, stat))
    }

    /// Host and domain name, of which CRIU restores those of the first container.
    fn names(&self, init: &OwnedFd) -> Result<(), Error> {
        let set = || {
            move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)?;
            self.claimed.draft.plan.ops.iter().try_for_each(|(op, _)| match op {
                Op::Hostname { name } => sethostname(&name.0),
                Op::Domainname { name } => setdomainname(&name.0),
                _ => Ok(()),
            })
        };
        apart(set).doing("set the names of the host in the container")
    }

    /// CRIU forgets the attributes of the root mount: a rootfs that was read-only could be written.
    fn root_attributes(&self, init: &OwnedFd) -> Result<(), Error> {
        let attributes = self.claimed.draft.plan.ops.iter().find_map(|(op, _)| match op {
            Op::RootAttributes { set, .. } if *set != 0 => Some(Attributes { set: *set, ..Attributes::default() }),
            _ => None,
        });
        let Some(attributes) = attributes else { return Ok(()) };
        let set = in_namespace_of(init.as_fd(), || set_attributes(CWD.as_fd(), c"/", false, &attributes));
        set.and_then(|set| set).doing("set the attributes of the container's root")
    }
}

/// CLONE_NEW* of the namespaces that the process does not share with this process.
fn own_namespaces(pid: i32) -> Result<u64, Error> {
    let mut own = 0;
    for kind in NamespaceKind::ALL {
        let name = |process: &str| rustix::fs::readlink(format!("/proc/{process}/ns/{}", kind.file), Vec::new());
        // A kernel without this kind has no such file.
        let Ok(ours) = name("self") else { continue };
        if name(&pid.to_string()).doing("look at the container's namespaces")? != ours {
            own |= kind.flag;
        }
    }
    Ok(own)
}
