//! Standard streams of a process: what the runtime gets, and what the shim copies to where containerd
//! wants it.
//!
//! Without a terminal the runtime gets pipes, as from containerd's own shim: a container's user owns
//! them, and what is in them outlives neither the process nor `Delete`. Only a logging binary reads
//! the container's pipe itself.

pub mod copy;
mod logger;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Context, Error};
use crate::options::Options;
use crate::server::Server;
use crate::task::Key;
use copy::{Copy, Role};
pub use logger::Logger;

/// Where containerd wants the streams of a process: paths of fifos or files, or URIs; empty is none.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// What a process writes to.
#[derive(Debug, PartialEq)]
enum Sink<'a> {
    None,
    /// A fifo, or a file to append to.
    Path(&'a str),
    /// A file that is made when it does not exist.
    File(String),
    /// A program that reads the output.
    Binary {
        uri: &'a str,
        must_say_ready: bool,
    },
}

impl Sink<'_> {
    fn of(uri: &str) -> Result<Sink<'_>, Error> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Ok(if uri.is_empty() { Sink::None } else { Sink::Path(uri) });
        };
        match scheme {
            "fifo" => Ok(Sink::Path(rest)),
            "file" => Ok(Sink::File(logger::path_of(rest))),
            "binary" => Ok(Sink::Binary { uri: rest, must_say_ready: false }),
            "binary-v2" => Ok(Sink::Binary { uri: rest, must_say_ready: true }),
            _ => Err(Error::Scheme { uri: uri.to_owned() }),
        }
    }
}

/// The streams of a process that does not exist yet.
#[derive(Default)]
pub struct Prepared {
    /// What the runtime gets as standard input, output and error.
    child: [Option<OwnedFd>; 3],
    /// Where the runtime sends the terminal to.
    console: Option<Console>,
    copies: Vec<(OwnedFd, OwnedFd, Role)>,
    /// Terminal only: where its output goes, and where its input comes from.
    sink: Option<OwnedFd>,
    source: Option<OwnedFd>,
    /// The shim's own end of the fifo that is standard input, so that input does not end with the first
    /// client that goes.
    holder: Option<OwnedFd>,
    logger: Option<Logger>,
}

/// The streams of a process that exists.
#[derive(Default)]
pub struct Io {
    /// Copies that have not come to their end.
    outputs: Vec<u64>,
    input: Option<u64>,
    holder: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    _logger: Option<Logger>,
}

impl Io {
    /// Whether all that the process has written has been copied.
    pub fn is_drained(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The terminal of the process, if it has one.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Lets standard input end when the last client has gone.
    pub fn close_stdin(&mut self) {
        self.holder = None;
    }

    /// A copy has come to its end.
    fn ended(&mut self, copy: u64) {
        self.outputs.retain(|output| *output != copy);
        if self.input == Some(copy) {
            self.input = None;
        }
    }
}

impl Server {
    /// Opens the streams of a process, and then calls `then`; a logging binary may take its time.
    pub fn prepare(
        &mut self,
        key: &Key,
        bundle: &Path,
        streams: &Streams,
        options: &Options,
        then: impl FnOnce(&mut Server, Result<Prepared, Error>) + 'static,
    ) {
        let prepared = match Sink::of(&streams.stdout) {
            Ok(Sink::Binary { uri, must_say_ready }) => {
                let namespace = self.identity.namespace.clone();
                match with_logger(uri, key, &namespace, bundle, streams, options) {
                    Ok((prepared, ready)) => return self.await_logger(prepared, ready, must_say_ready, then),
                    Err(error) => Err(error),
                }
            }
            Ok(sink) => {
                outputs(&sink, streams, options).and_then(|prepared| prepared.with_console(bundle, key, streams))
            }
            Err(error) => Err(error),
        };
        then(self, prepared);
    }

    fn await_logger(
        &mut self,
        prepared: Prepared,
        ready: Ready,
        must_say: bool,
        then: impl FnOnce(&mut Server, Result<Prepared, Error>) + 'static,
    ) {
        let Ready { fd, watched, path } = ready;
        let on_ready = move |server: &mut Server| {
            let said = rustix::io::read(&fd, &mut [0_u8; 1]).is_ok_and(|count| count > 0);
            then(server, if said || !must_say { Ok(prepared) } else { Err(Error::LoggerNotReady { path }) });
        };
        self.when_readable(watched, Box::new(on_ready));
    }

    /// Begins to copy, now that the process exists.
    pub fn begin(&mut self, key: &Key, prepared: Prepared) -> Result<Io, Error> {
        let Prepared { console, copies, sink, source, holder, logger, .. } = prepared;
        let mut io = Io { holder, _logger: logger, ..Io::default() };
        let mut copies = copies;
        if let Some(console) = console {
            let master = console.receive()?;
            let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).doing("copy a descriptor");
            rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).doing("change the terminal")?;
            if let Some(sink) = sink {
                copies.push((copy(&master)?, sink, Role::Output));
            }
            if let Some(source) = source {
                copies.push((source, copy(&master)?, Role::Input));
            }
            io.terminal = Some(master);
        }
        for (from, to, role) in copies {
            let splice = io.terminal.is_none();
            let token = self.start_copy(Copy::new(key.clone(), from, to, role, splice))?;
            match role {
                Role::Output => io.outputs.push(token),
                Role::Input => io.input = Some(token),
            }
        }
        Ok(io)
    }

    /// Ends all copying of a process, whatever is still to come.
    pub fn close_io(&mut self, io: &mut Io) {
        for token in io.outputs.drain(..).chain(io.input.take()) {
            self.end_copy(token);
        }
        *io = Io::default();
    }
}

impl Prepared {
    /// Gives the streams to the command that makes the process, and the place for its terminal.
    pub fn give(&mut self, command: &mut Command) {
        let [stdin, stdout, stderr] =
            std::mem::take(&mut self.child).map(|fd| fd.map_or_else(Stdio::null, Stdio::from));
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(console) = &self.console {
            command.arg("--console-socket").arg(&console.name);
        }
    }

    fn with_console(mut self, bundle: &Path, key: &Key, streams: &Streams) -> Result<Prepared, Error> {
        if streams.terminal {
            self.console = Some(Console::listen(bundle, key)?);
        }
        Ok(self)
    }
}

/// The descriptor on which a logging binary says that it is ready, and a copy of it to wait for.
struct Ready {
    fd: OwnedFd,
    watched: OwnedFd,
    path: PathBuf,
}

/// Starts a logging binary, which reads what the process writes.
fn with_logger(
    uri: &str,
    key: &Key,
    namespace: &str,
    bundle: &Path,
    streams: &Streams,
    options: &Options,
) -> Result<(Prepared, Ready), Error> {
    let mut prepared = input(streams, options)?.with_console(bundle, key, streams)?;
    let (started, fd) = logger::start(uri, key.name(), namespace, streams.terminal, options)?;
    let watched = rustix::io::fcntl_dupfd_cloexec(&fd, 3).doing("copy a descriptor")?;
    let [stdout, stderr] = started.pipes;
    if streams.terminal {
        prepared.sink = Some(stdout);
    } else {
        prepared.child[1] = Some(stdout);
        prepared.child[2] = Some(stderr);
    }
    prepared.logger = Some(started.logger);
    Ok((prepared, Ready { fd, watched, path: started.path }))
}

/// What a process reads, and nothing of what it writes.
fn input(streams: &Streams, options: &Options) -> Result<Prepared, Error> {
    let mut prepared = Prepared::default();
    if streams.stdin.is_empty() {
        return Ok(prepared);
    }
    let open = |flags: OFlags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(&*streams.stdin, flags, Mode::empty()).on("open standard input", &streams.stdin)
    };
    let source = open(OFlags::RDONLY)?;
    prepared.holder = Some(open(OFlags::WRONLY)?);
    if streams.terminal {
        prepared.source = Some(source);
        return Ok(prepared);
    }
    let (read, write) = pipe(options)?;
    rustix::fs::fcntl_setfl(&write, OFlags::NONBLOCK).doing("change a pipe")?;
    prepared.child[0] = Some(read);
    prepared.copies.push((source, write, Role::Input));
    Ok(prepared)
}

fn outputs(stdout: &Sink<'_>, streams: &Streams, options: &Options) -> Result<Prepared, Error> {
    let mut prepared = input(streams, options)?;
    if streams.terminal {
        // Somebody has to read: a program that writes to a terminal waits otherwise.
        prepared.sink = match destination(stdout)? {
            None => destination(&Sink::Path("/dev/null"))?,
            sink => sink,
        };
        return Ok(prepared);
    }
    let stderr = match stdout {
        // Both go to the one file.
        Sink::File(path) if !streams.stderr.is_empty() => Sink::File(path.clone()),
        _ => Sink::of(&streams.stderr)?,
    };
    for (number, sink) in [(1, stdout), (2, &stderr)] {
        if let Some(to) = destination(sink)? {
            let (read, write) = pipe(options)?;
            rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).doing("change a pipe")?;
            prepared.child[number] = Some(write);
            prepared.copies.push((read, to, Role::Output));
        }
    }
    Ok(prepared)
}

/// Opens what output goes to. Of a fifo both ends are opened: neither does the shim wait for a reader,
/// nor does output fail when the reader goes, as it does while containerd restarts.
fn destination(sink: &Sink<'_>) -> Result<Option<OwnedFd>, Error> {
    let path = match sink {
        Sink::None => return Ok(None),
        Sink::Path(path) => *path,
        Sink::File(path) => {
            let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory).on("make the directory", directory)?;
            let file = File::options().append(true).create(true).mode(0o644).open(path);
            return file.on("open the log", path).map(|file| Some(file.into()));
        }
        Sink::Binary { uri, .. } => return Err(Error::Scheme { uri: (*uri).to_owned() }),
    };
    let kind = fs::metadata(path).on("open an output", path)?.file_type();
    let file = if kind.is_fifo() {
        File::options().read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
    } else {
        File::options().append(true).open(path)
    };
    file.on("open an output", path).map(|file| Some(file.into()))
}

/// A pipe that belongs to the user whom the options name.
fn pipe(options: &Options) -> Result<(OwnedFd, OwnedFd), Error> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
    if options.io_uid != 0 || options.io_gid != 0 {
        let (uid, gid) = (Uid::from_raw(options.io_uid), Gid::from_raw(options.io_gid));
        rustix::fs::fchown(&write, Some(uid), Some(gid)).doing("change the owner of a pipe")?;
    }
    Ok((read, write))
}

/// The socket on which the runtime sends the master of a terminal.
struct Console {
    listener: OwnedFd,
    /// The name in the bundle, which is the runtime's working directory: a path could be too long for an
    /// address.
    name: String,
    path: PathBuf,
}

impl Console {
    fn listen(bundle: &Path, key: &Key) -> Result<Console, Error> {
        let name = format!("{}.pty", key.file_name());
        let path = bundle.join(&name);
        let directory =
            rustix::fs::open(bundle, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on("open the bundle", bundle)?;
        let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
        let address = SocketAddrUnix::new(short).on("take as the address of a socket", &path)?;
        let _ = fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).doing("make a socket")?;
        bind(&listener, &address).on("bind", &path)?;
        let console = Console { listener, name, path };
        listen(&console.listener, 1).on("listen on", &console.path)?;
        Ok(console)
    }

    /// The terminal. The runtime has sent it before it ended, so that nothing is waited for here.
    fn receive(&self) -> Result<OwnedFd, Error> {
        let what = "receive the terminal from the runtime";
        let socket = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).doing(what)?;
        let (_, master) = rt_sys::socket::receive(std::os::fd::AsFd::as_fd(&socket), &mut [0_u8; 4096]).doing(what)?;
        master.ok_or(Error::Call { what, errno: rustix::io::Errno::PROTO })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_output_goes() {
        assert_eq!(Sink::of("").unwrap(), Sink::None);
        assert_eq!(Sink::of("/run/f").unwrap(), Sink::Path("/run/f"));
        assert_eq!(Sink::of("fifo:///run/f").unwrap(), Sink::Path("/run/f"));
        assert_eq!(Sink::of("file:///var/a%20b").unwrap(), Sink::File("/var/a b".into()));
        assert_eq!(Sink::of("binary:///l?x=y").unwrap(), Sink::Binary { uri: "/l?x=y", must_say_ready: false });
        assert!(Sink::of("http://x").is_err());
    }

    /// A fifo without a reader neither blocks the shim nor makes it fail, and files are made with their
    /// directories.
    #[test]
    fn destinations() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let fd = destination(&Sink::Path(fifo.to_str().unwrap())).unwrap().unwrap();
        assert_eq!(rustix::io::write(&fd, b"x"), Ok(1));
        let file = directory.path().join("a/b/log");
        destination(&Sink::File(file.to_str().unwrap().to_owned())).unwrap().unwrap();
        assert!(file.exists());
        let error = destination(&Sink::Path("/nosuch/fifo")).unwrap_err().to_string();
        assert!(error.contains("/nosuch/fifo") && error.contains("No such file"), "{error}");
    }
}
