//! System calls that rt makes and that a seccomp profile around rt may refuse: that of a container in
//! which rt runs, or of a service. Profiles from before a call answer "operation not permitted".

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Look;
use rt_sys::mount::{Attributes, set_attributes};

impl Look {
    pub(super) fn calls(&mut self) {
        let here = OFlags::PATH | OFlags::CLOEXEC;
        let mut tried = vec![
            ("openat2", openat2(CWD, c"/", here, Mode::empty(), ResolveFlags::empty()).map(drop)),
            ("pidfd_open", pidfd_open(getpid(), PidfdFlags::empty()).map(drop)),
            ("close_range", rt_sys::process::close_range(u32::MAX - 1, u32::MAX, true)),
        ];
        // A user needs a namespace for these.
        if self.is_root() {
            let tree = open_tree(CWD, c"/", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
            let set = |tree| set_attributes(AsFd::as_fd(tree), c"", false, &Attributes::default());
            tried.push(("open_tree", tree.as_ref().map(drop).map_err(|errno| *errno)));
            tried.extend(tree.as_ref().ok().map(|tree| ("mount_setattr", set(tree))));
        }
        let refused: Vec<String> = tried
            .into_iter()
            .filter_map(|(name, result)| match result {
                Err(errno @ (Errno::PERM | Errno::NOSYS)) => Some(format!("{name} ({})", rt_sys::errno::text(errno))),
                _ => None,
            })
            .collect();
        if !refused.is_empty() {
            self.warning(
                "system calls",
                format!("refused to rt itself: {}", refused.join(", ")),
                "give the container or the service in which rt runs a newer seccomp profile, and the right CAP_SYS_ADMIN",
            );
        }
        match self.sysctl("vm.memfd_noexec") {
            Some(2) => self.note(
                "memory files",
                "vm.memfd_noexec is 2: rt executes its init from a private tmpfs instead, which takes longer",
                "sysctl vm.memfd_noexec=1, if nothing needs the 2",
            ),
            _ => self.fine("memory files", "can be executed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    #[test]
    fn memory_files_that_cannot_be_executed() {
        let found = |value| complaints(&[("/proc/sys/vm/memfd_noexec", value)], 1000, Look::calls);
        assert!(found("2\n").iter().any(|(level, about, _)| (*level, *about) == (Level::Note, "memory files")));
        assert!(found("1\n").is_empty(), "{:?}", found("1\n"));
    }
}
