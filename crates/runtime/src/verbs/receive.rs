//! `receive`: the target's side of a migration.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rt_plan::spec::Spec;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::create::read_config;
use super::delete::delete;
use super::options::{CreateOptions, RestoreOptions};
use super::restore::restore;
use crate::checkpoint::{CheckpointError, CriuOptions, Hello, Message, VERSION, Wire, is_image_file, tracks_memory};
use crate::error::{Context, Error};
use crate::store::directory::{Store, check_id};

/// As many as a source makes, and one.
const MOST_ROUNDS: u32 = 16;

/// The options of `receive`.
#[derive(Clone, Debug, Default)]
pub struct ReceiveOptions {
    /// Those that it shares with `run`. A bundle without a config.json gets the source's.
    pub run: CreateOptions,
    /// CRIU's. The image is below `image`, and is removed in the end.
    pub criu: CriuOptions,
    /// `--as`: another id than on the source.
    pub id: Option<String>,
}

/// Takes a container over the standard streams, and runs it. Returns its id.
pub fn receive(store: &Store, options: &ReceiveOptions) -> Result<String, Error> {
    let mut wire = streams()?;
    let directory = options.criu.image.join(format!("rt-receive-{}", std::process::id()));
    let received = take(&mut wire, store, options, &directory);
    if let Err(e) = &received {
        let _ = wire.send(&Message::Failed { message: e.to_string() });
    }
    let _ = std::fs::remove_dir_all(&directory);
    received
}

/// Takes the standard streams over for the wire: the container must not have them.
fn streams() -> Result<Wire, Error> {
    let taken = "take over the standard streams";
    let input = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).doing(taken)?;
    let output = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).doing(taken)?;
    let null: OwnedFd = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").doing(taken)?.into();
    rustix::stdio::dup2_stdin(&null).doing(taken)?;
    rustix::stdio::dup2_stdout(&null).doing(taken)?;
    Ok(Wire::new(input, output))
}

/// Runs `work` with the null device for standard error: the container must not keep the caller's
/// connection.
fn without_errors<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let moved = "move standard error";
    let own = fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).doing(moved)?;
    rustix::stdio::dup2_stderr(rustix::stdio::stdout()).doing(moved)?;
    let result = work();
    rustix::stdio::dup2_stderr(&own).doing(moved)?;
    result
}

fn take(wire: &mut Wire, store: &Store, options: &ReceiveOptions, directory: &Path) -> Result<String, Error> {
    let Message::Hello(hello) = wire.receive()? else {
        return Err(CheckpointError::Protocol("no greeting").into());
    };
    let id = prepare(store, options, &hello)?;
    std::fs::DirBuilder::new().mode(0o700).create(directory).on("create", directory)?;
    wire.send(&Message::Ready)?;
    let round = loop {
        match wire.receive()? {
            Message::File { round, name, size } => write(wire, directory, round, &name, size)?,
            Message::Restore { round } => break round,
            Message::Failed { message } => return Err(CheckpointError::Refused(message).into()),
            _ => return Err(CheckpointError::Protocol("another message than it should").into()),
        }
    };
    let criu = CriuOptions {
        image: image_of(directory, round)?,
        work: None,
        tcp_established: hello.tcp_established,
        ext_unix_sk: hello.ext_unix_sk,
        shell_job: hello.shell_job,
        file_locks: hello.file_locks,
        ..options.criu.clone()
    };
    let begin = Instant::now();
    let run = CreateOptions { detach: true, ..options.run.clone() };
    without_errors(|| restore(store, &id, &RestoreOptions { run, criu, clone: None }))?;
    let milliseconds = begin.elapsed().as_millis() as u64;
    if let Err(e) = wire.send(&Message::Running { milliseconds }) {
        // The source cannot know of it, and its container runs on.
        let _ = delete(store, &id, true);
        return Err(e.into());
    }
    // The source ends its container. If it is gone instead, this one runs all the same.
    let _ = wire.receive();
    Ok(id)
}

/// All that would keep the container from being restored is said before anything is sent.
fn prepare(store: &Store, options: &ReceiveOptions, hello: &Hello) -> Result<String, Error> {
    if hello.version != VERSION {
        return Err(CheckpointError::OtherVersion(hello.version).into());
    }
    let id = options.id.clone().unwrap_or_else(|| hello.id.clone());
    check_id(&id)?;
    match store.open(&id) {
        Err(Error::DoesNotExist) => {}
        Ok(_) => return Err(Error::Exists),
        Err(e) => return Err(e),
    }
    let config = options.run.bundle.join("config.json");
    if options.run.config.is_none() && !config.exists() {
        std::fs::write(&config, &hello.config).on("write", &config)?;
    }
    let document = read_config(&options.run)?;
    let _: Spec<'_> = document.parse()?;
    // Whether there is a CRIU at all.
    tracks_memory(&options.criu)?;
    Ok(id)
}

fn image_of(directory: &Path, round: u32) -> Result<PathBuf, CheckpointError> {
    if round == 0 || round > MOST_ROUNDS {
        return Err(CheckpointError::Protocol("an image of no round"));
    }
    Ok(directory.join(round.to_string()))
}

fn write(wire: &mut Wire, directory: &Path, round: u32, name: &str, size: u64) -> Result<(), Error> {
    let image = image_of(directory, round)?;
    if !is_image_file(name) {
        return Err(CheckpointError::Protocol("a file that is no part of an image").into());
    }
    match std::fs::DirBuilder::new().mode(0o700).create(&image) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => {
            other.on("create", &image)?;
            if round > 1 {
                symlink(format!("../{}", round - 1), image.join("parent")).on("link", &image)?;
            }
        }
    }
    let path = image.join(name);
    let create = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = create.on("create", &path)?;
    let failed = |e: std::io::Error| CheckpointError::Image {
        path: path.clone(),
        errno: Errno::from_io_error(&e).unwrap_or(Errno::IO),
    };
    Ok(wire.receive_file(size, |bytes| file.write_all(bytes).map_err(failed))?)
}
