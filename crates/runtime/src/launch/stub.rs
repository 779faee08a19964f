//! The stub as a file in memory that no process can change: a sealed memfd.

use std::fs::File;
use std::io::Write;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fchmod, fcntl_add_seals, memfd_create, openat,
};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The program that runs in the container before the user's.
static STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rt-init"));

/// Execute-only, so that the process that runs it cannot be traced or read by the container (no
/// dumpable window).
const MODE: Mode = Mode::from_raw_mode(0o111);

/// The stub, ready to be executed.
pub fn executable() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create(c"rt-init", flags | MemfdFlags::EXEC) {
        // Linux before 6.3 knows no MFD_EXEC, and needs none.
        Err(Errno::INVAL) => memfd_create(c"rt-init", flags),
        other => other,
    };
    match fd {
        Ok(fd) => sealed(fd),
        // With vm.memfd_noexec=2 no memfd may be executed. Or a seccomp profile around the runtime
        // refuses memfd_create(2).
        Err(refused @ (Errno::ACCESS | Errno::NOSYS | Errno::PERM)) => {
            on_private_mount().or_else(|_| without_a_name()).map_err(|_| refused)
        }
        Err(e) => Err(e),
    }
}

/// A file that has no name and never had one, in a directory from which programs may be executed
/// (open(2), O_TMPFILE). It has no seals, but it is one container's copy and is executed once.
fn without_a_name() -> Result<OwnedFd, Errno> {
    let mut refused = Errno::ACCESS;
    for directory in ["/run", "/tmp", "/var/tmp", "/dev/shm"] {
        let noexec = rustix::fs::statvfs(directory).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOEXEC));
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = if noexec { Err(Errno::ACCESS) } else { openat(CWD, directory, flags, Mode::RWXU) };
        match file.and_then(written) {
            Ok(file) => {
                fchmod(&file, MODE)?;
                // A second descriptor of the file, because a file that is open for writing cannot
                // be executed.
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                return openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            }
            Err(errno) => refused = errno,
        }
    }
    Err(refused)
}

fn sealed(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let fd = written(fd)?;
    fchmod(&fd, MODE)?;
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

fn written(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let mut file = File::from(fd);
    file.write_all(STUB).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(file.into())
}

/// A file on a tmpfs that is mounted nowhere and read-only by the time the stub is opened from it.
fn on_private_mount() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&mount, "rt-init", create, MODE)?;
    drop(written(file)?);
    let read_only = rt_sys::mount::Attributes { set: rt_protocol::flags::attr::RDONLY, ..Default::default() };
    rt_sys::mount::set_attributes(mount.as_fd(), c"", false, &read_only)?;
    openat(&mount, "rt-init", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that runs inside containers stays small, and containers cannot rewrite it
    /// (CVE-2019-5736).
    #[test]
    fn the_stub_is_small_and_sealed() {
        assert!(STUB.len() <= 100 * 1024, "{} bytes", STUB.len());
        let fd = executable().unwrap();
        let seals = rustix::fs::fcntl_get_seals(&fd).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL));
        assert!(rustix::io::write(&fd, b"x").is_err());
    }
}
