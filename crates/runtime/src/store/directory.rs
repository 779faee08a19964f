//! The state directory: `<root>/<id>/` with `state.json`, the start socket and the seccomp program.
//!
//! Making the directory claims the id; a lock on it, which dies with its holder, orders the verbs
//! that change a container.

use std::fs::DirBuilder;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RawDir, flock, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::process::Stat;
use super::state::{State, Status};
use crate::error::{Context, Error};
use crate::host::resctrl::Group;
use crate::launch::{WAITING_NAME, timeline};
use crate::verbs::options::StoreOptions;

pub const STATE_FILE: &str = "state.json";
const STAGED_FILE: &str = ".state.json";
pub const START_SOCKET: &str = "start.sock";
pub const SECCOMP_FILE: &str = "seccomp.bpf";
/// What the container sees as /run/notify; absent without NOTIFY_SOCKET.
pub const NOTIFY_DIR: &str = "notify";
/// Where the container is in resctrl; absent for most.
pub const RESCTRL_FILE: &str = "resctrl.json";
/// When init began which op; absent without `--trace`.
const TIMELINE_FILE: &str = "timeline";
/// A symlink whose target is the cgroup's location: the first thing written, so that no crash can
/// leave a cgroup unknown.
pub const CGROUP_LINK: &str = "cgroup";

/// All containers below one root.
#[derive(Clone, Debug)]
pub struct Store {
    options: StoreOptions,
}

/// One container's directory.
#[derive(Debug)]
pub struct Container {
    /// The id.
    pub id: String,
    /// The directory.
    pub path: PathBuf,
    dir: OwnedFd,
}

/// An id is one harmless path component (runc's rule).
pub fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '.' | '-');
    if id.is_empty() || id == "." || id == ".." || id.len() > 1024 || !id.chars().all(allowed) {
        return Err(Error::InvalidId);
    }
    Ok(())
}

impl Store {
    /// The store at the options' root.
    pub fn new(options: StoreOptions) -> Result<Store, Error> {
        if options.root == Path::new("/") {
            return Err(Error::RootIsSlash);
        }
        Ok(Store { options })
    }

    /// The global options.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Claims `id` and locks it.
    pub fn claim(&self, id: &str) -> Result<Container, Error> {
        check_id(id)?;
        loop {
            match self.try_claim(id) {
                // A forced delete has come between the directory and the lock: to it we were a
                // creator that had died.
                Err(Error::DoesNotExist) => {}
                other => return other,
            }
        }
    }

    fn try_claim(&self, id: &str) -> Result<Container, Error> {
        let path = self.options.root.join(id);
        let mode = Mode::from_raw_mode(0o711);
        match mkdirat(CWD, &path, mode) {
            Err(Errno::NOENT) => {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700).create(&self.options.root).on("create", &self.options.root)?;
                mkdirat(CWD, &path, mode)
            }
            other => other,
        }
        .map_err(|errno| match errno {
            Errno::EXIST => Error::Exists,
            errno => Error::File { what: "create", path: path.clone(), errno },
        })?;
        let container = Container::open_at(id, path)?;
        container.lock()?;
        Ok(container)
    }

    /// The existing container `id`.
    pub fn open(&self, id: &str) -> Result<Container, Error> {
        check_id(id)?;
        Container::open_at(id, self.options.root.join(id))
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.options.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.on("read", &self.options.root)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.on("read", &self.options.root)?;
            let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
            if let Some(name) = entry.file_name().to_str().filter(|n| is_dir && check_id(n).is_ok()) {
                ids.push(name.to_owned());
            }
        }
        ids.sort();
        Ok(ids)
    }
}

impl Container {
    fn open_at(id: &str, path: PathBuf) -> Result<Container, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(CWD, &path, flags, Mode::empty()) {
            Ok(dir) => Ok(Container { id: id.to_owned(), path, dir }),
            Err(Errno::NOENT) => Err(Error::DoesNotExist),
            Err(errno) => Err(Error::File { what: "open", path, errno }),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Waits for the container's lock; it is held as long as this value lives.
    pub fn lock(&self) -> Result<(), Error> {
        loop {
            match flock(&self.dir, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => continue,
                other => other.on("lock", &self.path)?,
            }
            return self.still_exists();
        }
    }

    /// Takes the lock if no other process has it.
    pub fn try_lock(&self) -> Result<bool, Error> {
        match flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => return Ok(false),
            other => other.on("lock", &self.path)?,
        }
        self.still_exists().map(|()| true)
    }

    /// The process that held the lock before may have deleted the container.
    fn still_exists(&self) -> Result<(), Error> {
        match fstat(&self.dir) {
            Ok(stat) if stat.st_nlink == 0 => Err(Error::DoesNotExist),
            _ => Ok(()),
        }
    }

    /// Gives the lock up early: what follows may call the runtime itself.
    pub fn unlock(&self) -> Result<(), Error> {
        flock(&self.dir, FlockOperation::Unlock).on("unlock", &self.path)
    }

    /// Reads the state.
    pub fn state(&self) -> Result<State, Error> {
        // The state borrows from its file, and lives as long as the command that reads it: its
        // bytes are not given back.
        let bytes: &'static [u8] = match rt_sys::file::read_record_at(&self.dir, STATE_FILE).map(Vec::leak) {
            // Being created, or left by a creator that was killed.
            Err(Errno::NOENT) => return Err(Error::DoesNotExist),
            Err(errno) => return Err(Error::File { what: "read", path: self.path.join(STATE_FILE), errno }),
            Ok(bytes) => bytes,
        };
        serde_json::from_slice(bytes).map_err(|e| self.damaged(&e))
    }

    /// The state, or a part of it, is not what it must be.
    pub fn damaged(&self, e: &serde_json::Error) -> Error {
        Error::Damaged { id: self.id.clone(), path: self.path.join(STATE_FILE), message: e.to_string() }
    }

    /// Writes the state to a temporary file, which no command reads.
    pub fn stage(&self, state: &State) -> Result<(), Error> {
        let bytes = serde_json::to_vec(state).map_err(|e| self.damaged(&e))?;
        self.write(STAGED_FILE, &bytes)
    }

    /// Makes the staged state the state: a reader sees the old one or the new one, whole.
    pub fn publish(&self) -> Result<(), Error> {
        renameat(&self.dir, STAGED_FILE, &self.dir, STATE_FILE).on("write", self.path.join(STATE_FILE))
    }

    /// A file in which init notes its times, for `--trace`.
    pub fn timeline(&self) -> Result<OwnedFd, Error> {
        let path = self.path.join(TIMELINE_FILE);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&self.dir, TIMELINE_FILE, flags, Mode::from_raw_mode(0o600)).on("create", &path)?;
        timeline::prepare(file.into()).on("write", &path)
    }

    /// Opens the same file for a later command, if it exists.
    pub fn noted_timeline(&self) -> Option<OwnedFd> {
        openat(&self.dir, TIMELINE_FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Forgets the staged state.
    pub fn unstage(&self) -> Result<(), Error> {
        self.forget(STAGED_FILE)
    }

    /// Writes a file of the directory that no command reads yet.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = openat(&self.dir, name, create, Mode::from_raw_mode(0o600)).on("create", &path)?;
        let written = std::fs::File::from(file).write_all(bytes).on("write", &path);
        if written.is_err() {
            let _ = unlinkat(&self.dir, name, AtFlags::empty());
        }
        written
    }

    /// Reads a file of the directory.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        rt_sys::file::read_record_at(&self.dir, name).map_err(|errno| {
            let path = self.path.join(name);
            Error::File { what: "read", path, errno }
        })
    }

    /// Where the container is in resctrl, if it is anywhere.
    pub fn resctrl(&self) -> Option<Group> {
        serde_json::from_slice(&self.read(RESCTRL_FILE).ok()?).ok()
    }

    /// Removes a file of the directory; a file that is absent is no error.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::File { what: "remove", path: self.path.join(name), errno }),
        }
    }

    /// Removes the directory with all that is in it. A container that has a state has little else,
    /// and what that is needs no listing.
    pub fn remove(&self, state: Option<&State>) -> Result<(), Error> {
        if let Some(state) = state {
            if state.seccomp {
                self.forget(SECCOMP_FILE)?;
            }
            // The state is removed last: as long as it is there, a command that was killed half way
            // can be repeated.
            self.forget(CGROUP_LINK)?;
            self.forget(STATE_FILE)?;
            if self.remove_directory()? {
                return Ok(());
            }
        }
        self.remove_files().on("remove", &self.path)?;
        if self.remove_directory()? {
            return Ok(());
        }
        // Somebody has put something in meanwhile, or it holds directories.
        std::fs::remove_dir_all(&self.path).on("remove", &self.path)
    }

    /// Removes the directory itself; false if there is something in it.
    fn remove_directory(&self) -> Result<bool, Error> {
        match unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(errno).on("remove", &self.path),
        }
    }

    fn remove_files(&self) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(&self.dir, &mut space);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            match unlinkat(&self.dir, entry.file_name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The status, from the kernel: no file is believed about a process. Freezing is asked for by
    /// `paused`.
    pub fn status(&self, state: &State, paused: impl FnOnce() -> bool) -> Result<Status, Error> {
        state.init_stat()?.map_or(Ok(Status::Stopped), |stat| self.status_of(&stat, paused))
    }

    /// The status of a container whose init lives and looks like this.
    pub fn status_of(&self, stat: &Stat, paused: impl FnOnce() -> bool) -> Result<Status, Error> {
        // Both, because a starter may die before it removes the socket, and a program may take the
        // stub's name.
        let waiting = stat.comm == WAITING_NAME
            && match statat(&self.dir, START_SOCKET, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => false,
                other => other.on("look at", self.path.join(START_SOCKET)).map(|_| true)?,
            };
        Ok(match () {
            () if paused() => Status::Paused,
            () if waiting => Status::Created,
            () => Status::Running,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id becomes a path, a keyring name and a cgroup: nothing in it may mean anything there.
    #[test]
    fn ids_are_one_harmless_component() {
        for good in ["a", "A-1_b+c.d", "...", "0"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\n", "a\0"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }
}
