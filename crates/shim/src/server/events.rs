//! Events to containerd: one at a time, so that they arrive in order, and kept while containerd is
//! away.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use containerd_shim_protos::api::ForwardRequest;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::ttrpc::{Request, Response};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};

use super::{Server, Source};
use crate::log;
use crate::wire::{Frame, Frames, request};

/// Events kept for a containerd that is away; then the oldest are dropped.
const KEPT: usize = 4096;

/// How long to wait before the next try to reach containerd.
const PAUSE: Duration = Duration::from_millis(200);

/// How long containerd may take to accept an event before the connection is made anew.
const PATIENCE: Duration = Duration::from_secs(10);

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// The connection to containerd, and what waits for it.
#[derive(Default)]
pub struct Publisher {
    queue: VecDeque<ForwardRequest>,
    line: Option<Line>,
    /// A try to connect is planned.
    pausing: bool,
    watching: bool,
    streams: u32,
}

struct Line {
    fd: OwnedFd,
    token: u64,
    frames: Frames,
    unsent: Vec<u8>,
    /// The first event of the queue is on its way; the number of its stream.
    sent: Option<u32>,
}

impl Publisher {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Server {
    /// Publishes an event of the Task service.
    pub fn publish<M: Message>(&mut self, topic: &str, event: &M) {
        let any = Any {
            type_url: format!("containerd.events.{}", M::NAME),
            value: event.write_to_bytes().unwrap_or_default(),
            ..Any::default()
        };
        let envelope = Envelope {
            timestamp: Some(log::timestamp()).into(),
            namespace: self.identity.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(any).into(),
            ..Envelope::default()
        };
        if self.publisher.queue.len() == KEPT {
            // The second one: the first may be on its way.
            let dropped = self.publisher.queue.remove(1).unwrap_or_default();
            log::error(format_args!("containerd takes no events: dropped one of {}", dropped.envelope.topic));
        }
        self.publisher.queue.push_back(ForwardRequest { envelope: Some(envelope).into(), ..ForwardRequest::default() });
        self.send_event();
    }

    /// Sends the first event of the queue, unless it is on its way.
    fn send_event(&mut self) {
        if self.publisher.pausing || !self.connect_to_containerd() {
            return;
        }
        let publisher = &mut self.publisher;
        let (Some(line), Some(event)) = (&mut publisher.line, publisher.queue.front()) else { return };
        if line.sent.is_some() {
            return;
        }
        publisher.streams += 2;
        let stream = publisher.streams - 1;
        let message = Request {
            service: SERVICE.to_owned(),
            method: "Forward".to_owned(),
            payload: event.write_to_bytes().unwrap_or_default(),
            timeout_nano: PATIENCE.as_nanos() as i64,
            ..Request::default()
        };
        line.unsent = request(stream, &message);
        line.sent = Some(stream);
        self.watch_event();
        self.flush_event();
    }

    /// Sees to it that the event on its way is accepted some time. One timer does for all events.
    fn watch_event(&mut self) {
        let Some(stream) = self.publisher.line.as_ref().and_then(|line| line.sent) else { return };
        if std::mem::replace(&mut self.publisher.watching, true) {
            return;
        }
        self.after(
            PATIENCE,
            Box::new(move |server| {
                server.publisher.watching = false;
                if server.publisher.line.as_ref().is_some_and(|line| line.sent == Some(stream)) {
                    log::warn("containerd does not accept an event; trying again");
                    server.hang_up();
                }
                server.watch_event();
            }),
        );
    }

    fn flush_event(&mut self) {
        let Some(line) = &mut self.publisher.line else { return };
        while !line.unsent.is_empty() {
            match send(&line.fd, &line.unsent, SendFlags::NOSIGNAL) {
                Ok(count) => drop(line.unsent.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.poll.modify(&line.fd, EventFlags::IN | EventFlags::OUT, line.token),
                Err(_) => return self.hang_up(),
            }
        }
        self.poll.modify(&line.fd, EventFlags::IN, line.token);
    }

    /// Whether there is a connection; if none can be had now, a later try is planned.
    fn connect_to_containerd(&mut self) -> bool {
        if self.publisher.line.is_some() {
            return true;
        }
        let path = self.identity.events.trim_start_matches("unix://");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connected = SocketAddrUnix::new(path).and_then(|address| {
            let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            connect(&fd, &address)?;
            Ok(fd)
        });
        let added = connected.ok().and_then(|fd| self.poll.add(&fd, EventFlags::IN).ok().map(|token| (fd, token)));
        let Some((fd, token)) = added else {
            self.try_later();
            return false;
        };
        self.sources.insert(token, Source::Events);
        self.publisher.line = Some(Line { fd, token, frames: Frames::default(), unsent: Vec::new(), sent: None });
        true
    }

    pub(super) fn events_woken(&mut self, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush_event();
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let mut piece = [0_u8; 4096];
        let Some(line) = &mut self.publisher.line else { return };
        match rustix::io::read(&line.fd, &mut piece) {
            Ok(0) => return self.hang_up(),
            Ok(count) => line.frames.push(&piece[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.hang_up(),
        }
        while let Some(frame) = line.frames.next() {
            if let Frame::Response { payload } = frame {
                let status = Response::parse_from_bytes(&payload).unwrap_or_default().status;
                if status.code.value() != 0 {
                    log::error(format_args!("containerd refuses an event: {}", status.message));
                }
                line.sent = None;
                self.publisher.queue.pop_front();
            }
        }
        self.send_event();
    }

    /// Gives the connection up; what was on its way is sent again.
    fn hang_up(&mut self) {
        if let Some(line) = self.publisher.line.take() {
            self.sources.remove(&line.token);
        }
        if !self.publisher.queue.is_empty() {
            self.try_later();
        }
    }

    fn try_later(&mut self) {
        if !std::mem::replace(&mut self.publisher.pausing, true) {
            self.after(
                PAUSE,
                Box::new(|server| {
                    server.publisher.pausing = false;
                    server.send_event();
                }),
            );
        }
    }
}
