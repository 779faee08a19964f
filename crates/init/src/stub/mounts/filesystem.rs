//! `Op::Mount`: mounts of filesystems.

use core::ffi::CStr;

use rt_protocol::flags::attr;
use rt_protocol::op::{self, flag};
use rt_protocol::report::Step;
use rt_protocol::wire::strings;
use rt_sys::mount::{Attributes, set_attributes};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{OFlags, ResolveFlags, fstat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, mount,
};
use rustix::process::fchdir;

use crate::attributes::{change, propagate, with_proc_path};
use crate::copy::copy_tree;
use crate::fail::{At, Fail};
use crate::rootfs::open_resolved;
use crate::temporary::Temporary;

use super::source::open_host_tree;
use super::{Ask, Mounts, attach, empty_directory};

/// A mount of a filesystem, as it lies in the plan.
type Mount = op::Mount<&'static CStr, &'static [u8]>;

impl Mounts {
    /// `Op::Mount`.
    pub fn filesystem(&mut self, fs: &Mount, ask: Ask<'_>) -> Result<(), Fail> {
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
            Err(e) if fs.flags & flag::CGROUP_FALLBACK != 0 => self.cgroup_fallback(fs, e, ask)?,
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
    #[cold]
    #[inline(never)] // For its frame, see `main.rs`.
    fn cgroup_fallback(&mut self, fs: &Mount, first: Fail, ask: Ask<'_>) -> Result<Temporary, Fail> {
        if ![Errno::PERM, Errno::NOENT, Errno::BUSY].iter().any(|e| e.raw_os_error() as u32 == first.errno) {
            return Err(first);
        }
        let host = if self.apart {
            ask().map(Temporary::from)
        } else {
            open_host_tree(fs.fallback.0, flag::RECURSIVE).at(Step::Source)
        };
        match host {
            Ok(tree) => {
                let set = Attributes { set: fs.attributes | attr::RDONLY, ..Attributes::default() };
                set_attributes(tree.as_fd(), c"", true, &set).at(Step::Attributes)?;
                Ok(tree)
            }
            Err(_) => empty_directory().map(Temporary::from).map_err(|_| first),
        }
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
    open_resolved(covered, c"..", OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)
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
