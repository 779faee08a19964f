//! The sockets around a container: console, pidfd, seccomp agent, and the start barrier.

use std::path::Path;
use std::time::Duration;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, bind,
    connect, listen, recvmsg, socket_with, socketpair,
};

use crate::error::{Context, Error};
use crate::store::directory::{Container, START_SOCKET};

/// How long a caller whose queue of connections is full may take to accept one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the stream socket at `path`. Fails with ETIMEDOUT where nothing takes connections
/// from a full queue: connect(2) alone would wait for ever.
pub fn connect_to(what: &'static str, path: &Path) -> Result<OwnedFd, Error> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).doing("make a socket")?;
    set_socket_timeout(&fd, Timeout::Send, Some(PATIENCE)).doing("limit the wait for a socket")?;
    let connect = |address: SocketAddrUnix| {
        connect(&fd, &address).map_err(|errno| if errno == Errno::AGAIN { Errno::TIMEDOUT } else { errno })
    };
    let connected = SocketAddrUnix::new(path).and_then(connect);
    match connected {
        // Longer than an address holds: by its directory instead.
        Err(Errno::NAMETOOLONG) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            let dir = rustix::fs::openat(rustix::fs::CWD, parent, flags, rustix::fs::Mode::empty()).on(what, path)?;
            let short =
                format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), path.file_name().unwrap_or_default().to_string_lossy());
            SocketAddrUnix::new(short).and_then(connect).on(what, path)?;
        }
        other => other.on(what, path)?,
    }
    Ok(fd)
}

/// The address of the start socket. An address has room for 108 bytes, a path may be longer: a long
/// path is shortened by way of the directory's descriptor. Short paths are not, because the first
/// look into /proc/self makes the kernel create its entries.
fn start_address(container: &Container) -> Result<SocketAddrUnix, Error> {
    let path = container.path.join(START_SOCKET);
    let short = || format!("/proc/self/fd/{}/{START_SOCKET}", container.dir().as_raw_fd());
    SocketAddrUnix::new(&path).or_else(|_| SocketAddrUnix::new(short())).on("address", path)
}

/// The listening socket on which init waits for `start`.
pub fn listen_for_start(container: &Container) -> Result<OwnedFd, Error> {
    let path = container.path.join(START_SOCKET);
    let fd =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing("make a socket")?;
    bind(&fd, &start_address(container)?).on("bind", &path)?;
    listen(&fd, 8).on("listen on", &path)?;
    Ok(fd)
}

/// Connects to the waiting init.
pub fn connect_to_init(container: &Container) -> Result<OwnedFd, Errno> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let address = start_address(container).map_err(|_| Errno::NAMETOOLONG)?;
    connect(&fd, &address)?;
    Ok(fd)
}

/// A pair for a terminal that `rt` itself keeps: init's end and ours.
pub fn console_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).doing("make a socket pair")
}

/// Receives a terminal's master.
pub fn receive_master(socket: &OwnedFd) -> Result<OwnedFd, Error> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0_u8; 64];
    let mut parts = [rustix::io::IoSliceMut::new(&mut name)];
    recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).doing("receive the terminal")?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(fd) = fds.next()
        {
            return Ok(fd);
        }
    }
    Err(Error::System { what: "receive the terminal", errno: Errno::BADMSG })
}
