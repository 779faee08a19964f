//! What a container inherits from the process that makes it: descriptors, and the oom_score_adj.

use std::os::unix::ffi::OsStrExt;

use rt_plan::spec::Spec;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, FdFlags, fcntl_getfd};

use crate::error::Error;
use crate::launch::LaunchError;

/// Descriptors of socket activation (sd_listen_fds(3)).
pub struct Activation {
    /// How many, from 3 on.
    pub count: u32,
    /// Their names, with colons between.
    pub names: Option<String>,
}

/// The descriptors that were passed to this process itself (LISTEN_PID is its pid).
pub fn socket_activation() -> Activation {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = number("LISTEN_PID").is_some_and(|pid| pid == std::process::id());
    let count = if ours { number("LISTEN_FDS").unwrap_or(0) } else { 0 };
    Activation { count, names: std::env::var("LISTEN_FDNAMES").ok().filter(|_| count > 0) }
}

/// Every descriptor that is to be passed on must be open.
pub fn check_preserved(count: u32) -> Result<(), Error> {
    for fd in 3..3_u32.saturating_add(count) {
        // SAFETY: only asked for its flags; a number without a file gives EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd as i32) };
        match fcntl_getfd(borrowed) {
            Ok(flags) if flags.contains(FdFlags::CLOEXEC) => {
                return Err(Error::PreservedFd { fd, errno: Errno::BADF });
            }
            Ok(_) => {}
            Err(errno) => return Err(Error::PreservedFd { fd, errno }),
        }
    }
    Ok(())
}

/// Takes over a descriptor that the caller has passed for writing. EBADF if there is none of this
/// number, or it is not the caller's.
pub fn take_writable(fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: only asked for its flags; a number without a file gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC)
        || !fcntl_getfl(borrowed)?.intersects(OFlags::RDWR | OFlags::WRONLY)
    {
        return Err(Errno::BADF);
    }
    // SAFETY: it is open, and rt opens all of its own descriptors close-on-exec: this one is the
    // caller's, and nothing else in rt owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Children inherit the score, so rt needs no right over the child. Returns the old score, to be
/// restored.
pub fn set_oom_score(score: i32) -> Result<Option<String>, Error> {
    let old = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let old = old.trim().to_owned();
    if old == score.to_string() {
        return Ok(None);
    }
    write_oom_score(&score.to_string()).map_err(|errno| LaunchError::Named {
        pointer: "/process/oomScoreAdj".into(),
        what: "write /proc/self/oom_score_adj",
        name: score.to_string(),
        errno,
    })?;
    Ok(Some(old))
}

/// See [`set_oom_score`].
pub fn write_oom_score(score: &str) -> Result<(), Errno> {
    std::fs::write("/proc/self/oom_score_adj", score).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// This process's environment, if the config has hooks of the host that init runs and that have no
/// environment of their own.
pub fn environment_for_hooks(spec: &Spec<'_>) -> Vec<u8> {
    let hooks = spec.hooks.as_ref().and_then(|h| h.create_container.as_deref()).unwrap_or_default();
    if !hooks.iter().any(|hook| hook.env.is_none()) {
        return Vec::new();
    }
    let variables = std::env::vars_os();
    variables.flat_map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat()).collect()
}
