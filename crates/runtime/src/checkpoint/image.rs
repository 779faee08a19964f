//! The image: a directory with CRIU's files and descriptors.json.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rt_protocol::flags::attr;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::error::CheckpointError;
use super::options::CriuOptions;
use super::pages;

/// Where the standard streams of the saved container went: three texts as /proc/PID/fd shows them,
/// in runc's form.
pub const DESCRIPTORS: &str = "descriptors.json";

/// The file that every image has.
const INVENTORY: &str = "inventory.img";
const CLOCKS: &str = "timens-0.img";

/// The directories of one call of CRIU.
pub struct Directories {
    pub image: OwnedFd,
    pub work: Option<OwnedFd>,
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn make(path: &Path) -> Result<(), Errno> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| match Errno::from_io_error(&e) {
        // Another kind of file is there.
        Some(Errno::EXIST) => Errno::NOTDIR,
        errno => errno.unwrap_or(Errno::IO),
    })
}

/// Makes the directories of a dump where they are missing. A container may be saved into the same
/// directory again.
pub fn for_dump(options: &CriuOptions) -> Result<Directories, CheckpointError> {
    let wrong = |errno| CheckpointError::Image { path: options.image.clone(), errno };
    make(&options.image).map_err(wrong)?;
    let image = open(&options.image).map_err(wrong)?;
    if let Some(parent) = &options.parent {
        if parent.is_absolute() {
            return Err(CheckpointError::AbsoluteParent(parent.clone()));
        }
        let path = options.image.join(parent);
        open(&path).map_err(|errno| CheckpointError::Parent { path, errno })?;
    }
    Ok(Directories { image, work: work(options)? })
}

/// Whether there is an image, and whether it has all of its memory.
pub fn check(options: &CriuOptions) -> Result<(), CheckpointError> {
    open(&options.image).map_err(|errno| CheckpointError::Image { path: options.image.clone(), errno })?;
    if !options.image.join(INVENTORY).exists() {
        return Err(CheckpointError::NoImage(options.image.clone()));
    }
    // Pages that come later are in no file yet.
    if options.lazy_pages { Ok(()) } else { pages::check(&options.image) }
}

/// Opens the directories of a restore. `maps` is the user namespace of the container: CRIU reads a
/// part of the image as root of that, for whom the files of the host's root are made readable by an
/// id-mapped mount, and for nobody else.
pub fn for_restore(options: &CriuOptions, maps: Option<&OwnedFd>) -> Result<Directories, CheckpointError> {
    let wrong = |errno| CheckpointError::Image { path: options.image.clone(), errno };
    let image = open(&options.image).map_err(wrong)?;
    let work = work(options)?;
    let Some(maps) = maps else { return Ok(Directories { image, work }) };
    if let Err(errno) = open_clocks(&image) {
        tracing::debug!("{}: {CLOCKS}: {}", options.image.display(), rt_sys::errno::text(errno));
    }
    match mapped(&image, maps) {
        // CRIU mounts in its working directory, which a mount in no namespace cannot be.
        Ok(mapped) => Ok(Directories { image: mapped, work: work.or(Some(image)) }),
        Err(errno) => {
            tracing::warn!("{}: no id-mapped mount: {}", options.image.display(), rt_sys::errno::text(errno));
            Ok(Directories { image, work })
        }
    }
}

/// CRIU's first process reads the offsets of its clocks, perhaps before the ids of its user namespace
/// are mapped (restore_task_with_children in CRIU's cr-restore.c): then it owns nothing. So these few
/// numbers become readable for everybody who knows the name, and no other file does.
fn open_clocks(image: &OwnedFd) -> Result<(), Errno> {
    let readable = |file: &OwnedFd, bits: u32| {
        let mode = fstat(file)?.st_mode;
        if mode & bits == bits { Ok(()) } else { fchmod(file, Mode::from_raw_mode(mode | bits)) }
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    readable(&openat(image, CLOCKS, flags, Mode::empty())?, 0o044)?;
    readable(image, 0o011)
}

fn mapped(image: &OwnedFd, maps: &OwnedFd) -> Result<OwnedFd, Errno> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(image, c"", how)?;
    let map = Attributes { set: attr::IDMAP, userns_fd: maps.as_raw_fd() as u64, ..Attributes::default() };
    set_attributes(tree.as_fd(), c"", false, &map)?;
    Ok(tree)
}

/// Files that are written into a directory which may come from elsewhere must not be links that lead
/// out of it.
pub fn refuse_links(directory: &Path, names: &[&str]) -> Result<(), CheckpointError> {
    let is_link =
        |name: &&&str| std::fs::symlink_metadata(directory.join(name)).is_ok_and(|m| m.file_type().is_symlink());
    match names.iter().find(is_link) {
        Some(name) => Err(CheckpointError::Damaged { path: directory.join(name), message: "is a symlink" }),
        None => Ok(()),
    }
}

/// Makes a working directory inside an image, which may be there from an earlier restore.
pub fn make_inside(path: &Path) -> Result<(), CheckpointError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            refuse_links(path.parent().unwrap_or(path), &[&path.file_name().unwrap_or_default().to_string_lossy()])
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let image = path.parent().unwrap_or(path).to_owned();
            Err(CheckpointError::Image { path: image, errno: Errno::NOENT })
        }
        other => other.map_err(|e| CheckpointError::Work {
            path: path.to_owned(),
            errno: Errno::from_io_error(&e).unwrap_or(Errno::IO),
        }),
    }
}

fn work(options: &CriuOptions) -> Result<Option<OwnedFd>, CheckpointError> {
    let Some(path) = &options.work else { return Ok(None) };
    let wrong = |errno| CheckpointError::Work { path: path.clone(), errno };
    make(path).map_err(wrong)?;
    open(path).map(Some).map_err(wrong)
}

/// Whether the directory has nothing in it, or does not exist.
pub fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// Removes what a dump that failed has written, but for CRIU's logs; the directory itself too, if
/// that leaves it empty.
pub fn remove_rest(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if Path::new(&entry.file_name()).extension() != Some(OsStr::new("log")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let _ = std::fs::remove_dir(path);
}

/// Reads descriptors.json of an image. Not more than a few texts are expected.
pub fn descriptors(image: &Path) -> Result<Vec<String>, CheckpointError> {
    let path = image.join(DESCRIPTORS);
    let bytes = match rt_sys::file::read(&path) {
        Err(errno) => return Err(CheckpointError::Image { path, errno }),
        Ok(bytes) => bytes,
    };
    serde_json::from_slice(&bytes).map_err(|_| CheckpointError::Damaged { path, message: "is no list of texts" })
}
