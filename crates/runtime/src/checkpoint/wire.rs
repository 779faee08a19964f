//! What travels between the two sides of a migration: frames over one stream in each direction.
//!
//! A frame is a letter, the length of what follows (32 bits, little endian), and that. Every length
//! is bounded before anything is read, and names of files are single harmless components: a hostile
//! side can send nonsense, but not write outside of the directory that the other side chose.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;

/// The version of what is sent.
pub const VERSION: u32 = 1;

/// Config files are small, but engines put much into annotations.
const LONGEST_MESSAGE: usize = 16 << 20;

/// Signal 13 in a mask whose lowest bit is signal 1.
const SIGPIPE: u64 = 1 << 12;

/// A piece of a file.
const CHUNK: usize = 256 << 10;

/// What one side says to the other.
#[allow(missing_docs)] // a field is what its message speaks of
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    /// The source: what is coming.
    Hello(Hello),
    /// The target: it can take the container.
    Ready,
    /// The source: a file of the image of this round follows.
    File { round: u32, name: String, size: u64 },
    /// The source: the image of this round is complete, and is the last.
    Restore { round: u32 },
    /// The target: the container runs there. How long it took to restore it.
    Running { milliseconds: u64 },
    /// Why this side gives up.
    Failed { message: String },
    /// The source: its container has ended.
    Done,
}

/// What the target must know beforehand.
#[allow(missing_docs)] // the options of the source
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id on the source.
    pub id: String,
    /// Its config.json.
    pub config: String,
    pub tcp_established: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub file_locks: bool,
}

/// The connection to the other side.
pub struct Wire {
    input: File,
    output: File,
    /// How long the other side may take to send or to take anything.
    patience: Option<Duration>,
}

/// The other side is gone, or the stream is broken.
fn broken(e: &std::io::Error) -> CheckpointError {
    match e.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => CheckpointError::OtherSideGone,
        _ => CheckpointError::Wire(Errno::from_io_error(e).unwrap_or(Errno::IO)),
    }
}

impl Wire {
    /// Over these two descriptors. From here on a write to a side that is gone is an error, and not
    /// the end of this process.
    pub fn new(input: OwnedFd, output: OwnedFd) -> Wire {
        // Blocked and not ignored: programs are started with an empty mask, and with no signal
        // ignored.
        let _ = rt_sys::process::set_signal_mask(SIGPIPE);
        Wire { input: input.into(), output: output.into(), patience: None }
    }

    /// With a bound for every wait. Both descriptors must be this process's alone.
    pub fn with_patience(mut self, patience: Duration) -> Result<Wire, CheckpointError> {
        for file in [&self.input, &self.output] {
            fcntl_setfl(file, OFlags::NONBLOCK).map_err(CheckpointError::Wire)?;
        }
        self.patience = Some(patience);
        Ok(self)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), CheckpointError> {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err(CheckpointError::OtherSideGone),
                Ok(n) => bytes = &bytes[n..],
                Err(e) => self.wait(&e, &self.output, PollFlags::OUT)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, mut space: &mut [u8]) -> Result<(), CheckpointError> {
        while !space.is_empty() {
            match self.input.read(space) {
                Ok(0) => return Err(CheckpointError::OtherSideGone),
                Ok(n) => space = &mut space[n..],
                Err(e) => self.wait(&e, &self.input, PollFlags::IN)?,
            }
        }
        Ok(())
    }

    /// Waits until a descriptor for which a call would have blocked is ready.
    fn wait(&self, e: &std::io::Error, file: &File, ready: PollFlags) -> Result<(), CheckpointError> {
        match (e.kind(), self.patience) {
            (ErrorKind::Interrupted, _) => Ok(()),
            (ErrorKind::WouldBlock, Some(patience)) => {
                let time = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
                let mut fds = [PollFd::new(file, ready)];
                match retry_on_intr(|| poll(&mut fds, Some(&time))) {
                    Ok(0) => Err(CheckpointError::Silent(patience.as_secs())),
                    Ok(_) => Ok(()),
                    Err(errno) => Err(CheckpointError::Wire(errno)),
                }
            }
            _ => Err(broken(e)),
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Message) -> Result<(), CheckpointError> {
        self.frame(b'm', &serde_json::to_vec(message).unwrap_or_default())
    }

    fn frame(&mut self, letter: u8, bytes: &[u8]) -> Result<(), CheckpointError> {
        let mut head = [letter, 0, 0, 0, 0];
        head[1..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.write(&head)?;
        self.write(bytes)
    }

    /// Waits for a message.
    pub fn receive(&mut self) -> Result<Message, CheckpointError> {
        let bytes = self.take(b'm', LONGEST_MESSAGE)?;
        serde_json::from_slice(&bytes).map_err(|_| CheckpointError::Protocol("a message that is none"))
    }

    fn take(&mut self, letter: u8, most: usize) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = Vec::new();
        self.take_into(&mut bytes, letter, most)?;
        Ok(bytes)
    }

    fn take_into(&mut self, bytes: &mut Vec<u8>, letter: u8, most: usize) -> Result<(), CheckpointError> {
        let mut head = [0; 5];
        self.read(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if kind != letter || length > most {
            return Err(CheckpointError::Protocol("a frame that is none"));
        }
        bytes.resize(length, 0);
        self.read(bytes)
    }

    /// Sends the contents of a file of which `size` bytes were announced.
    pub fn send_file(&mut self, file: &mut File, size: u64) -> Result<(), CheckpointError> {
        let mut left = size;
        let mut space = vec![0; CHUNK];
        while left > 0 {
            let wanted = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut space[..wanted]).map_err(|e| broken(&e))?;
            self.frame(b'd', &space[..wanted])?;
            left -= wanted as u64;
        }
        Ok(())
    }

    /// Receives the announced bytes of a file.
    pub fn receive_file(
        &mut self,
        size: u64,
        mut write: impl FnMut(&[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let (mut left, mut bytes) = (size, Vec::new());
        while left > 0 {
            self.take_into(&mut bytes, b'd', CHUNK)?;
            let rest = left.checked_sub(bytes.len() as u64).filter(|_| !bytes.is_empty());
            left = rest.ok_or(CheckpointError::Protocol("more of a file than was announced"))?;
            write(&bytes)?;
        }
        Ok(())
    }
}

/// Whether a file of this name may be part of an image.
pub fn is_image_file(name: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let known = name.ends_with(".img") || name == super::image::DESCRIPTORS;
    known && name.len() < 128 && !name.starts_with('.') && name.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, Wire) {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (c, d) = std::os::unix::net::UnixStream::pair().unwrap();
        (Wire::new(a.into(), d.into()), Wire::new(c.into(), b.into()))
    }

    #[test]
    fn messages_and_files_arrive_whole() {
        let (mut ours, mut theirs) = pair();
        theirs.send(&Message::File { round: 2, name: "x.img".into(), size: 600_000 }).unwrap();
        assert!(matches!(ours.receive().unwrap(), Message::File { round: 2, name, size: 600_000 } if name == "x.img"));
        let mut file = tempfile::tempfile().unwrap();
        let contents: Vec<u8> = (0..600_000_u32).map(|n| n as u8).collect();
        std::io::Write::write_all(&mut file, &contents).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let sender = std::thread::spawn(move || theirs.send_file(&mut file, 600_000).unwrap());
        let mut got = Vec::new();
        ours.receive_file(600_000, |bytes| {
            got.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        sender.join().unwrap();
        assert_eq!(got, contents);
        assert!(matches!(ours.receive(), Err(CheckpointError::OtherSideGone)));
    }

    #[test]
    fn silence_is_an_error() {
        let (ours, _theirs) = pair();
        let mut ours = ours.with_patience(Duration::from_millis(20)).unwrap();
        assert!(matches!(ours.receive(), Err(CheckpointError::Silent(_))));
        let mut big = tempfile::tempfile().unwrap();
        big.set_len(8 << 20).unwrap();
        assert!(matches!(ours.send_file(&mut big, 8 << 20), Err(CheckpointError::Silent(_))));
    }

    /// A hostile side cannot make this one allocate or write what it likes.
    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b"m\xff\xff\xff\xff"[..], b"x\0\0\0\0", b"d\x01\0\0\0a", b"m\x02\0\0\0{}", b"m\x05\0\0\0\"no\"x"]
        {
            let (mut ours, mut theirs) = pair();
            theirs.output.write_all(bytes).unwrap();
            assert!(matches!(ours.receive(), Err(CheckpointError::Protocol(_))), "{bytes:?}");
        }
        let (mut ours, mut theirs) = pair();
        theirs.frame(b'd', &[0; 10]).unwrap();
        assert!(matches!(ours.receive_file(5, |_| Ok(())), Err(CheckpointError::Protocol(_))));
        theirs.frame(b'd', &[]).unwrap();
        assert!(matches!(ours.receive_file(5, |_| Ok(())), Err(CheckpointError::Protocol(_))));
    }

    #[test]
    fn names_of_files_are_harmless() {
        for good in ["pages-1.img", "tmpfs-dev-41.tar.gz.img", "descriptors.json"] {
            assert!(is_image_file(good), "{good}");
        }
        for bad in ["../x.img", "a/b.img", ".img", "parent", "x.sh", "", "x\0.img", "dump.log"] {
            assert!(!is_image_file(bad), "{bad}");
        }
    }
}
