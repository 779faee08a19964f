//! The connections to the server, and the way of an answer back.

use std::os::fd::OwnedFd;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::ttrpc::{Code, Response, get_status};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

use super::{Server, Source};
use crate::error::Error;
use crate::log;
use crate::wire::{Frame, Frames, response};

/// A client that lets more answers than this lie is not listening.
const UNREAD: usize = 16 << 20;

/// Read at once.
const PIECE: usize = 16 << 10;

pub struct Connection {
    fd: OwnedFd,
    frames: Frames,
    unsent: Vec<u8>,
}

impl Connection {
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}

/// Where the answer to a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    connection: u64,
    stream: u32,
}

impl Server {
    pub(super) fn accept(&mut self) {
        match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => match self.poll.add(&fd, EventFlags::IN) {
                Ok(token) => {
                    self.sources.insert(token, Source::Connection);
                    self.connections.insert(token, Connection { fd, frames: Frames::default(), unsent: Vec::new() });
                }
                Err(error) => log::error(error),
            },
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            // The table of descriptors is full, say; there is no use in trying without pause.
            Err(errno) => {
                log::error(format_args!("accept a connection: {errno}"));
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }

    pub(super) fn connection_woken(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(token);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read_requests(token);
        }
    }

    fn read_requests(&mut self, token: u64) {
        let mut piece = [0_u8; PIECE];
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match rustix::io::read(&connection.fd, &mut piece) {
            Ok(0) => return self.disconnect(token),
            Ok(count) => connection.frames.push(&piece[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.disconnect(token),
        }
        // A request can end the connection.
        while let Some(frame) = self.connections.get_mut(&token).and_then(|connection| connection.frames.next()) {
            match frame {
                Frame::Request { stream, payload } => self.request(Reply { connection: token, stream }, &payload),
                Frame::TooLong { stream } => {
                    let status =
                        get_status(Code::RESOURCE_EXHAUSTED, "the request is longer than a message of ttrpc may be");
                    self.send(
                        Reply { connection: token, stream },
                        Response { status: Some(status).into(), ..Response::default() },
                    );
                }
                Frame::Response { .. } | Frame::Other => {
                    log::warn("a client sent what is no request; its connection was closed");
                    self.disconnect(token);
                }
            }
        }
    }

    /// Answers a request.
    pub fn answer<M: Message>(&mut self, reply: Reply, result: Result<M, Error>) {
        let response = match result {
            Ok(message) => Response { payload: message.write_to_bytes().unwrap_or_default(), ..Response::default() },
            Err(error) => {
                log::debug(&error);
                Response { status: Some(error.status()).into(), ..Response::default() }
            }
        };
        self.send(reply, response);
    }

    /// Answers a request that has no result.
    pub fn done(&mut self, reply: Reply, result: Result<(), Error>) {
        self.answer(reply, result.map(|()| Empty::default()));
    }

    fn send(&mut self, reply: Reply, message: Response) {
        // The client may be gone: a restarted containerd asks again.
        let Some(connection) = self.connections.get_mut(&reply.connection) else { return };
        connection.unsent.extend(response(reply.stream, &message));
        if connection.unsent.len() > UNREAD {
            log::warn("a client reads no answers; its connection was closed");
            return self.disconnect(reply.connection);
        }
        self.flush(reply.connection);
    }

    fn flush(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        while !connection.unsent.is_empty() {
            match send(&connection.fd, &connection.unsent, SendFlags::NOSIGNAL) {
                Ok(count) => drop(connection.unsent.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.poll.modify(&connection.fd, EventFlags::IN | EventFlags::OUT, token),
                Err(_) => return self.disconnect(token),
            }
        }
        connection.unsent = Vec::new();
        self.poll.modify(&connection.fd, EventFlags::IN, token);
    }

    fn disconnect(&mut self, token: u64) {
        self.sources.remove(&token);
        // Closing it takes it out of epoll.
        self.connections.remove(&token);
        self.watch_bundle();
    }
}
