//! Copies a directory tree into a new tmpfs (`tmpcopyup`): everything is named relative to opened
//! directories.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, chownat, fchmod, mkdirat, mknodat,
    openat, readlinkat_raw, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, read, write};

/// Directories deeper than this end in ELOOP: the stub's stack is finite.
const MAX_DEPTH: u32 = 64;

/// Copies what is in `from` into `to`, which keeps its own owner and mode.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let from = openat(from, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let to = openat(to, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    copy_directory(&from, &to, MAX_DEPTH)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: u32) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let mut space = [const { MaybeUninit::uninit() }; 2048];
    let mut entries = RawDir::new(from, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from, to, name, depth)?;
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: u32) -> Result<(), Errno> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            let inner_from = openat(from, name, flags, Mode::empty())?;
            let inner_to = openat(to, name, flags, Mode::empty())?;
            copy_directory(&inner_from, &inner_to, depth)?;
            chown(inner_to.as_fd(), &stat)?;
            fchmod(&inner_to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | nofollow, Mode::empty())?;
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let target = openat(to, name, create, Mode::RWXU)?;
            copy_bytes(&source, &target)?;
            chown(target.as_fd(), &stat)?;
            fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        FileType::Symlink => {
            let mut space = [MaybeUninit::uninit(); 4096];
            let (text, rest) = readlinkat_raw(from, name, &mut space)?;
            rest.first_mut().ok_or(Errno::NAMETOOLONG)?.write(0);
            // SAFETY: the kernel wrote the text and the line above the NUL after it.
            let text = unsafe { core::slice::from_raw_parts(text.as_ptr(), text.len() + 1) };
            symlinkat(CStr::from_bytes_with_nul(text).map_err(|_| Errno::INVAL)?, to, name)?;
        }
        kind => mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?,
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn chown(file: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut space = [0_u8; 16384];
    loop {
        let n = read(from, &mut space)?;
        let mut rest = space.get(..n).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = write(to, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}
