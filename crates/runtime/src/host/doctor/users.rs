//! What users without root, and containers with a user namespace, need.

use super::Look;
use crate::host::check::{subordinate, user_name};

impl Look {
    pub(super) fn users(&mut self) {
        match self.sysctl("user.max_user_namespaces") {
            Some(0) => self.warning(
                "user namespaces",
                "user.max_user_namespaces is 0: no container with a user namespace starts, and none of a user without root",
                "sysctl -w user.max_user_namespaces=15000",
            ),
            _ => self.fine("user namespaces", "allowed"),
        }
        if !self.is_root() {
            self.own_namespaces();
            self.ids();
            self.hidden_processes();
        }
    }

    fn own_namespaces(&mut self) {
        if self.sysctl("kernel.unprivileged_userns_clone") == Some(0) {
            self.wrong(
                "user namespaces",
                "kernel.unprivileged_userns_clone is 0: only root may make them",
                "as root, sysctl -w kernel.unprivileged_userns_clone=1",
            );
        }
        if self.sysctl("kernel.apparmor_restrict_unprivileged_userns") == Some(1) {
            self.warning(
                "user namespaces",
                "AppArmor takes all rights from those of programs without a profile",
                "as root, load a profile for rt with the rule userns, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            );
        }
    }

    /// More than one user in a container takes ids that root has set aside.
    fn ids(&mut self) {
        let has = |file| !subordinate(&self.files, file, self.uid).is_empty();
        let (users, groups) = (has("/etc/subuid"), has("/etc/subgid"));
        let tools = ["newuidmap", "newgidmap"].iter().all(|tool| self.program(tool).is_some());
        let who = user_name(&self.files, self.uid).unwrap_or_else(|| self.uid.to_string());
        if !tools {
            self.warning(
                "ids",
                "newuidmap and newgidmap are missing: a container has one user only",
                "as root, install the package uidmap (shadow-utils)",
            );
        }
        if users && groups {
            self.fine("ids", "further users and groups are set aside in /etc/subuid and /etc/subgid");
        } else {
            self.warning(
                "ids",
                format!("/etc/subuid or /etc/subgid has no line for {who}: a container has one user only"),
                "as root, usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
            );
        }
    }

    fn hidden_processes(&mut self) {
        let mounts = self.read("/proc/self/mountinfo").unwrap_or_default();
        let hides = mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/proc")).any(|line| {
            let mut options = line.split([' ', ',']).filter_map(|option| option.strip_prefix("hidepid="));
            options.any(|value| !matches!(value, "0" | "off"))
        });
        if hides {
            self.warning(
                "/proc",
                "hidepid hides processes of other users: rt cannot look at containers with several users",
                "as root, mount -o remount,hidepid=0 /proc, or give this user the group of gid=",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    const READY: [(&str, &str); 5] = [
        ("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"),
        ("/etc/subuid", "ann:100000:65536\n"),
        ("/etc/subgid", "1000:100000:65536\n"),
        ("/usr/bin/newuidmap", ""),
        ("/usr/bin/newgidmap", ""),
    ];

    fn with(more: &[(&str, &str)], uid: u32) -> Vec<(Level, &'static str, String)> {
        complaints(&[&READY, more].concat(), uid, Look::users)
    }

    #[test]
    fn a_user_who_has_all_is_ready() {
        assert_eq!(with(&[], 1000), []);
        assert_eq!(with(&[("/proc/sys/user/max_user_namespaces", "15000\n")], 1000), []);
    }

    #[test]
    fn what_a_user_lacks_is_named() {
        for (file, text, level, about) in [
            ("/proc/sys/user/max_user_namespaces", "0\n", Level::Warning, "user namespaces"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0\n", Level::Wrong, "user namespaces"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", Level::Warning, "user namespaces"),
            ("/etc/subuid", "bob:100000:65536\n", Level::Warning, "ids"),
            (
                "/proc/self/mountinfo",
                "24 1 0:22 / /proc rw,nosuid - proc proc rw,hidepid=invisible\n",
                Level::Warning,
                "/proc",
            ),
        ] {
            let found = with(&[(file, text)], 1000);
            assert_eq!(
                found.iter().map(|(level, about, _)| (*level, *about)).collect::<Vec<_>>(),
                [(level, about)],
                "{file}"
            );
        }
    }

    /// Root maps ids itself, and sees all processes.
    #[test]
    fn root_needs_none_of_it() {
        let hidden = ("/proc/self/mountinfo", "24 1 0:22 / /proc rw - proc proc rw,hidepid=2\n");
        assert_eq!(complaints(&[hidden], 0, Look::users), []);
    }
}
