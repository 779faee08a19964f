//! Network interfaces by ioctl (netdevice(7)).

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::raw::{nr, syscall3};

/// `struct ifreq` with the flags member of its union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Brings `lo` up in the caller's network namespace, and gives the socket that took.
pub fn loopback_up() -> Result<OwnedFd, Errno> {
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = Request { name, flags: IFF_UP, rest: [0; 22] };
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is live.
    unsafe { syscall3(nr::IOCTL, socket.as_raw_fd() as usize, SIOCSIFFLAGS, &raw const request as usize) }?;
    Ok(socket)
}
