//! The connection to systemd: its private socket, which answers without a bus in between, or the
//! bus.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::message::{Call, Message, Reader, Writer, decode, encode, total_length};
use crate::error::Error;

/// How long systemd may take to answer, and a job to end.
const PATIENCE: Duration = Duration::from_secs(30);

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A connection.
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Through the bus, calls carry a destination.
    through_bus: bool,
    /// Jobs that ended while something else was waited for: object path and result.
    ended: Vec<(String, String)>,
}

/// Why a call failed: the error's name and systemd's words.
pub struct Refusal {
    /// E.g. `org.freedesktop.systemd1.UnitExists`.
    pub name: String,
    /// For people.
    pub text: String,
}

/// What a call gives: the reply's body, or systemd's refusal.
pub type Answer = Result<Vec<u8>, Refusal>;

fn lost(what: &'static str, e: &std::io::Error) -> Error {
    let errno = match e.kind() {
        std::io::ErrorKind::WouldBlock => Errno::TIMEDOUT,
        _ => Errno::from_io_error(e).unwrap_or(Errno::IO),
    };
    Error::Bus { what, errno }
}

/// The sockets to try: the manager's own, then the bus.
fn sockets(user: bool) -> Vec<(PathBuf, bool)> {
    if !user {
        return vec![("/run/systemd/private".into(), false), ("/run/dbus/system_bus_socket".into(), true)];
    }
    let mut all = Vec::new();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    all.extend(runtime.iter().map(|dir| (dir.join("systemd/private"), false)));
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let named = address.split(';').find_map(|a| a.strip_prefix("unix:path="));
    all.extend(named.map(|path| (path.split(',').next().unwrap_or(path).into(), true)));
    all.extend(runtime.iter().map(|dir| (dir.join("bus"), true)));
    all
}

impl Bus {
    /// Connects to the system's manager, or the user's.
    pub fn connect(user: bool) -> Result<Bus, Error> {
        let mut first = None;
        for (path, through_bus) in sockets(user) {
            match Bus::open(&path, through_bus) {
                Ok(bus) => return Ok(bus),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or(Error::Bus { what: "find systemd (XDG_RUNTIME_DIR is not set)", errno: Errno::NOENT }))
    }

    fn open(path: &std::path::Path, through_bus: bool) -> Result<Bus, Error> {
        let stream = UnixStream::connect(path).map_err(|e| lost("connect to systemd", &e))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| lost("connect to systemd", &e))?;
        let mut bus = Bus { stream, serial: 0, through_bus, ended: Vec::new() };
        // The socket itself proves our user id to the bus, so the message names no id: in a user
        // namespace our own number would be the wrong one. The whole handshake is sent at once, and
        // no call follows before the answer: systemd does not look at a call that arrives together
        // with BEGIN until more data comes.
        bus.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        while !bus.line()?.starts_with("OK ") {}
        if through_bus {
            let hello = |member, signature, body| Call {
                destination: Some("org.freedesktop.DBus"),
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member,
                signature,
                body,
            };
            bus.answer(&hello("Hello", "", Writer::default()))?.map_err(|r| refused("Hello", &r))?;
            let mut rule = Writer::default();
            rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
            bus.answer(&hello("AddMatch", "s", rule))?.map_err(|r| refused("AddMatch", &r))?;
            bus.manager("Subscribe", "", Writer::default())?.map_err(|r| refused("Subscribe", &r))?;
        }
        Ok(bus)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).map_err(|e| lost("write to systemd", &e))
    }

    /// A line of the authentication. Read by single bytes: what follows it is not text.
    fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).map_err(|e| lost("authenticate to systemd", &e))?;
            line.push(byte[0]);
            if line.len() > 1024 || line.starts_with(b"REJECTED") && line.ends_with(b"\r\n") {
                return Err(Error::Bus { what: "authenticate to systemd", errno: Errno::ACCESS });
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn receive(&mut self) -> Result<Message, Error> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).map_err(|e| lost("read from systemd", &e))?;
        let malformed = || Error::Bus { what: "understand systemd", errno: Errno::PROTO };
        let mut bytes = vec![0; total_length(&head).ok_or_else(malformed)?];
        bytes[..16].copy_from_slice(&head);
        self.stream.read_exact(&mut bytes[16..]).map_err(|e| lost("read from systemd", &e))?;
        decode(&bytes).ok_or_else(malformed)
    }

    /// A call of the manager.
    pub fn manager(&mut self, member: &str, signature: &str, body: Writer) -> Result<Answer, Error> {
        let destination = self.through_bus.then_some(NAME);
        self.answer(&Call { destination, path: PATH, interface: MANAGER, member, signature, body })
    }

    /// A string property of the manager.
    pub fn property(&mut self, name: &str) -> Result<String, Error> {
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text(name);
        let destination = self.through_bus.then_some(NAME);
        let interface = "org.freedesktop.DBus.Properties";
        let answer = self.answer(&Call { destination, path: PATH, interface, member: "Get", signature: "ss", body })?;
        let body = answer.map_err(|r| refused("Get", &r))?;
        let mut reader = Reader::new(&body);
        let value = reader.signature().filter(|s| s == "s").and_then(|_| reader.text());
        value.ok_or(Error::Bus { what: "understand systemd", errno: Errno::PROTO })
    }

    fn answer(&mut self, call: &Call<'_>) -> Result<Answer, Error> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&encode(serial, call))?;
        loop {
            let message = self.receive()?;
            if message.reply_to == Some(serial) {
                return Ok(match message.kind {
                    3 => Err(Refusal {
                        name: message.error.unwrap_or_default(),
                        text: Reader::new(&message.body).text().unwrap_or_default(),
                    }),
                    _ => Ok(message.body),
                });
            }
            self.note(&message);
        }
    }

    /// Keeps the end of a job: it may come before the reply that names the job.
    fn note(&mut self, message: &Message) {
        if message.kind == 4 && message.member.as_deref() == Some("JobRemoved") {
            let mut body = Reader::new(&message.body);
            let _id = body.word();
            let (job, _unit, result) = (body.text(), body.text(), body.text());
            if let (Some(job), Some(result)) = (job, result) {
                self.ended.push((job, result));
            }
        }
    }

    /// Waits for the end of the job in a reply, and gives its result: `done`, or why not.
    pub fn job_result(&mut self, reply: &[u8]) -> Result<String, Error> {
        let job = Reader::new(reply).text().ok_or(Error::Bus { what: "understand systemd", errno: Errno::PROTO })?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.ended.iter().position(|(path, _)| *path == job) {
                return Ok(self.ended.swap_remove(at).1);
            }
            if Instant::now() > end {
                return Err(Error::Bus { what: "wait for a job of systemd", errno: Errno::TIMEDOUT });
            }
            let message = self.receive()?;
            self.note(&message);
        }
    }
}

/// A refusal as an error.
pub fn refused(call: &'static str, refusal: &Refusal) -> Error {
    Error::Systemd { call, text: format!("{} ({})", refusal.text, refusal.name) }
}
