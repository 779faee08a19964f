//! `Op::Bind`: bind mounts.

use core::ffi::CStr;

use rt_protocol::flags::attr;
use rt_protocol::op::{self, flag};
use rt_protocol::report::Step;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, PROC_SUPER_MAGIC, fstatfs, readlinkat_raw, statat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::attributes::{change, change_exactly, propagate};
use crate::fail::{At, Fail};
use crate::temporary::Temporary;

use super::source::open_host_tree;
use super::{Mounts, attach, is_directory};

/// A bind mount, as it lies in the plan.
type Bind = op::Bind<&'static CStr>;

/// Asks the parent for the tree that the op at hand needs of the host, with its ids mapped if the
/// plan says so.
pub type Ask<'a> = &'a dyn Fn() -> Result<OwnedFd, Fail>;

impl Mounts {
    /// `Op::Bind`.
    pub fn bind(&mut self, bind: &Bind, ask: Ask<'_>) -> Result<(), Fail> {
        self.root()?.mounted_at(bind.target.0);
        self.fresh_dev &= bind.target.0 != c"/dev";
        if bind.flags & flag::COPY_SYMLINK != 0 && self.copy_symlink(bind)? {
            return Ok(());
        }
        let Some((tree, mapped)) = self.source(bind, ask)? else { return Ok(()) };
        if bind.target.0 == c"/proc" && fstatfs(&tree).at(Step::Source)?.f_type != PROC_SUPER_MAGIC {
            return Err(Fail::new(Step::NotProc, Errno::PERM));
        }
        let directory = is_directory(tree.as_fd()).at(Step::Source)?;
        let nofollow = bind.flags & flag::TARGET_NOFOLLOW != 0;
        let target = if nofollow && let Ok(fd) = self.root()?.open(bind.target.0, OFlags::PATH | OFlags::NOFOLLOW) {
            fd
        } else {
            self.target(bind.target.0, bind.flags, directory)?
        };
        if let Some(userns) = bind.idmap.number().filter(|_| !mapped) {
            map_ids(tree.as_fd(), userns, bind.flags & flag::IDMAP_RECURSIVE != 0).at(Step::Idmap)?;
        }
        attach(tree.as_fd(), target.as_fd()).at(Step::Attach)?;
        let own = Attributes { set: bind.set, clear: bind.clear, ..Attributes::default() };
        let below = Attributes { set: bind.below_set, clear: bind.below_clear, ..Attributes::default() };
        if bind.flags & flag::EXACT != 0 {
            change_exactly(tree.as_fd(), &own).at(Step::Attributes)?;
        } else {
            change(tree.as_fd(), false, &own).at(Step::Attributes)?;
        }
        change(tree.as_fd(), true, &below).at(Step::Attributes)?;
        propagate(tree.as_fd(), bind.propagation, bind.propagation_recursive != 0).at(Step::Propagation)
    }

    /// A detached copy of the source, and whether its ids are mapped already; None if it is missing
    /// and may be.
    #[inline(never)] // For its frame, see `main.rs`.
    fn source(&mut self, bind: &Bind, ask: Ask<'_>) -> Result<Option<(Temporary, bool)>, Fail> {
        let by_parent = bind.flags & flag::BY_PARENT != 0;
        let asked = if by_parent && bind.idmap.number().is_some() {
            ask()
        } else {
            match self.open_source(bind) {
                Err(Errno::ACCESS) if by_parent => ask(),
                Ok(tree) => return Ok(Some((tree, false))),
                Err(errno) => Err(Fail::new(Step::Source, errno)),
            }
        };
        match asked {
            Err(fail) if bind.flags & flag::OPTIONAL != 0 && fail.errno == Errno::NOENT.raw_os_error() as u32 => {
                Ok(None)
            }
            other => other.map(|tree| Some((tree.into(), bind.idmap.number().is_some()))),
        }
    }

    fn open_source(&mut self, bind: &Bind) -> Result<Temporary, Errno> {
        let recursive = bind.flags & flag::RECURSIVE != 0;
        if self.apart && bind.opened != 0 {
            return self.opened(bind.opened, recursive);
        }
        let nofollow = bind.flags & flag::SOURCE_NOFOLLOW != 0;
        if bind.flags & flag::SOURCE_IN_ROOT != 0 {
            let root = self.root.as_ref().ok_or(Errno::INVAL)?;
            let kind = if nofollow { OFlags::PATH | OFlags::NOFOLLOW } else { OFlags::PATH };
            return clone_tree(root.open(bind.source.0, kind)?.as_fd(), recursive);
        }
        open_host_tree(bind.source.0, bind.flags)
    }

    /// Recreates a symlink source in the rootfs; false if the source is no symlink.
    #[inline(never)] // For its frame, see `main.rs`.
    fn copy_symlink(&self, bind: &Bind) -> Result<bool, Fail> {
        let stat = statat(CWD, bind.source.0, AtFlags::SYMLINK_NOFOLLOW).at(Step::Source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(false);
        }
        let mut space = [core::mem::MaybeUninit::uninit(); 4096];
        let (text, rest) = readlinkat_raw(CWD, bind.source.0, &mut space).at(Step::Source)?;
        let Some(end) = rest.first_mut() else {
            return Err(Fail::new(Step::Source, Errno::NAMETOOLONG));
        };
        end.write(0);
        let len = text.len();
        // SAFETY: the kernel wrote `len` bytes and the line above the one after them.
        let text = unsafe { core::slice::from_raw_parts(text.as_ptr(), len + 1) };
        let text = CStr::from_bytes_with_nul(text).map_err(|_| Fail::new(Step::Source, Errno::INVAL))?;
        match self.root()?.in_parent(bind.target.0, |parent, name| symlinkat(text, parent, name)) {
            Ok(()) | Err(Errno::EXIST) => Ok(true),
            Err(e) => Err(Fail::new(Step::Create, e)),
        }
    }
}

/// A detached copy of the mount at `place`.
pub fn clone_tree(place: BorrowedFd<'_>, recursive: bool) -> Result<Temporary, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(place, c"", flags).map(Temporary::from)
}

pub fn map_ids(tree: BorrowedFd<'_>, userns: i32, recursive: bool) -> Result<(), Errno> {
    let map = Attributes { set: attr::IDMAP, userns_fd: userns as u64, ..Attributes::default() };
    set_attributes(tree, c"", recursive, &map)
}
