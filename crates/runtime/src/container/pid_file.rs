//! The pid file, which engines wait for.

use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::error::{Context, Error};

/// The pid in decimal without a newline, whole or not at all: engines poll for this file.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::File { what: "write the pid file", path: path.to_owned(), errno: Errno::INVAL });
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .on("write the pid file", path)?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = match openat(&dir, &temporary, create, Mode::from_raw_mode(0o666)) {
        // Left by a writer that was killed.
        Err(Errno::EXIST) => {
            unlinkat(&dir, &temporary, AtFlags::empty()).on("write the pid file", path)?;
            openat(&dir, &temporary, create, Mode::from_raw_mode(0o666))
        }
        other => other,
    }
    .on("write the pid file", path)?;
    let written = std::fs::File::from(file).write_all(pid.to_string().as_bytes()).on("write the pid file", path);
    let renamed = written.and_then(|()| renameat(&dir, &temporary, &dir, name).on("write the pid file", path));
    if renamed.is_err() {
        let _ = unlinkat(&dir, &temporary, AtFlags::empty());
    }
    renamed
}
