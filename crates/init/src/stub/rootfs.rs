//! Paths inside the hostile rootfs: every one is resolved by the kernel below a descriptor
//! (openat2, RESOLVE_IN_ROOT), and what was resolved is used as a descriptor, never as a path
//! again.

use core::cell::Cell;
use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat_raw};
use rustix::io::Errno;

use crate::temporary::Temporary;

/// The container's root mount.
pub struct Root {
    /// The mount's own root.
    pub mount: OwnedFd,
    /// /dev, kept open because a dozen ops in a row make something in it.
    dev: Cell<Option<Temporary>>,
}

const DEV: &[u8] = b"/dev/";

/// The name in /dev that `path` is, if it is one directly in it.
pub fn in_dev(path: &CStr) -> Option<&[u8]> {
    path.to_bytes().strip_prefix(DEV).filter(|name| !name.is_empty() && !name.contains(&b'/'))
}

/// Longest path the kernel takes.
const PATH_MAX: usize = 4096;
/// As many symlinks as the kernel follows in one lookup.
const MAX_LINKS: u32 = 40;

/// A path under construction; NUL-terminated at every prefix it is asked for.
struct PathBuffer {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl PathBuffer {
    fn new(path: &[u8]) -> Result<Self, Errno> {
        let mut buffer = PathBuffer { bytes: [0; PATH_MAX], len: 0 };
        buffer.push(path)?;
        Ok(buffer)
    }

    fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let end = self.len + part.len();
        // One byte stays for the NUL.
        let place = self.bytes.get_mut(self.len..end).filter(|_| end < PATH_MAX);
        place.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(part);
        self.len = end;
        self.bytes[end] = 0;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Calls `f` with `part` as a C string.
fn with_name<T>(part: &[u8], f: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut name = [0_u8; 256];
    name.get_mut(..part.len()).filter(|_| part.len() < 256).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(part);
    f(CStr::from_bytes_until_nul(&name).map_err(|_| Errno::INVAL)?)
}

/// Opens what exists as `name` in `dir`.
fn open_at(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<Temporary, Errno> {
    openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()).map(Temporary::from)
}

/// openat2(2). It answers EAGAIN when a rename or a mount anywhere on the host raced with a `..`, and
/// wants to be called again.
pub fn open_resolved(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<Temporary, Errno> {
    let mut tries = 0;
    loop {
        match openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            other => return other.map(Temporary::from),
        }
    }
}

impl Root {
    /// The root at `mount`.
    pub fn new(mount: OwnedFd) -> Root {
        Root { mount, dev: Cell::new(None) }
    }

    /// Forgets /dev if a mount at `target` may have covered it.
    pub fn mounted_at(&self, target: &CStr) {
        if !target.to_bytes().starts_with(DEV) {
            self.dev.set(None);
        }
    }

    /// Opens `path`; symlinks are followed as the container would follow them.
    pub fn open(&self, path: &CStr, flags: OFlags) -> Result<Temporary, Errno> {
        self.open_with(path, flags, ResolveFlags::empty())
    }

    /// Opens `path`, none of whose components may be a symlink.
    pub fn open_real(&self, path: &CStr, flags: OFlags) -> Result<Temporary, Errno> {
        self.open_with(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn open_with(&self, path: &CStr, flags: OFlags, more: ResolveFlags) -> Result<Temporary, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        open_resolved(self.mount.as_fd(), path, flags, resolve)
    }

    /// Opens the directory `path`, making what is missing of it with mode 0755.
    pub fn make_directory(&self, path: &CStr) -> Result<Temporary, Errno> {
        // In a /dev that is known nothing has to be walked, and it is fresh as a rule.
        if in_dev(path).is_some()
            && let Ok(made) = self.in_parent(path, |dir, name| {
                mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
                open_at(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            })
        {
            return Ok(made);
        }
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        self.make_missing(path.to_bytes(), MAX_LINKS)
    }

    /// Calls `f` with the directory that holds the last component of `path`, made if need be, and
    /// with that component.
    pub fn in_parent<T>(
        &self,
        path: &CStr,
        f: impl FnOnce(BorrowedFd<'_>, &CStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if let Some(name) = in_dev(path) {
            let dev = match self.dev.take() {
                Some(dev) => dev,
                None => self.make_directory(c"/dev")?,
            };
            let result = with_name(name, |name| f(dev.as_fd(), name));
            self.dev.set(Some(dev));
            return result;
        }
        let (parent, name) = self.make_parent(path)?;
        with_name(name, |name| f(parent.as_fd(), name))
    }

    /// Opens the directory that holds the last component of `path`, making it if need be, and gives
    /// that component.
    fn make_parent<'p>(&self, path: &'p CStr) -> Result<(Temporary, &'p [u8]), Errno> {
        let bytes = path.to_bytes();
        let cut = bytes.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (parent, name) = bytes.split_at(cut);
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::INVAL);
        }
        let parent = PathBuffer::new(if parent.is_empty() { b"/" } else { parent })?;
        let parent = CStr::from_bytes_until_nul(&parent.bytes).map_err(|_| Errno::INVAL)?;
        Ok((self.make_directory(parent)?, name))
    }

    /// Opens `path`, making an empty file there if nothing exists. Where a dangling symlink is, the
    /// file is made at the place it names, inside the root, and the link stays.
    pub fn make_file(&self, path: &CStr) -> Result<Temporary, Errno> {
        match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        self.make_missing_file(path, MAX_LINKS)
    }

    #[inline(never)] // For its frame, see `main.rs`.
    fn make_missing_file(&self, path: &CStr, links: u32) -> Result<Temporary, Errno> {
        let made = self.in_parent(path, |parent, name| {
            let create = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(parent, name, OFlags::RDONLY | create, Mode::from_raw_mode(0o755)) {
                // By a concurrent user of a shared volume, too.
                Ok(_) | Err(Errno::EXIST) => open_at(parent, name, OFlags::PATH | OFlags::NOFOLLOW),
                Err(e) => Err(e),
            }
        })?;
        if FileType::from_raw_mode(fstat(&made)?.st_mode) != FileType::Symlink {
            return Ok(made);
        }
        let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
        let bytes = path.to_bytes();
        let (prefix, name) = bytes.split_at(bytes.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1));
        let parent = self.in_parent(path, |parent, _| open_at(parent, c".", OFlags::PATH | OFlags::DIRECTORY))?;
        let target = retarget(parent.as_fd(), prefix, name, b"")?;
        let target = CStr::from_bytes_until_nul(&target.bytes).map_err(|_| Errno::INVAL)?;
        match self.open(target, OFlags::PATH) {
            Err(Errno::NOENT) => self.make_missing_file(target, links),
            other => other,
        }
    }

    /// Walks `path` component by component; below the first missing one everything is made by this
    /// walk.
    #[inline(never)] // For its frame, see `main.rs`.
    fn make_missing(&self, path: &[u8], links: u32) -> Result<Temporary, Errno> {
        let mut done = PathBuffer::new(b"/")?;
        let mut current = self.open(c"/", OFlags::PATH | OFlags::DIRECTORY)?;
        for (at, part) in components(path) {
            let before = done.len;
            done.push(part)?;
            let prefix = CStr::from_bytes_until_nul(&done.bytes).map_err(|_| Errno::INVAL)?;
            current = match self.open(prefix, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    match with_name(part, |n| mkdirat(&current, n, Mode::from_raw_mode(0o755))) {
                        Err(Errno::EXIST) => {
                            // A dangling symlink: go on with its target in its place, inside the
                            // root.
                            let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                            let rest = path.get(at + part.len()..).unwrap_or_default();
                            let prefix = done.bytes.get(..before).unwrap_or_default();
                            let path = retarget(current.as_fd(), prefix, part, rest)?;
                            return self.make_missing(path.bytes(), links);
                        }
                        made => made?,
                    }
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    with_name(part, |n| open_at(current.as_fd(), n, flags))?
                }
                opened => opened?,
            };
            done.push(b"/")?;
        }
        Ok(current)
    }
}

/// The non-empty components of `path` other than `.`, with their offsets.
fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    path.split(|b| *b == b'/').filter_map(move |part| {
        let start = at;
        at += part.len() + 1;
        (!part.is_empty() && part != b".").then_some((start, part))
    })
}

/// The path that results when the symlink `name` in `dir`, reached by `prefix`, is replaced by its
/// target.
fn retarget(dir: BorrowedFd<'_>, prefix: &[u8], name: &[u8], rest: &[u8]) -> Result<PathBuffer, Errno> {
    let mut space = [core::mem::MaybeUninit::uninit(); PATH_MAX];
    let target = with_name(name, |n| readlinkat_raw(dir, n, &mut space).map(|(t, _)| &*t))?;
    let mut path = PathBuffer::new(if target.starts_with(b"/") { b"" } else { prefix })?;
    path.push(target)?;
    path.push(rest)?;
    Ok(path)
}
