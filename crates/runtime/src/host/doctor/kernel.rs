//! The kernel: its age, its namespaces, what it filters system calls with, its security modules.

use rt_plan::NamespaceKind;

use super::Look;
use crate::host::check::version_of;

impl Look {
    pub(super) fn kernel(&mut self) {
        let release = self.release.clone();
        match version_of(&release) {
            version if version < (5, 10) => self.wrong(
                "kernel",
                format!("Linux {release} is older than 5.10, the oldest that rt works on"),
                "install a newer kernel",
            ),
            version if version < (5, 12) => self.note(
                "kernel",
                format!("Linux {release}: id-mapped mounts and options such as rro need 5.12"),
                "install a newer kernel if you need them",
            ),
            _ => self.fine("kernel", format!("Linux {release}")),
        }
        self.namespaces();
        self.seccomp();
        self.security_modules();
    }

    fn namespaces(&mut self) {
        let missing: Vec<&str> = NamespaceKind::ALL
            .iter()
            .filter(|kind| !self.path("/proc/self/ns").join(kind.file).exists())
            .map(|kind| kind.name)
            .collect();
        if missing.is_empty() {
            self.fine("namespaces", "all kinds");
        } else {
            self.warning(
                "namespaces",
                format!("this kernel lacks {}", missing.join(", ")),
                "use a kernel with the options CONFIG_*_NS, or configs without these namespaces",
            );
        }
    }

    fn seccomp(&mut self) {
        match self.read("/proc/sys/kernel/seccomp/actions_avail") {
            None => self.warning(
                "seccomp",
                "this kernel cannot filter system calls: no container with a seccomp profile starts",
                "use a kernel with CONFIG_SECCOMP_FILTER",
            ),
            Some(actions) if !actions.contains("user_notif") => self.note(
                "seccomp",
                "this kernel has no action SCMP_ACT_NOTIFY",
                "install a newer kernel if a profile needs it",
            ),
            Some(_) => self.fine("seccomp", "filters and all actions"),
        }
    }

    fn security_modules(&mut self) {
        let apparmor = self.read("/sys/module/apparmor/parameters/enabled").is_some_and(|enabled| enabled == "Y");
        let selinux = self.read("/sys/fs/selinux/enforce");
        let mut active = Vec::new();
        if apparmor {
            active.push("AppArmor");
        }
        active.extend(selinux.as_deref().map(|mode| if mode == "1" { "SELinux" } else { "SELinux, permissive" }));
        if active.is_empty() {
            self.note(
                "security",
                "neither AppArmor nor SELinux: configs that name a profile or a label are refused",
                "turn one on with the kernel parameter lsm=, where containers need it",
            );
        } else {
            self.fine("security", active.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    #[test]
    fn an_old_kernel_is_wrong() {
        let release = |release: &str| {
            let found = complaints(&[], 0, |look: &mut Look| {
                look.release = release.to_owned();
                look.kernel();
            });
            found.iter().find(|(_, about, _)| *about == "kernel").map(|(level, ..)| *level)
        };
        assert_eq!(release("4.19.0-amd64"), Some(Level::Wrong));
        assert_eq!(release("5.10.0"), Some(Level::Note));
        assert_eq!(release("6.1.0"), None);
    }

    #[test]
    fn missing_kinds_are_named() {
        let all = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"].map(|kind| format!("/proc/self/ns/{kind}"));
        let files: Vec<_> = all.iter().map(|path| (path.as_str(), "")).collect();
        let found = complaints(&files, 0, Look::kernel);
        assert!(found.contains(&(Level::Warning, "namespaces", "this kernel lacks time".to_owned())), "{found:?}");
        assert!(found.iter().any(|(level, about, _)| (*level, *about) == (Level::Warning, "seccomp")));
    }
}
