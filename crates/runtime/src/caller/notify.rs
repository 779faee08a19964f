//! sd_notify(3) from inside a container: its own socket at /run/notify, and a proxy from there to
//! the caller's NOTIFY_SOCKET. Only readiness passes: what else the protocol can say (MAINPID,
//! FDSTORE) is not the container's to say.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rt_sys::socket::send_fd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, chmodat, mkdirat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Context, Error};
use crate::store::directory::{Container, NOTIFY_DIR};

/// As long as a manager that knows barriers ever takes.
const BARRIER_PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// The socket of the manager that called us, if one did.
fn manager() -> Option<Vec<u8>> {
    std::env::var_os("NOTIFY_SOCKET").map(OsStringExt::into_vec).filter(|name| !name.is_empty())
}

/// Whether the caller wants to be notified.
pub fn wanted() -> bool {
    manager().is_some()
}

/// Makes the directory that the container sees as /run/notify.
pub fn make_directory(container: &Container) -> Result<(), Error> {
    let path = container.path.join(NOTIFY_DIR);
    mkdirat(container.dir(), NOTIFY_DIR, Mode::from_raw_mode(0o755)).on("create", &path)?;
    // Any user of the container goes through it, whatever our umask is.
    chmodat(container.dir(), NOTIFY_DIR, Mode::from_raw_mode(0o755), AtFlags::empty()).on("change the mode of", path)
}

/// Both ends of the way from a container to the manager.
#[derive(Debug)]
pub struct Proxy {
    container: OwnedFd,
    manager: OwnedFd,
}

impl Proxy {
    /// Opens the container's socket, before its program can look for it. None without a manager, or
    /// where the container was created without one.
    pub fn open(container: &Container) -> Result<Option<Proxy>, Error> {
        let Some(name) = manager() else { return Ok(None) };
        if statat(container.dir(), NOTIFY_DIR, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(None);
        }
        let datagrams = || {
            let flags = SocketFlags::CLOEXEC;
            socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).doing("make a socket")
        };
        let theirs = datagrams()?;
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(&name[..]),
        };
        let named = Path::new(std::ffi::OsStr::from_bytes(&name));
        address.and_then(|a| connect(&theirs, &a)).on("connect to NOTIFY_SOCKET", named)?;
        let path = container.path.join(NOTIFY_DIR).join("notify.sock");
        let ours = datagrams()?;
        // By way of the descriptor: an address holds 108 bytes, a path more.
        let short = format!("/proc/self/fd/{}/{NOTIFY_DIR}/notify.sock", container.dir().as_raw_fd());
        match unlinkat(CWD, short.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::File { what: "remove", path, errno }),
        }
        SocketAddrUnix::new(short.as_str()).and_then(|a| bind(&ours, &a)).on("bind", &path)?;
        chmodat(CWD, short.as_str(), Mode::from_raw_mode(0o777), AtFlags::empty()).on("change the mode of", path)?;
        Ok(Some(Proxy { container: ours, manager: theirs }))
    }

    /// Readable when the container has said something.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Reads one message, and passes it on if it says ready; the manager then watches `main`.
    pub fn relay(&self, main: i32) -> Result<bool, Error> {
        let mut message = [0; 4096];
        let n = match recv(&self.container, &mut message[..], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            other => other.doing("read what the container notifies")?.0,
        };
        let mut lines = message.get(..n).unwrap_or_default().split(|b| *b == b'\n');
        let Some(ready) = lines.find(|line| line.starts_with(b"READY=")) else { return Ok(false) };
        let told = [ready, b"\nMAINPID=", main.to_string().as_bytes(), b"\n"].concat();
        send(&self.manager, &told, SendFlags::NOSIGNAL).doing("notify the manager")?;
        Ok(true)
    }

    /// Waits until the container is ready or its init has ended, and until the manager has read the
    /// message: the manager asks which process sent it, and this process may have ended by then.
    pub fn await_ready(&self, init: &OwnedFd, pid: i32) -> Result<(), Error> {
        loop {
            let mut fds = [PollFd::new(&self.container, PollFlags::IN), PollFd::new(init, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other.doing("wait for the container to be ready")?,
            };
            if fds[0].revents().contains(PollFlags::IN) && self.relay(pid)? {
                return self.barrier();
            }
            if !fds[1].revents().is_empty() {
                return Ok(());
            }
        }
    }

    /// sd_notify_barrier(3): the manager closes the descriptor when it has read all messages before
    /// it. A manager that does not know this message never closes it.
    fn barrier(&self) -> Result<(), Error> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
        send_fd(self.manager.as_fd(), writer.as_fd(), b"BARRIER=1").doing("send a barrier to the manager")?;
        drop(writer);
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        if poll(&mut fds, Some(&BARRIER_PATIENCE)) == Ok(0) {
            tracing::warn!("NOTIFY_SOCKET: the manager did not close the barrier in 30 seconds");
        }
        Ok(())
    }
}
