//! One directory of cgroupfs, opened once, and its control files.
//!
//! Files are reached by `openat` on the directory's descriptor, so a rename or a mount over the
//! path between two accesses cannot redirect one of them. The descriptor is made at the first
//! access: most commands need one or two of the dozen directories that a container has on cgroup
//! v1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rt_resources::check::is_file_name;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// A cgroup directory that may or may not exist.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    fd: OnceLock<OwnedFd>,
}

impl Dir {
    /// Names a directory; nothing is opened yet.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Dir {
        Dir { path: path.into(), fd: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's descriptor. `O_PATH` is enough for `openat`, for `clone3(CLONE_INTO_CGROUP)`
    /// and for bpf(2).
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|errno| self.call("open", errno))?;
        Ok(self.fd.get_or_init(|| opened).as_fd())
    }

    /// Whether the directory exists (still: a descriptor made earlier would outlive it).
    pub(crate) fn exists(&self) -> Result<bool, Error> {
        match rustix::fs::stat(&self.path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(self.call("stat", errno)),
        }
    }

    /// Opens a control file for the given kind of access.
    pub(crate) fn open(&self, file: &str, access: OFlags) -> Result<OwnedFd, Error> {
        if !is_file_name(file) {
            return Err(self.file_call("open", file, Errno::INVAL));
        }
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(self.fd()?, file, flags, Mode::empty()).map_err(|errno| self.file_call("open", file, errno))
    }

    /// Writes a value in one write(2), as the kernel wants it.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let refused =
            |errno| Error::Write { pointer: None, path: self.path.join(file), value: value.to_owned(), errno };
        let fd = self.open(file, OFlags::WRONLY).map_err(|error| error.errno().map_or(error, refused))?;
        write_value(fd.as_fd(), value).map_err(refused)
    }

    /// Reads a control file. To the kernel each is one record, except lists of processes.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        let fd = self.open(file, OFlags::RDONLY)?;
        read_record(fd.as_fd()).map_err(|errno| self.file_call("read", file, errno))
    }

    /// As [`Dir::read_if_any`], of a file with a line per process: a read gives as many of these as
    /// fit into a page.
    pub(crate) fn read_list_if_any(&self, file: &str) -> Result<Option<String>, Error> {
        let list = self.open(file, OFlags::RDONLY).and_then(|fd| {
            let bytes = rt_sys::file::read_of(fd).map_err(|errno| self.file_call("read", file, errno))?;
            Ok(text(bytes))
        });
        if_any(list)
    }

    /// As [`Dir::read`], for a caller that needs nothing else of the directory: a single file can
    /// be opened by its path, which takes half the calls.
    pub(crate) fn peek(&self, file: &'static str) -> Result<String, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(self.path.join(file), flags, Mode::empty());
        let fd = opened.map_err(|errno| self.file_call("open", file, errno))?;
        read_record(fd.as_fd()).map_err(|errno| self.file_call("read", file, errno))
    }

    /// As [`Dir::read_if_any`], by [`Dir::peek`].
    pub(crate) fn peek_if_any(&self, file: &'static str) -> Result<Option<String>, Error> {
        if_any(self.peek(file))
    }

    /// Reads a control file that this kernel, or this cgroup, may not have.
    pub(crate) fn read_if_any(&self, file: &str) -> Result<Option<String>, Error> {
        if_any(self.read(file))
    }

    /// Reads a control file that holds one number; `max` is the largest one.
    pub(crate) fn read_number(&self, file: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.read_if_any(file)? else {
            return Ok(None);
        };
        match text.trim() {
            "max" => Ok(Some(u64::MAX)),
            digits => digits.parse().map(Some).map_err(|_| self.malformed(file, digits)),
        }
    }

    /// Reads lines of `key number`. Lines of another shape are none of ours and skipped.
    pub(crate) fn read_table(&self, file: &str) -> Result<Vec<(String, u64)>, Error> {
        let text = self.read_if_any(file)?.unwrap_or_default();
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?)))
            .collect())
    }

    /// The sub-cgroups.
    pub(crate) fn children(&self) -> Result<Vec<Dir>, Error> {
        let listing = |errno| self.call("read", errno);
        // A directory's link count is 2 plus its subdirectories on cgroupfs, so a leaf, which a
        // container's cgroup nearly always is, is known without listing its sixty files. (File
        // systems that do not count links say 1.)
        let stat = rustix::fs::statat(self.fd()?, "", AtFlags::EMPTY_PATH).map_err(listing)?;
        if stat.st_nlink == 2 {
            return Ok(Vec::new());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.fd()?, ".", flags, Mode::empty()).map_err(listing)?;
        let mut children = Vec::new();
        for entry in rustix::fs::Dir::new(fd).map_err(listing)? {
            let entry = entry.map_err(listing)?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type().is_dir() && name != "." && name != ".." {
                children.push(Dir::new(self.path.join(&*name)));
            }
        }
        Ok(children)
    }

    /// A failed call on the directory itself.
    pub(crate) fn call(&self, action: &'static str, errno: Errno) -> Error {
        Error::Call { action, path: self.path.clone(), errno }
    }

    /// Contents that could not be understood.
    pub(crate) fn malformed(&self, file: &str, content: &str) -> Error {
        Error::Malformed { path: self.path.join(file), content: content.to_owned() }
    }

    fn file_call(&self, action: &'static str, file: &str, errno: Errno) -> Error {
        Error::Call { action, path: self.path.join(file), errno }
    }
}

/// Writes to an open control file; the kernel takes a value whole or not at all.
pub(crate) fn write_value(fd: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    // EINTR: lowering a memory limit reclaims, which a signal interrupts.
    rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes())).map(drop)
}

/// Reads an open control file from its beginning.
pub(crate) fn read_record(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    rt_sys::file::read_record_of(fd).map(text)
}

/// What the kernel printed; names in it may be any bytes.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// None for a file that is not there.
fn if_any(read: Result<String, Error>) -> Result<Option<String>, Error> {
    match read {
        Ok(text) => Ok(Some(text)),
        // EOPNOTSUPP: the file is there, but what it reports is off (PSI, swap accounting, threaded
        // cgroups).
        Err(error) if error.is_missing() || error.errno() == Some(Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}
