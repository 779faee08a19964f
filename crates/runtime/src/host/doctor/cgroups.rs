//! Control groups: their layout, their controllers, and what a user may do with them.

use rt_cgroups::Layout;
use rustix::fs::{Access, access};

use super::Look;

/// What the limits of ordinary containers need.
const NEEDED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

impl Look {
    pub(super) fn cgroups(&mut self) {
        match rt_cgroups::detect_at(&self.path("/sys/fs/cgroup")) {
            Ok(Layout::V2 { .. }) => self.unified("/sys/fs/cgroup", "cgroup v2"),
            Ok(Layout::Hybrid { .. }) => self.first_version("hybrid: limits are those of cgroup v1"),
            Ok(Layout::V1 { .. }) => self.first_version("cgroup v1"),
            Ok(Layout::None) => self.wrong(
                "cgroups",
                "none are mounted on /sys/fs/cgroup",
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or begin with rt --cgroup-manager disabled",
            ),
            Err(error) => self.wrong("cgroups", error.to_string(), "see cgroups(7)"),
        }
        let systemd = self.path("/run/systemd/system").is_dir();
        self.fine("systemd", if systemd { "runs; rt --systemd-cgroup works" } else { "does not run here" });
    }

    fn first_version(&mut self, layout: &str) {
        self.note(
            "cgroups",
            format!("{layout}; pressure, memory.high and limits for users without root need v2"),
            "boot with systemd.unified_cgroup_hierarchy=1, if nothing needs v1",
        );
    }

    /// `directory` is the root of version 2, as far as rt sees it.
    fn unified(&mut self, directory: &str, layout: &str) {
        self.controllers(directory, layout);
        if !self.is_root() {
            self.delegation(directory);
        }
    }

    fn controllers(&mut self, directory: &str, layout: &str) {
        let available = self.read(&format!("{directory}/cgroup.controllers")).unwrap_or_default();
        let missing: Vec<&str> =
            NEEDED.into_iter().filter(|name| !available.split_whitespace().any(|c| c == *name)).collect();
        if missing.is_empty() {
            self.fine("cgroups", format!("{layout}; {available}"));
        } else {
            let missing = missing.join(", ");
            self.warning(
                "cgroups",
                format!("{layout} without {missing}: limits of that kind are refused"),
                "kernel parameters such as cgroup_enable=memory turn controllers on; in a container, the host must delegate them",
            );
        }
    }

    /// What systemd, or whoever it was, has given to this user.
    fn delegation(&mut self, directory: &str) {
        let own = self.read("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
        // systemd delegates the user's service; a session lies beside it.
        let service = format!("/user.slice/user-{0}.slice/user@{0}.service", self.uid);
        let cgroup = if own.starts_with(&service) { service } else { own };
        let path = format!("{directory}{cgroup}");
        let may_write = access(self.path(&path), Access::WRITE_OK).is_ok();
        let available = self.read(&format!("{path}/cgroup.controllers")).unwrap_or_default();
        let missing: Vec<&str> =
            NEEDED.into_iter().filter(|name| !available.split_whitespace().any(|c| c == *name)).collect();
        const DELEGATE: &str = "as root, put Delegate=cpu cpuset io memory pids into /etc/systemd/system/user@.service.d/delegate.conf, and log in anew";
        if !may_write {
            self.warning("delegation", format!("{cgroup} is not this user's: no limits for containers"), DELEGATE);
        } else if !missing.is_empty() {
            let missing = missing.join(", ");
            self.warning(
                "delegation",
                format!("{cgroup} without {missing}: limits of that kind are refused"),
                DELEGATE,
            );
        } else {
            self.fine("delegation", format!("{cgroup} with all controllers"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    #[test]
    fn missing_controllers_are_named() {
        let files = [("/c/cgroup.controllers", "cpuset cpu io pids\n")];
        let found = complaints(&files, 0, |look: &mut Look| look.unified("/c", "cgroup v2"));
        assert_eq!(found.len(), 1);
        assert!(found[0].2.contains("without memory:"), "{found:?}");
    }

    /// A user's session is not what systemd delegates; the user's service is.
    #[test]
    fn what_a_user_has_been_given() {
        let all = "cpu cpuset io memory pids\n";
        let user = |own: &str, given: &str| {
            let files = [
                ("/c/cgroup.controllers", all),
                ("/proc/self/cgroup", own),
                ("/c/user.slice/user-7.slice/user@7.service/cgroup.controllers", given),
            ];
            complaints(&files, 7, |look: &mut Look| look.unified("/c", "cgroup v2"))
        };
        let app = "0::/user.slice/user-7.slice/user@7.service/app.slice/x.scope\n";
        assert!(user(app, all).is_empty());
        assert!(user(app, "memory pids\n")[0].2.contains("without cpu, cpuset, io"));
        let session = user("0::/user.slice/user-7.slice/session-1.scope\n", all);
        assert_eq!((session[0].0, session[0].1), (Level::Warning, "delegation"));
    }

    #[test]
    fn no_cgroups_are_wrong() {
        let found = complaints(&[("/sys/fs/cgroup/x", "")], 0, Look::cgroups);
        assert_eq!((found[0].0, found[0].1), (Level::Wrong, "cgroups"));
    }
}
