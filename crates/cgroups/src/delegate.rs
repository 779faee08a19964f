//! Giving the cgroup to the container's root, so that software inside can divide it further.

use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::error::Error;

/// What may be delegated safely on every kernel; newer ones list it in /sys/kernel/cgroup/delegate.
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Makes the directory of cgroup v2, and the control files that the kernel says are safe, the
    /// user's.
    ///
    /// The limits themselves are not among them. On v1 nothing can be delegated safely, and nothing
    /// is.
    pub fn chown_for_delegation(&self, uid: Uid, gid: Gid) -> Result<(), Error> {
        let Some(dir) = self.unified.as_ref().filter(|_| self.is_v2()) else {
            return Ok(());
        };
        let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATED.to_owned());
        let cgroup = dir.fd()?;
        rustix::fs::chownat(cgroup, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .map_err(|errno| dir.call("chown", errno))?;
        for file in list.lines() {
            match rustix::fs::chownat(cgroup, file, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                // The list has files of controllers that are off.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::Call { action: "chown", path: dir.path().join(file), errno });
                }
            }
        }
        Ok(())
    }
}
