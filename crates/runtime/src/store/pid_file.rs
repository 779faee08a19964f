//! The pid file, which engines wait for.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{Context, Error};

const WRITE: &str = "write the pid file";

/// A pid file that is going to be there. Until then it has another name, under which it is removed
/// if it is dropped.
pub struct PidFile {
    path: PathBuf,
    dir: OwnedFd,
    file: Option<std::fs::File>,
    temporary: OsString,
    name: OsString,
}

impl PidFile {
    /// Makes it under its temporary name: what keeps it from being written is known before a
    /// process is started.
    pub fn prepare(path: &Path) -> Result<PidFile, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::File { what: WRITE, path: path.to_owned(), errno: Errno::INVAL });
        };
        let mut temporary = OsString::from(".");
        temporary.push(name);
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let dir =
            openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on(WRITE, path)?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = match openat(&dir, &temporary, create, Mode::from_raw_mode(0o666)) {
            // Left by a writer that was killed.
            Err(Errno::EXIST) => {
                unlinkat(&dir, &temporary, AtFlags::empty()).on(WRITE, path)?;
                openat(&dir, &temporary, create, Mode::from_raw_mode(0o666))
            }
            other => other,
        }
        .on(WRITE, path)?;
        let (file, name) = (Some(file.into()), name.to_owned());
        Ok(PidFile { path: path.to_owned(), dir, file, temporary, name })
    }

    /// The pid in decimal without a newline, whole or not at all: engines poll for this file.
    pub fn publish(mut self, pid: i32) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let written = file.write_all(pid.to_string().as_bytes()).on(WRITE, &self.path);
        let renamed =
            written.and_then(|()| renameat(&self.dir, &self.temporary, &self.dir, &self.name).on(WRITE, &self.path));
        if renamed.is_err() {
            self.file = Some(file);
        }
        renamed
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = unlinkat(&self.dir, &self.temporary, AtFlags::empty());
        }
    }
}
