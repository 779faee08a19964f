//! The places in the rootfs where mounts from outside go, and what is mounted there on restore.
//!
//! CRIU makes no mount points. The plan says what `create` would mount, and this room makes what
//! init would have made for it; what lies on another filesystem of the container's own comes with
//! that filesystem's contents.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rt_plan::spec::Pointer;
use rt_plan::{Op, Plan};
use rt_protocol::op::flag;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlink};
use rustix::io::Errno;

use super::error::CheckpointError;
use super::mounts::{Mount, NULL_DEVICE};
use super::rpc::ExternalMount;

/// A directory that paths do not lead out of.
struct Root {
    dir: OwnedFd,
    /// Its path on the host.
    path: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Directory,
    File,
}

fn path_of(text: &std::ffi::CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

impl Root {
    fn open(path: &Path) -> Result<Root, Errno> {
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root { path: place_of(&dir)?, dir })
    }

    fn enter(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Makes the place at `path` if it is missing, and gives it without symlinks, from this root.
    fn make(&self, path: &Path, wanted: Wanted) -> Result<PathBuf, Errno> {
        let entered = match self.enter(path) {
            Err(Errno::NOENT) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::NOENT) };
                let parent = self.make(parent, Wanted::Directory)?;
                let parent = self.enter(&parent)?;
                let made = match wanted {
                    Wanted::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
                    Wanted::File => {
                        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
                    }
                };
                // Another restore into the same rootfs may have made it meanwhile.
                match made {
                    Err(Errno::EXIST) => {}
                    other => other?,
                }
                self.enter(path)?
            }
            other => other?,
        };
        let place = place_of(&entered)?;
        let inside = place.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?;
        Ok(Path::new("/").join(inside))
    }
}

fn place_of(fd: &OwnedFd) -> Result<PathBuf, Errno> {
    let link = readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(link.to_bytes())))
}

/// Something that the plan mounts.
struct Covered {
    /// Where, as the config says it.
    target: PathBuf,
    /// The source of a bind mount from outside, and where it is mounted without symlinks; None for a
    /// filesystem whose contents are in the image or are the kernel's.
    bound: Option<(Root, PathBuf)>,
}

/// Makes the missing mount points in the rootfs, and returns what is to be mounted from the host:
/// the name in the image, and the source. `host` are the host's mounts.
pub fn prepare(plan: &Plan, host: &[Mount]) -> Result<Vec<ExternalMount>, CheckpointError> {
    let rootfs = Root::open(&plan.rootfs).map_err(|errno| wrong(&Pointer::new("/root/path"), &plan.rootfs, errno))?;
    let mut covered: Vec<Covered> = Vec::new();
    let mut sources: Vec<ExternalMount> = Vec::new();
    let mut name = |key: &Path, source: &Path| {
        let (key, val) = (key.to_string_lossy().into_owned(), source.to_string_lossy().into_owned());
        sources.retain(|known| known.key != key);
        sources.push(ExternalMount { key, val });
    };
    for (op, at) in &plan.ops {
        match op {
            Op::Mount(mount) => {
                let target = path_of(&mount.target.0);
                make(&rootfs, &covered, target, Wanted::Directory).map_err(|errno| wrong(at, target, errno))?;
                covered.push(Covered { target: target.to_owned(), bound: None });
            }
            Op::Bind(bind) if bind.flags & flag::SOURCE_IN_ROOT == 0 => {
                let (target, source) = (path_of(&bind.target.0), path_of(&bind.source.0));
                // On a filesystem of the container's own; the source may be a cgroup that comes later.
                if matches!(outer(&covered, target), Some(Covered { bound: None, .. })) {
                    name(target, source);
                    continue;
                }
                // CRIU does not follow a symlink, as a bind mount does.
                let source = std::fs::canonicalize(source)
                    .map_err(|e| wrong(at, source, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
                let is_directory = source.is_dir();
                let wanted = if is_directory { Wanted::Directory } else { Wanted::File };
                let place = make(&rootfs, &covered, target, wanted).map_err(|errno| wrong(at, target, errno))?;
                name(&place, &source);
                if !is_directory {
                    continue;
                }
                let root = Root::open(&source).map_err(|errno| wrong(at, &source, errno))?;
                if bind.flags & flag::RECURSIVE != 0 {
                    for below in host.iter().filter(|mount| mount.point != root.path) {
                        if let Ok(rest) = below.point.strip_prefix(&root.path) {
                            name(&place.join(rest), &below.point);
                        }
                    }
                }
                covered.push(Covered { target: target.to_owned(), bound: Some((root, place)) });
            }
            Op::Node { path, .. } => name(path_of(&path.0), path_of(&path.0)),
            Op::Mask { .. } => name(Path::new(NULL_DEVICE), Path::new(NULL_DEVICE)),
            _ => {}
        }
    }
    Ok(sources)
}

fn wrong(at: &Pointer, path: &Path, errno: Errno) -> CheckpointError {
    CheckpointError::MountPoint { pointer: at.to_string(), path: path.display().to_string(), errno }
}

/// What was mounted last on the way to `target`.
fn outer<'a>(covered: &'a [Covered], target: &Path) -> Option<&'a Covered> {
    covered.iter().rev().find(|covered| target.starts_with(&covered.target) && target != covered.target)
}

/// Makes the place for a mount, and returns it without symlinks as far as they can be known here.
fn make(rootfs: &Root, covered: &[Covered], target: &Path, wanted: Wanted) -> Result<PathBuf, Errno> {
    match outer(covered, target) {
        None => rootfs.make(target, wanted),
        Some(Covered { bound: None, .. }) => Ok(target.to_owned()),
        Some(Covered { target: outer, bound: Some((source, place)) }) => {
            let inner =
                source.make(Path::new("/").join(target.strip_prefix(outer).unwrap_or(target)).as_path(), wanted)?;
            Ok(place.join(inner.strip_prefix("/").unwrap_or(&inner)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A hostile rootfs must not make rt write outside of it.
    #[test]
    fn places_stay_in_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rootfs");
        std::fs::create_dir_all(path.join("real")).unwrap();
        symlink("/real", path.join("absolute")).unwrap();
        symlink("../../../..", path.join("up")).unwrap();
        symlink("/nowhere", path.join("dangling")).unwrap();
        let root = Root::open(&path).unwrap();
        let made = |place: &str| root.make(Path::new(place), Wanted::Directory);
        assert_eq!(made("/a/b").unwrap(), Path::new("/a/b"));
        assert_eq!(made("/absolute/x").unwrap(), Path::new("/real/x"));
        assert_eq!(made("/up/y").unwrap(), Path::new("/y"));
        assert_eq!(made("/../../z").unwrap(), Path::new("/z"));
        assert!(made("/dangling").is_err() && made("/dangling/x").is_err());
        assert!(path.join("a/b").is_dir() && path.join("real/x").is_dir() && path.join("y").is_dir());
        let file = root.make(Path::new("/f/file"), Wanted::File).unwrap();
        assert!(path.join(file.strip_prefix("/").unwrap()).is_file());
        let outside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(outside, ["rootfs"]);
    }
}
