//! Receiving what init reports.

use rt_protocol::report::{HEAD, MAX_DETAIL, Report};
use rustix::fd::AsFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};

/// A message from init.
pub struct Message {
    bytes: [u8; HEAD + MAX_DETAIL],
    length: usize,
}

impl Message {
    /// Waits for the next message; with `RecvFlags::DONTWAIT` the error is EAGAIN if there is none.
    pub fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Message, Errno> {
        let mut message = Message { bytes: [0; HEAD + MAX_DETAIL], length: 0 };
        (message.length, _) = retry_on_intr(|| recv(&socket, &mut message.bytes[..], flags))?;
        Ok(message)
    }

    /// True if the connection was closed instead: by execve(2), or by init's end.
    pub fn is_end(&self) -> bool {
        self.length == 0
    }

    /// The report and its detail; None if the message is not one.
    pub fn report(&self) -> Option<(Report, &[u8])> {
        Report::decode(self.bytes.get(..self.length)?)
    }
}
