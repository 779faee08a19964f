//! `migrate`: a running container moves to another host.
//!
//! Memory is saved and sent in rounds while the container runs, until a round has not much less than
//! the one before; then the container is stopped, the rest is sent, and the target restores it. CRIU
//! keeps the container stopped meanwhile: it is ended when the target says that it runs there, and
//! goes on here in any other case.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rt_plan::spec::Spec;
use rustix::pipe::{PipeFlags, pipe_with};
use tracing::trace_span;

use super::checkpoint::alive;
use super::delete::destroy;
use crate::checkpoint::{
    CheckpointError, CriuOptions, Hello, Message, VERSION, Wire, dump, is_image_file, tracks_memory,
};
use crate::error::{Context, Error};
use crate::host::command::HostCommand;
use crate::read_document;
use crate::store::directory::Store;
use crate::store::state::State;

/// A container that writes faster than can be sent never has a short round.
const MOST_ROUNDS: u32 = 8;

/// A round of this many bytes is not worth another.
const SHORT_ROUND: u64 = 4 << 20;

/// The size of a pipe to the other side.
const PIPE: usize = 1 << 20;

/// The options of `migrate`.
#[derive(Clone, Debug, Default)]
pub struct MigrateOptions {
    /// CRIU's. The image is below `image`, and is removed in the end.
    pub criu: CriuOptions,
    /// `--to`: a shell command whose standard streams lead to `rt receive` on the target.
    pub to: String,
    /// `--timeout`: how long the target may be silent.
    pub patience: Duration,
}

/// One round: what was sent, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// From its begin until it was sent.
    pub took: Duration,
}

/// How a migration went.
#[derive(Clone, Debug, Default)]
pub struct Migrated {
    /// The rounds; the last is the one for which the container was stopped.
    pub rounds: Vec<Round>,
    /// From when the container was stopped until it ran on the target.
    pub downtime: Duration,
    /// The part of it that CRIU took to save the container.
    pub dump: Duration,
    /// The part of it that the target took to restore the container.
    pub restore: Duration,
}

/// A directory that is removed with all that is in it.
struct Temporary(PathBuf);

impl Temporary {
    fn make(below: &Path, id: &str) -> Result<Temporary, Error> {
        let path = below.join(format!("rt-migrate-{id}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).on("create", &path)?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Moves the container. It has ended here when this returns without an error, and else runs on.
pub fn migrate(store: &Store, id: &str, options: &MigrateOptions) -> Result<Migrated, Error> {
    let (container, state) = alive(store, id)?;
    let document = read_document(&state.config_path())?;
    let spec: Spec<'_> = document.parse()?;
    let directory = Temporary::make(&options.criu.image, id)?;
    let mut wire = connect(&options.to, options.patience)?;
    let mut source = Source { state: &state, spec: &spec, options, directory: &directory.0, wire: &mut wire };
    let migrated = source.run(id)?;
    destroy(&container, Some(&state))?;
    // The target has the container; what it still waits for is a courtesy.
    let _ = wire.send(&Message::Done);
    Ok(migrated)
}

/// Starts the command that leads to the target.
fn connect(command: &str, patience: Duration) -> Result<Wire, Error> {
    let failed = "start the command of --to";
    let (their_input, output) = pipe_with(PipeFlags::CLOEXEC).doing(failed)?;
    let (input, their_output) = pipe_with(PipeFlags::CLOEXEC).doing(failed)?;
    for pipe in [&input, &output] {
        // Fewer turns between both sides; a user may not have as much.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
    let errors = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).doing(failed)?;
    let shell = HostCommand::new("/bin/sh").and_then(|shell| shell.args(["-c", command])).doing(failed)?;
    shell.start_on([their_input, their_output, errors]).doing(failed)?;
    Ok(Wire::new(input, output).with_patience(patience)?)
}

struct Source<'a> {
    state: &'a State,
    spec: &'a Spec<'a>,
    options: &'a MigrateOptions,
    directory: &'a Path,
    wire: &'a mut Wire,
}

impl Source<'_> {
    fn run(&mut self, id: &str) -> Result<Migrated, Error> {
        let criu = &self.options.criu;
        let path = self.state.config_path();
        let config = rt_sys::file::read(&path).on("read", path)?;
        self.wire.send(&Message::Hello(Hello {
            version: VERSION,
            id: id.to_owned(),
            config: String::from_utf8_lossy(&config).into_owned(),
            tcp_established: criu.tcp_established,
            ext_unix_sk: criu.ext_unix_sk,
            shell_job: criu.shell_job,
            file_locks: criu.file_locks,
        }))?;
        self.expect(|message| matches!(message, Message::Ready).then_some(()))?;
        let mut migrated = Migrated::default();
        if tracks_memory(criu)? {
            while self.is_worth_another(&migrated.rounds) {
                let round = self.round(migrated.rounds.len() as u32 + 1)?;
                tracing::debug!("round {}: {} bytes of memory", migrated.rounds.len() + 1, round.memory);
                migrated.rounds.push(round);
            }
        } else {
            tracing::warn!(
                "this kernel does not track memory: the container is stopped until all of its memory is sent"
            );
        }
        self.last(&mut migrated)?;
        Ok(migrated)
    }

    fn is_worth_another(&self, rounds: &[Round]) -> bool {
        match rounds {
            [] => true,
            [.., last] if last.memory < SHORT_ROUND || rounds.len() as u32 >= MOST_ROUNDS => false,
            [.., before, last] => last.memory < before.memory / 10 * 9,
            [_] => true,
        }
    }

    fn criu(&self, round: u32) -> CriuOptions {
        let parent = (round > 1).then(|| PathBuf::from(format!("../{}", round - 1)));
        let image = self.directory.join(round.to_string());
        CriuOptions { image, parent, work: None, ..self.options.criu.clone() }
    }

    /// Memory only; the container runs on.
    fn round(&mut self, number: u32) -> Result<Round, Error> {
        let _span = trace_span!("round").entered();
        let begin = Instant::now();
        let criu = CriuOptions { pre_dump: true, ..self.criu(number) };
        save(self.state, self.spec, &criu, &mut |_| Ok(()))?;
        let (memory, bytes) = send_image(self.wire, number, &criu.image)?;
        Ok(Round { memory, bytes, took: begin.elapsed() })
    }

    /// All the rest. The container is stopped until the target runs it, or has failed to.
    fn last(&mut self, migrated: &mut Migrated) -> Result<(), Error> {
        let number = migrated.rounds.len() as u32 + 1;
        let criu = self.criu(number);
        let wire = &mut *self.wire;
        let mut saved = |begin: Instant| {
            migrated.dump = begin.elapsed();
            let sending = Instant::now();
            let (memory, bytes) = trace_span!("send").in_scope(|| send_image(wire, number, &criu.image))?;
            migrated.rounds.push(Round { memory, bytes, took: migrated.dump + sending.elapsed() });
            wire.send(&Message::Restore { round: number })?;
            let restored = trace_span!("the target restores").in_scope(|| {
                expect(wire, |message| match message {
                    Message::Running { milliseconds } => Some(*milliseconds),
                    _ => None,
                })
            })?;
            migrated.restore = Duration::from_millis(restored);
            migrated.downtime = begin.elapsed();
            Ok(())
        };
        trace_span!("stopped").in_scope(|| save(self.state, self.spec, &criu, &mut saved))
    }

    fn expect<T>(&mut self, wanted: impl Fn(&Message) -> Option<T>) -> Result<T, Error> {
        expect(self.wire, wanted)
    }
}

/// Saves a round; `saved` gets the time at which that began. When mappings change meanwhile, CRIU may
/// miss in the round before what it expects there ("Missing … in parent pagemap"): the round is then
/// saved whole.
fn save(
    state: &State,
    spec: &Spec<'_>,
    criu: &CriuOptions,
    saved: &mut dyn FnMut(Instant) -> Result<(), Error>,
) -> Result<(), Error> {
    let (begin, mut is_saved) = (Instant::now(), false);
    let dumped = dump(state, spec, criu, &mut || {
        is_saved = true;
        saved(begin)
    });
    match dumped {
        Err(Error::Checkpoint(CheckpointError::Failed { finding, .. })) if criu.parent.is_some() && !is_saved => {
            tracing::warn!("a round is saved whole, because it failed against the round before: {finding}");
            std::fs::remove_dir_all(&criu.image).on("remove", &criu.image)?;
            let begin = Instant::now();
            dump(state, spec, &CriuOptions { parent: None, ..criu.clone() }, &mut || saved(begin))
        }
        other => other,
    }
}

fn expect<T>(wire: &mut Wire, wanted: impl Fn(&Message) -> Option<T>) -> Result<T, Error> {
    let message = wire.receive()?;
    if let Some(answer) = wanted(&message) {
        return Ok(answer);
    }
    Err(match message {
        Message::Failed { message } => CheckpointError::Refused(message),
        _ => CheckpointError::Protocol("another message than it should"),
    }
    .into())
}

/// Sends the files of an image. Returns how many bytes of memory and how many in all there were.
fn send_image(wire: &mut Wire, round: u32, image: &Path) -> Result<(u64, u64), Error> {
    let (mut memory, mut all) = (0, 0);
    for entry in std::fs::read_dir(image).on("read", image)? {
        let entry = entry.on("read", image)?;
        let Some(name) = entry.file_name().to_str().filter(|name| is_image_file(name)).map(str::to_owned) else {
            continue;
        };
        let mut file = File::open(entry.path()).on("open", entry.path())?;
        let size = file.metadata().on("look at", entry.path())?.len();
        if name.starts_with("pages-") {
            memory += size;
        }
        all += size;
        wire.send(&Message::File { round, name, size })?;
        wire.send_file(&mut file, size)?;
    }
    Ok((memory, all))
}
