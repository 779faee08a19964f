//! Passing one descriptor over a Unix socket (SCM_RIGHTS, unix(7)).

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Sends `payload` (at least one byte) and `fd` in one message.
pub fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, payload: &[u8]) -> Result<(), Errno> {
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::MSGSIZE);
    }
    sendmsg(socket, &[IoSlice::new(payload)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for a message of [`send_fd`] with a payload of one byte, and gives its descriptor,
/// close-on-exec; None if the other side is gone.
pub fn receive_fd(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    match receive(socket, &mut [0_u8; 1])? {
        (0, _) => Ok(None),
        (_, fd) => fd.map(Some).ok_or(Errno::PROTO),
    }
}

/// Waits for a message, and gives its length and the descriptor that came with it, close-on-exec. A
/// length of 0: the other side is gone.
pub fn receive(socket: BorrowedFd<'_>, payload: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(payload)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    };
    match control.drain().find_map(rights) {
        // A descriptor was sent, but this process's table is full.
        None if received.flags.contains(ReturnFlags::CTRUNC) => Err(Errno::MFILE),
        fd => Ok((received.bytes, fd)),
    }
}
