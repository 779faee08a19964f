//! The server: one thread that waits for everything at once.

mod alone;
mod commands;
mod connections;
mod events;
mod poll;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::fs::OFlags;
use rustix::process::Signal;

pub use commands::Finished;
use connections::Connection;
pub use connections::Reply;
use events::Publisher;
use poll::Poll;

use crate::error::{Context, Error};
use crate::log;
use crate::stdio::copy::Copies;
use crate::task::Tasks;

/// What the server does when something that it waits for happens, or has ended.
pub type Then = Box<dyn FnOnce(&mut Server)>;

/// How long a server that is to end waits for events that containerd has not yet taken.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Who the server is.
pub struct Identity {
    /// containerd's namespace.
    pub namespace: String,
    /// containerd's ttrpc socket, where events go.
    pub events: String,
}

/// What can wake the server, by the number that epoll returns.
enum Source {
    Listener,
    Signals,
    Connection,
    Events,
    Copy,
    /// A container has run out of memory, perhaps.
    Memory(String),
    /// Something that happens once; the descriptor is kept open until then.
    Once(OwnedFd, Then),
}

struct Timer {
    at: Instant,
    then: Then,
}

/// The server and all that it knows.
pub struct Server {
    pub identity: Identity,
    pub tasks: Tasks,
    pub copies: Copies,
    poll: Poll,
    sources: HashMap<u64, Source>,
    listener: OwnedFd,
    signals: OwnedFd,
    connections: HashMap<u64, Connection>,
    commands: HashMap<i32, commands::Command>,
    logs: u64,
    publisher: Publisher,
    timers: Vec<Timer>,
    /// Set when the server is to end: from then on it waits only for what is under way.
    until: Option<Instant>,
    /// Set while a timer looks for the bundle.
    watches_bundle: bool,
}

fn mask_of(signals: &[Signal]) -> u64 {
    signals.iter().fold(0, |mask, signal| mask | 1 << (signal.as_raw() - 1))
}

impl Server {
    /// A server for the connections that `listener` takes.
    pub fn new(identity: Identity, listener: OwnedFd) -> Result<Server, Error> {
        let mask = mask_of(&[Signal::CHILD, Signal::TERM, Signal::INT]);
        rt_sys::process::set_signal_mask(mask).doing("block signals")?;
        let signals = rt_sys::process::signal_fd(mask).doing("make a signalfd")?;
        rustix::fs::fcntl_setfl(&signals, OFlags::NONBLOCK).doing("change a signalfd")?;
        let mut server = Server {
            identity,
            tasks: Tasks::default(),
            copies: Copies::default(),
            poll: Poll::new()?,
            sources: HashMap::new(),
            listener,
            signals,
            connections: HashMap::new(),
            commands: HashMap::new(),
            logs: 0,
            publisher: Publisher::default(),
            timers: Vec::new(),
            until: None,
            watches_bundle: false,
        };
        let token = server.poll.add(&server.listener, EventFlags::IN)?;
        server.sources.insert(token, Source::Listener);
        let token = server.poll.add(&server.signals, EventFlags::IN)?;
        server.sources.insert(token, Source::Signals);
        server.watch_bundle();
        Ok(server)
    }

    /// Serves until containerd says that it is enough.
    pub fn serve(&mut self) -> Result<(), Error> {
        loop {
            let now = Instant::now();
            if self.until.is_some_and(|until| until <= now || self.is_idle()) {
                return Ok(());
            }
            let next = self.timers.iter().map(|timer| timer.at).chain(self.until).min();
            for (token, flags) in self.poll.wait(next.map(|at| at.saturating_duration_since(now)))? {
                self.woken(token, flags);
            }
            self.run_timers();
        }
    }

    /// Ends the server as soon as all answers and events have left.
    pub fn stop(&mut self) {
        self.until.get_or_insert_with(|| Instant::now() + LAST_EVENTS);
    }

    fn is_idle(&self) -> bool {
        self.publisher.is_empty() && self.connections.values().all(Connection::is_flushed)
    }

    fn woken(&mut self, token: u64, flags: EventFlags) {
        match self.sources.get(&token) {
            // Removed by something that happened in the same round.
            None => {}
            Some(Source::Listener) => self.accept(),
            Some(Source::Signals) => self.signalled(),
            Some(Source::Connection) => self.connection_woken(token, flags),
            Some(Source::Events) => self.events_woken(flags),
            Some(Source::Copy) => self.copy_woken(token),
            Some(Source::Memory(id)) => {
                let id = id.clone();
                self.memory_woken(&id);
            }
            Some(Source::Once(..)) => {
                if let Some(Source::Once(fd, then)) = self.sources.remove(&token) {
                    self.poll.delete(&fd);
                    then(self);
                }
            }
        }
    }

    fn signalled(&mut self) {
        let mut info = [0_u8; 128];
        while rustix::io::read(&self.signals, &mut info) == Ok(info.len()) {
            match i32::from_ne_bytes([info[0], info[1], info[2], info[3]]) {
                signal if signal == Signal::CHILD.as_raw() => self.reap(),
                // The machine goes down, or the administrator wants it so; the containers stay.
                _ => self.until = Some(Instant::now()),
            }
        }
    }

    /// Calls `then` once, when `fd` has something to read or its other side is gone; at once where that
    /// cannot be waited for.
    pub fn when_readable(&mut self, fd: OwnedFd, then: Then) {
        match self.poll.add(&fd, EventFlags::IN) {
            Ok(token) => drop(self.sources.insert(token, Source::Once(fd, then))),
            Err(error) => {
                log::error(error);
                then(self);
            }
        }
    }

    /// Calls `then` after this time.
    pub fn after(&mut self, time: Duration, then: Then) {
        self.timers.push(Timer { at: Instant::now() + time, then });
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.timers.iter().position(|timer| timer.at <= now) {
            let timer = self.timers.swap_remove(due);
            (timer.then)(self);
        }
    }

    /// Waits for a copy's descriptor; the number is the copy's name.
    pub fn add_copy(&mut self, fd: &OwnedFd, flags: EventFlags) -> Result<u64, Error> {
        let token = self.poll.add(fd, flags)?;
        self.sources.insert(token, Source::Copy);
        Ok(token)
    }

    /// Waits for the other descriptor of a copy from now on.
    pub fn turn_copy(&mut self, token: u64, from: &OwnedFd, to: &OwnedFd, flags: EventFlags) -> Result<(), Error> {
        self.poll.delete(from);
        self.poll.add_as(to, flags, token)
    }

    /// Waits for the memory events of a container; returns the number to forget them by.
    pub fn add_memory(&mut self, id: &str, fd: impl AsFd, flags: EventFlags) -> Result<u64, Error> {
        let token = self.poll.add(fd, flags)?;
        self.sources.insert(token, Source::Memory(id.to_owned()));
        Ok(token)
    }

    /// Forgets what `fd` was waited for.
    pub fn remove_source(&mut self, token: u64, fd: impl AsFd) {
        self.poll.delete(fd);
        self.sources.remove(&token);
    }
}
