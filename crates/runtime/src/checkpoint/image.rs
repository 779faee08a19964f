//! The image: a directory with CRIU's files and descriptors.json.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::error::CheckpointError;
use super::options::CriuOptions;
use super::pages;

/// Where the standard streams of the saved container went: three texts as /proc/PID/fd shows them,
/// in runc's form.
pub const DESCRIPTORS: &str = "descriptors.json";

/// The file that every image has.
const INVENTORY: &str = "inventory.img";

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
    made.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
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

/// Opens the directories of a restore.
pub fn for_restore(options: &CriuOptions) -> Result<Directories, CheckpointError> {
    let image = open(&options.image).map_err(|errno| CheckpointError::Image { path: options.image.clone(), errno })?;
    Ok(Directories { image, work: work(options)? })
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
