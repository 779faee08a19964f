//! Mount ops, by descriptor from end to end: fsopen/fsmount or then move_mount onto an
//! opened destination (Linux 5.2).

mod bind;
mod filesystem;
mod source;

use core::ffi::CStr;

use rt_protocol::descriptor::Descriptor;
use rt_protocol::flags::attr;
use rt_protocol::op::flag;
use rt_protocol::report::Step;
use rt_sys::mount::Attributes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use crate::attributes::{change, propagate};
use crate::fail::{At, Fail};
use crate::rootfs::{Root, in_dev};
use crate::temporary::Temporary;

pub use bind::{Ask, clone_tree, map_ids};
use source::Sources;

/// What mount ops share: the root, and mounts that several ops use.
#[derive(Default)]
pub struct Mounts {
    root: Option<Root>,
    /// The container's proc, as mounted by us: a procfs that nothing can have been put over.
    pub proc: Option<OwnedFd>,
    /// One empty read-only tmpfs for all masked directories.
    empty: Option<OwnedFd>,
    /// The host's /dev/null, checked to be that device.
    null: Option<OwnedFd>,
    /// What was opened in the runtime's mount namespace, in the order of the plan.
    sources: Sources,
    /// Init is in a mount namespace in which the host's files are not.
    apart: bool,
    /// The container's /dev is an empty filesystem of our making: nothing in it leads elsewhere.
    fresh_dev: bool,
}

impl Mounts {
    /// The root of all paths; an op that needs one before `Op::Root` is a fault in the plan.
    pub fn root(&self) -> Result<&Root, Fail> {
        self.root.as_ref().ok_or(Fail::new(Step::LoadPlan, Errno::INVAL))
    }

    /// `Op::Root`: a mount of the rootfs over `/` if it was opened before, else onto itself.
    pub fn open_root(&mut self, path: &CStr, idmap: Descriptor, opened: u32) -> Result<(), Fail> {
        if self.apart && opened != 0 {
            return self.attach_root(opened);
        }
        let place: Temporary = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .at(Step::Source)?
            .into();
        let tree = clone_tree(place.as_fd(), true).at(Step::Source)?;
        if let Some(userns) = idmap.number() {
            map_ids(tree.as_fd(), userns, false).at(Step::Idmap)?;
        }
        attach(tree.as_fd(), place.as_fd()).at(Step::Attach)?;
        self.root = Some(Root::new(tree.keep()));
        Ok(())
    }

    /// Whether init is in a mount namespace in which the host's files are not.
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Takes an already entered root (exec, or a container without a mount namespace).
    pub fn use_directory(&mut self, path: &CStr) -> Result<(), Errno> {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        self.root = Some(Root::new(fd));
        Ok(())
    }

    /// The destination of a mount, made if need be.
    fn target(&self, path: &CStr, flags: u32, directory: bool) -> Result<Temporary, Fail> {
        let root = self.root()?;
        let make = || if directory { root.make_directory(path) } else { root.make_file(path) }.at(Step::Create);
        if flags & flag::REAL_DIRECTORY != 0 {
            let open = || root.open_real(path, OFlags::PATH | OFlags::DIRECTORY);
            return match open() {
                Err(Errno::NOENT) => {
                    root.make_directory(path).at(Step::Create)?;
                    open().at(Step::Target)
                }
                other => other.at(Step::Target),
            };
        }
        if self.fresh_dev && in_dev(path).is_some() {
            return make();
        }
        let kind = if directory { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::PATH };
        // Without a symlink on the way this is the place that lowering has judged by its path.
        if let Ok(place) = root.open_real(path, kind) {
            return Ok(place);
        }
        let place = make()?;
        if flags & flag::ON_PROC == 0 && fstatfs(&place).at(Step::Target)?.f_type == PROC_SUPER_MAGIC {
            return Err(Fail::new(Step::InsideProc, Errno::PERM));
        }
        Ok(place)
    }

    /// `Op::Mask`. What is absent needs no mask; the kernel object behind the path decides how it
    /// is covered.
    pub fn mask(&mut self, path: &CStr) -> Result<(), Fail> {
        let target = match self.root()?.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other.at(Step::Target)?,
        };
        let directory = is_directory(target.as_fd()).at(Step::Target)?;
        let tree = match (&mut self.empty, directory) {
            (Some(empty), true) => clone_tree(empty.as_fd(), false).at(Step::Source)?,
            (none, true) => {
                // The first one attaches the filesystem itself: closing a mount that was never
                // attached costs a grace period.
                let empty = match empty_directory() {
                    Err(Errno::NOSYS | Errno::PERM) => return cover_directory(target.as_fd()).at(Step::Attach),
                    made => none.insert(made.at(Step::Source)?),
                };
                return attach(empty.as_fd(), target.as_fd()).at(Step::Attach);
            }
            (_, false) => clone_tree(null_device(&mut self.null)?, false).at(Step::Source)?,
        };
        attach(tree.as_fd(), target.as_fd()).at(Step::Attach)
    }

    /// `Op::ReadOnly`: a bind mount of the path on itself, read-only with all below.
    pub fn read_only(&mut self, path: &CStr) -> Result<(), Fail> {
        let target = match self.root()?.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other.at(Step::Target)?,
        };
        let tree = clone_tree(target.as_fd(), true).at(Step::Source)?;
        attach(tree.as_fd(), target.as_fd()).at(Step::Attach)?;
        let set = Attributes { set: attr::RDONLY, ..Attributes::default() };
        change(tree.as_fd(), true, &set).at(Step::Attributes)
    }

    /// `Op::Attributes`.
    pub fn attributes(&mut self, path: &CStr, set: u64, clear: u64, propagation: (u64, bool)) -> Result<(), Fail> {
        let mount = self.root()?.open(path, OFlags::PATH).at(Step::Target)?;
        change(mount.as_fd(), false, &Attributes { set, clear, ..Attributes::default() }).at(Step::Attributes)?;
        propagate(mount.as_fd(), propagation.0, propagation.1).at(Step::Propagation)
    }

    /// `Op::PivotRoot`: new and old root stacked on `/`, then the old one, on top, is dropped
    /// (pivot_root(2) NOTES).
    pub fn pivot_root(&mut self, slave_first: bool) -> Result<(), Fail> {
        let old: Temporary =
            openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
        fchdir(&self.root()?.mount)?;
        pivot_root(c".", c".").at(Step::Attach)?;
        fchdir(&old)?;
        if slave_first {
            // Otherwise the unmount would propagate to the host.
            mount_change(c".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).at(Step::Propagation)?;
        }
        unmount(c".", UnmountFlags::DETACH)?;
        chdir(c"/")?;
        Ok(())
    }

    /// `Op::MoveRoot`, for a root that is the initramfs. The host's proc and sysfs must not stay
    /// reachable below the new root, so a full view of them is unmounted first where the kernel
    /// allows it.
    pub fn move_root(&mut self) -> Result<(), Fail> {
        for path in [c"/proc", c"/sys"] {
            let _ = mount_change(path, MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
            let _ = unmount(path, UnmountFlags::DETACH);
        }
        let slash = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let root = self.root()?;
        fchdir(&root.mount)?;
        attach(root.mount.as_fd(), slash.as_fd()).at(Step::Attach)?;
        chroot(c".")?;
        chdir(c"/")?;
        Ok(())
    }

    /// `Op::RootAttributes`, after the root was entered.
    pub fn root_attributes(&mut self, set: u64, propagation: u64, recursive: bool) -> Result<(), Fail> {
        let root = self.root()?.mount.as_fd();
        change(root, false, &Attributes { set, ..Attributes::default() }).at(Step::Attributes)?;
        propagate(root, propagation, recursive).at(Step::Propagation)
    }
}

/// Sets the propagation of all mounts of this namespace.
pub fn mounts_propagation(propagation: u64, recursive: bool) -> Result<(), Errno> {
    let mut flags = MountPropagationFlags::from_bits_retain(propagation as u32);
    flags.set(MountPropagationFlags::REC, recursive);
    mount_change(c"/", flags)
}

/// Makes the mount that holds `path` private. Only a mount's root can be changed, so this climbs to
/// it.
pub fn parent_private(path: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut place = openat(CWD, path, flags, Mode::empty())?;
    for _ in 0..256 {
        match propagate(place.as_fd(), rt_protocol::flags::propagation::PRIVATE, false) {
            Err(Errno::INVAL) => place = openat(&place, c"..", flags, Mode::empty())?,
            other => return other,
        }
    }
    Err(Errno::LOOP)
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let context: Temporary = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?.into();
    fsconfig_set_string(&context, c"nr_inodes", c"1")?;
    fsconfig_set_string(&context, c"mode", c"0555")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// An empty read-only directory over `target`, by mount(2).
#[cold]
#[inline(never)] // For its frame, see `main.rs`.
fn cover_directory(target: BorrowedFd<'_>) -> Result<(), Errno> {
    fchdir(target)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", c".", c"tmpfs", flags, Some(c"nr_inodes=1,mode=0555"))
}

/// The host's /dev/null, opened before the root is left and checked to be character device 1:3
/// (CVE-2025-31133).
fn null_device(slot: &mut Option<OwnedFd>) -> Result<BorrowedFd<'_>, Fail> {
    if slot.is_none() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, c"/dev/null", flags, Mode::empty()).at(Step::Source)?;
        let stat = fstat(&fd).at(Step::Source)?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != (1, 3) {
            return Err(Fail::new(Step::Verify, Errno::NODEV).with_detail(b"/dev/null is not the null device"));
        }
        *slot = Some(fd);
    }
    slot.as_ref().map(AsFd::as_fd).ok_or(Fail::new(Step::Source, Errno::NODEV))
}

/// Attaches a detached mount onto `target`. A file on a directory is ENOTDIR, as it is from
/// mount(2); move_mount(2) has EINVAL.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(mount, c"", target, c"", flags) {
        Err(Errno::INVAL) if is_directory(mount)? != is_directory(target)? => Err(Errno::NOTDIR),
        other => other,
    }
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}
