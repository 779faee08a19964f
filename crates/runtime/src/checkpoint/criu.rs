//! A conversation with CRIU: `criu swrk` serves one request over a socket, and asks back meanwhile
//! (criu.org/RPC).

use std::cell::Cell;
use std::path::Path;

use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use super::error::CheckpointError;
use super::rpc::{Features, Kind, Request, Response};
use crate::error::Error;
use crate::host::command::{HostCommand, failure};

/// CRIU's longest answer has a few hundred bytes; runc has the same bound.
const LONGEST: usize = 40 * 1024;

/// A running `criu swrk`.
pub struct Criu {
    socket: OwnedFd,
    pidfd: OwnedFd,
    /// Whether it has got a request.
    asked: Cell<bool>,
    /// Its pid.
    pub pid: i32,
}

/// What CRIU asks or tells in the middle of a request.
pub struct Notice {
    /// CRIU's name for it, such as `post-restore`.
    pub name: String,
    /// The first process of the container in the runtime's pid namespace; 0 if CRIU names none.
    pub pid: i32,
    /// A descriptor that comes with it.
    pub fd: Option<OwnedFd>,
}

impl Criu {
    /// Starts CRIU on rt's standard streams. It gets `fds` under their numbers.
    pub fn start(program: Option<&Path>, fds: &[BorrowedFd<'_>]) -> Result<Criu, CheckpointError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(CheckpointError::Talk)?;
        let command = match program {
            Some(path) if path.components().count() > 1 => HostCommand::new(&path.to_string_lossy()),
            Some(name) => HostCommand::find(&name.to_string_lossy()),
            None => HostCommand::find("criu"),
        };
        let number = theirs.as_raw_fd().to_string();
        let command = command.and_then(|c| c.args(["swrk", &number])).map_err(CheckpointError::NoCriu)?;
        let fds: Vec<_> = fds.iter().copied().chain([theirs.as_fd()]).collect();
        let (pid, pidfd) = command.start_here(&fds).map_err(|errno| match errno {
            Errno::NOENT | Errno::ACCESS => CheckpointError::NoCriu(errno),
            errno => {
                let program = program.map_or_else(|| "criu".to_owned(), |p| p.display().to_string());
                CheckpointError::Start { program, errno }
            }
        })?;
        Ok(Criu { socket: ours, pidfd, asked: Cell::new(false), pid })
    }

    /// Sends the request and waits for CRIU's answer to it; `notified` answers what CRIU asks
    /// meanwhile. If it fails, CRIU takes back what it has done.
    pub fn ask(
        &self,
        request: &Request,
        mut notified: impl FnMut(Notice) -> Result<(), Error>,
    ) -> Result<Response, Error> {
        self.send(request)?;
        self.asked.set(true);
        let mut refused = None;
        loop {
            let (response, fd) = match self.receive() {
                Ok(received) => received,
                // CRIU ends without an answer when it was refused one.
                Err(e) => return Err(refused.unwrap_or_else(|| e.into())),
            };
            if response.kind() != Kind::Notify {
                return refused.map_or(Ok(response), Err);
            }
            let notify = response.notify.clone().unwrap_or_default();
            let name = notify.script.unwrap_or_default();
            tracing::debug!("criu: {name}");
            let answer = notified(Notice { name, pid: notify.pid.unwrap_or(0), fd });
            let notify_success = Some(answer.is_ok());
            refused = refused.or(answer.err());
            let answer = Request { kind: Kind::Notify as i32, notify_success, ..Request::default() };
            if let Err(e) = self.send(&answer) {
                return Err(refused.unwrap_or_else(|| e.into()));
            }
        }
    }

    fn send(&self, message: &Request) -> Result<(), CheckpointError> {
        send(&self.socket, &message.encode_to_vec(), SendFlags::NOSIGNAL).map(drop).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => self.ended(),
            errno => CheckpointError::Talk(errno),
        })
    }

    fn receive(&self) -> Result<(Response, Option<OwnedFd>), CheckpointError> {
        let mut space = vec![0; LONGEST];
        // The processes that CRIU makes have its end of the socket, too: its own end counts.
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
        retry_on_intr(|| poll(&mut fds, None)).map_err(CheckpointError::Talk)?;
        if !fds[0].revents().contains(PollFlags::IN) {
            return Err(self.ended());
        }
        let (length, fd) = match rt_sys::socket::receive(self.socket.as_fd(), &mut space) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Err(self.ended()),
            other => other.map_err(CheckpointError::Talk)?,
        };
        let message = space.get(..length).filter(|_| length < LONGEST).unwrap_or_default();
        let response = Response::decode(message).map_err(|e| CheckpointError::Answer(e.to_string()))?;
        Ok((response, fd))
    }

    fn ended(&self) -> CheckpointError {
        CheckpointError::Ended(self.wait().ok().as_ref().and_then(failure).unwrap_or_default())
    }

    /// Lets CRIU end, and waits until it has. On its own it would wait for another request.
    pub fn finish(self) -> Result<WaitIdStatus, CheckpointError> {
        let _ = shutdown(&self.socket, Shutdown::Both);
        self.wait().map_err(CheckpointError::Talk)
    }

    /// Ends CRIU, which has nothing left to do or to take back.
    pub fn kill(self) -> Result<(), CheckpointError> {
        pidfd_send_signal(&self.pidfd, Signal::KILL).map_err(CheckpointError::Talk)?;
        self.wait().map(drop).map_err(CheckpointError::Talk)
    }

    fn wait(&self) -> Result<WaitIdStatus, Errno> {
        let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        ended.ok_or(Errno::CHILD)
    }
}

impl Drop for Criu {
    /// CRIU that loses its connection takes back what it has done and ends. If it has done nothing yet
    /// it would only complain.
    fn drop(&mut self) {
        if !self.asked.get() {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        let _ = shutdown(&self.socket, Shutdown::Both);
        let _ = self.wait();
    }
}

/// Whether CRIU and the kernel have a feature.
pub fn has(program: Option<&Path>, wanted: Features) -> Result<Features, Error> {
    let criu = Criu::start(program, &[])?;
    let request = Request { kind: Kind::FeatureCheck as i32, features: Some(wanted), ..Request::default() };
    let response = criu.ask(&request, |_| Ok(()))?;
    criu.finish()?;
    Ok(response.features.unwrap_or_default())
}
