//! Mount ops, by descriptor from end to end: fsopen/fsmount or open_tree, then move_mount onto an
//! opened destination (Linux 5.2).

use core::ffi::CStr;

use rt_protocol::descriptor::Descriptor;
use rt_protocol::flags::attr;
use rt_protocol::op::{self, flag};
use rt_protocol::report::Step;
use rt_protocol::wire::strings;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat, openat2,
    readlinkat_raw, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use crate::attributes::{change, change_exactly, propagate, with_proc_path};
use crate::copy::copy_tree;
use crate::fail::{At, Fail};
use crate::rootfs::{Root, in_dev};
use crate::temporary::Temporary;

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
    /// The container's /dev is an empty filesystem of our making: nothing in it leads elsewhere.
    fresh_dev: bool,
}

/// A mount of a filesystem, as it lies in the plan.
type Mount = op::Mount<&'static CStr, &'static [u8]>;
/// A bind mount, as it lies in the plan.
type Bind = op::Bind<&'static CStr>;

/// Asks the parent for the source of the bind mount at hand, with its ids mapped if the plan says
/// so.
pub type Ask<'a> = &'a dyn Fn() -> Result<OwnedFd, Fail>;

impl Mounts {
    /// The root of all paths; an op that needs one before `Op::Root` is a fault in the plan.
    pub fn root(&self) -> Result<&Root, Fail> {
        self.root.as_ref().ok_or(Fail::new(Step::LoadPlan, Errno::INVAL))
    }

    /// `Op::Root`: a mount of the rootfs onto itself, or the directory as it is with no mount
    /// namespace.
    pub fn open_root(&mut self, path: &CStr, idmap: Descriptor) -> Result<(), Fail> {
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

    /// `Op::Mount`.
    pub fn filesystem(&mut self, fs: &Mount) -> Result<(), Fail> {
        self.root()?.mounted_at(fs.target.0);
        let mode = if fs.flags & flag::COVERED_MODE != 0 { self.covered_mode(fs.target.0)? } else { None };
        let target = self.target(fs.target.0, fs.flags, true)?;
        if fs.target.0 == c"/dev" {
            self.fresh_dev = fs.flags & flag::COPY_UP == 0;
        }
        if fs.flags & flag::LEGACY != 0 {
            return self.legacy(fs, mode, target.as_fd());
        }
        if fs.flags & flag::AT_ONCE != 0 && mode.is_none() && at_once(fs, target.as_fd()).is_ok() {
            return Ok(());
        }
        let mount = match new_filesystem(fs, mode) {
            // A seccomp profile around the runtime that is older than the call.
            Err(e) if e.step == Step::Filesystem && is_refused(&e) && at_once(fs, target.as_fd()).is_ok() => {
                return self.finish_old_mount(fs, target.as_fd());
            }
            Err(e) if fs.flags & flag::CGROUP_FALLBACK != 0 => self.cgroup_fallback(fs, e)?,
            other => other?,
        };
        if fs.flags & flag::COPY_UP != 0 {
            copy_tree(target.as_fd(), mount.as_fd()).at(Step::CopyUp)?;
        }
        attach(mount.as_fd(), target.as_fd()).at(Step::Attach)?;
        if fs.flags & flag::COPY_UP != 0 && fs.attributes & attr::RDONLY != 0 {
            let set = Attributes { set: attr::RDONLY, ..Attributes::default() };
            change(mount.as_fd(), false, &set).at(Step::Attributes)?;
        }
        propagate(mount.as_fd(), fs.propagation, fs.propagation_recursive != 0).at(Step::Propagation)?;
        if fs.fstype.0 == c"proc" && fs.target.0 == c"/proc" {
            self.proc = Some(mount.keep());
        }
        Ok(())
    }

    /// What a mount by mount(2) still lacks of `Op::Mount`.
    #[cold]
    #[inline(never)] // For its frame, see `main.rs`.
    fn finish_old_mount(&mut self, fs: &Mount, target: BorrowedFd<'_>) -> Result<(), Fail> {
        let mounted = mount_on(target).at(Step::Target)?;
        let set = Attributes { set: fs.attributes, clear: attr::ATIME, ..Attributes::default() };
        change(mounted.as_fd(), false, &set).at(Step::Attributes)?;
        propagate(mounted.as_fd(), fs.propagation, fs.propagation_recursive != 0).at(Step::Propagation)?;
        if fs.fstype.0 == c"proc" && fs.target.0 == c"/proc" {
            self.proc = Some(mounted.keep());
        }
        Ok(())
    }

    /// The mode of the directory at `path`, in octal digits; None if there is none.
    fn covered_mode(&self, path: &CStr) -> Result<Option<[u8; 5]>, Fail> {
        let covered = match self.root()?.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            // Anything else that is wrong with the destination is reported when it is made.
            Err(_) => return Ok(None),
            Ok(directory) => fstat(&directory).at(Step::Target)?,
        };
        let digit = |shift: u32| b'0' + (covered.st_mode >> shift & 7) as u8;
        Ok(Some([digit(9), digit(6), digit(3), digit(0), 0]))
    }

    /// A mount whose options fsconfig(2) cannot take: mount(2), with the destination still named by
    /// its descriptor.
    #[inline(never)] // For its frame, see `main.rs`.
    fn legacy(&mut self, fs: &Mount, mode: Option<[u8; 5]>, target: BorrowedFd<'_>) -> Result<(), Fail> {
        let words: [&[u8]; 4] = match &mode {
            Some([digits @ .., _]) => [b"mode=", digits, b",", fs.options.0],
            None => [b"", b"", b"", fs.options.0],
        };
        let mut space = [0_u8; 4096];
        for (to, from) in space.iter_mut().zip(words.iter().flat_map(|word| word.iter())) {
            *to = *from;
        }
        let data = CStr::from_bytes_until_nul(&space).map_err(|_| Fail::new(Step::LoadPlan, Errno::INVAL))?;
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, fs.attributes & attr::RDONLY != 0);
        with_proc_path(target, |path| mount(fs.source.0, path, fs.fstype.0, flags, Some(data))).at(Step::Superblock)?;
        self.finish_old_mount(fs, target)
    }

    /// A user namespace may not mount cgroup2 that it does not own: show the host's part of the
    /// tree instead, read-only, and where even that cannot be, an empty directory (CVE-2023-25809
    /// is about leaving it writable).
    fn cgroup_fallback(&mut self, fs: &Mount, first: Fail) -> Result<Temporary, Fail> {
        if ![Errno::PERM, Errno::NOENT, Errno::BUSY].iter().any(|e| e.raw_os_error() as u32 == first.errno) {
            return Err(first);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        match open_tree(CWD, fs.fallback.0, flags) {
            Ok(tree) => {
                let set = Attributes { set: fs.attributes | attr::RDONLY, ..Attributes::default() };
                set_attributes(tree.as_fd(), c"", true, &set).at(Step::Attributes)?;
                Ok(tree.into())
            }
            Err(_) => empty_directory().map(Temporary::from).map_err(|_| first),
        }
    }

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
    fn source(&self, bind: &Bind, ask: Ask<'_>) -> Result<Option<(Temporary, bool)>, Fail> {
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

    fn open_source(&self, bind: &Bind) -> Result<Temporary, Errno> {
        let recursive = bind.flags & flag::RECURSIVE != 0;
        let nofollow = bind.flags & flag::SOURCE_NOFOLLOW != 0;
        if bind.flags & flag::SOURCE_IN_ROOT != 0 {
            let root = self.root.as_ref().ok_or(Errno::INVAL)?;
            let kind = if nofollow { OFlags::PATH | OFlags::NOFOLLOW } else { OFlags::PATH };
            return clone_tree(root.open(bind.source.0, kind)?.as_fd(), recursive);
        }
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
        open_tree(CWD, bind.source.0, flags).map(Temporary::from)
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

/// Whether the kernel, or a seccomp profile around the runtime, knows no such call.
fn is_refused(fail: &Fail) -> bool {
    [Errno::NOSYS, Errno::PERM].iter().any(|errno| errno.raw_os_error() as u32 == fail.errno)
}

/// The mount on top of the directory that is open as `covered`. With that directory as the root of
/// the lookup, `..` leads back to it, and on to what is mounted there. So the destination's path is
/// not resolved a second time, and a process that renames its components at this moment gains
/// nothing.
fn mount_on(covered: BorrowedFd<'_>) -> Result<Temporary, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(covered, c"..", flags, Mode::empty(), ResolveFlags::IN_ROOT).map(Temporary::from)
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

/// One mount(2) on the working directory, instead of a call for each option. If it fails, the calls
/// for each option follow and report what is wrong.
fn at_once(fs: &Mount, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut data = [0_u8; 1024];
    let mut len = 0;
    let mut put = |part: &[u8]| {
        // One byte stays for the NUL.
        let place =
            data.get_mut(len..len + part.len()).filter(|_| len + part.len() < 1024).ok_or(Errno::NAMETOOLONG)?;
        place.copy_from_slice(part);
        len += part.len();
        Ok(())
    };
    let mut options = strings(fs.options.0);
    while let Some(key) = options.next() {
        let (kind, key) = key.to_bytes().split_at(1);
        put(key)?;
        if kind != b"f" {
            put(b"=")?;
            put(options.next().unwrap_or_default().to_bytes())?;
        }
        put(b",")?;
    }
    let data = CStr::from_bytes_until_nul(&data).map_err(|_| Errno::INVAL)?;
    fchdir(target)?;
    // The MS_ bits of nosuid, nodev and noexec are the attribute bits; the one of strictatime is
    // not.
    let mut flags = MountFlags::from_bits_retain((fs.attributes & (attr::NOSUID | attr::NODEV | attr::NOEXEC)) as u32);
    flags.set(MountFlags::STRICTATIME, fs.attributes & attr::STRICTATIME != 0);
    mount(fs.source.0, c".", fs.fstype.0, flags, Some(data))
}

/// Makes the filesystem of `fs` as a mount that is attached nowhere yet.
fn new_filesystem(fs: &Mount, mode: Option<[u8; 5]>) -> Result<Temporary, Fail> {
    let context: Temporary = fsopen(fs.fstype.0, FsOpenFlags::FSOPEN_CLOEXEC).at(Step::Filesystem)?.into();
    let said = |step, errno| Fail::new(step, errno).with_detail(context_message(context.as_fd(), &mut [0; 256]));
    if !fs.source.0.is_empty() {
        fsconfig_set_string(&context, c"source", fs.source.0).map_err(|e| said(Step::Source, e))?;
    }
    if let Some(mode) = mode {
        let mode = CStr::from_bytes_with_nul(&mode).map_err(|_| Fail::new(Step::LoadPlan, Errno::INVAL))?;
        fsconfig_set_string(&context, c"mode", mode).map_err(|e| said(Step::Option, e))?;
    }
    let mut options = strings(fs.options.0);
    while let Some(key) = options.next() {
        // Each key is prefixed by its kind: `f` a flag, `s` a string whose value follows.
        let (kind, key) = key.to_bytes_with_nul().split_at(1);
        let key = CStr::from_bytes_with_nul(key).map_err(|_| Fail::new(Step::LoadPlan, Errno::INVAL))?;
        let done = match kind {
            b"f" => fsconfig_set_flag(&context, key),
            _ => fsconfig_set_string(&context, key, options.next().unwrap_or_default()),
        };
        done.map_err(|e| {
            let mut space = [0; 256];
            let text = context_message(context.as_fd(), &mut space);
            Fail::new(Step::Option, e).with_detail(if text.is_empty() { key.to_bytes() } else { text })
        })?;
    }
    fsconfig_create(&context).map_err(|e| said(Step::Superblock, e))?;
    let mut attributes = fs.attributes;
    if fs.flags & flag::COPY_UP != 0 {
        attributes &= !attr::RDONLY;
    }
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(Step::Attributes).map(Temporary::from)
}

/// What the filesystem said: the newest message of the context, without its severity letter.
fn context_message<'b>(context: BorrowedFd<'_>, space: &'b mut [u8; 256]) -> &'b [u8] {
    let mut len = 0;
    while let Ok(n) = rustix::io::read(context, &mut space[..]) {
        if n == 0 {
            break;
        }
        len = n;
    }
    let text = space.get(..len).unwrap_or_default();
    let text = text.strip_prefix(b"e ").unwrap_or(text);
    text.strip_suffix(b"\n").unwrap_or(text)
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

/// A detached copy of the mount at `place`.
pub fn clone_tree(place: BorrowedFd<'_>, recursive: bool) -> Result<Temporary, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(place, c"", flags).map(Temporary::from)
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

fn map_ids(tree: BorrowedFd<'_>, userns: i32, recursive: bool) -> Result<(), Errno> {
    let map = Attributes { set: attr::IDMAP, userns_fd: userns as u64, ..Attributes::default() };
    set_attributes(tree, c"", recursive, &map)
}
