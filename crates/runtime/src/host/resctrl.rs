//! resctrl, the kernel's interface to cache and memory bandwidth
//! (Documentation/arch/x86/resctrl.rst): a container's class of service and monitoring group. Its
//! processes enter like a cgroup: init writes itself into `tasks`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rt_plan::Resctrl;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Where a container is in resctrl. Kept in its directory, for `exec`, `update` and `delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    root: PathBuf,
    class: PathBuf,
    /// The class belongs to this container alone and is removed with it. A class that the config
    /// names belongs to others, too.
    own: bool,
    monitor: Option<PathBuf>,
}

/// The mounted filesystem, if there is one.
pub fn mounted() -> Option<PathBuf> {
    let mounts = procfs::process::Process::myself().and_then(|own| own.mountinfo()).ok()?;
    mounts.into_iter().find(|mount| mount.fs_type == "resctrl").map(|mount| mount.mount_point)
}

impl Group {
    /// Where the group of `id` belongs. Nothing is made yet.
    pub fn locate(id: &str, wanted: &Resctrl) -> Result<Group, Error> {
        Ok(Group::below(mounted().ok_or(Error::NoResctrl)?, id, wanted))
    }

    fn below(root: PathBuf, id: &str, wanted: &Resctrl) -> Group {
        let class = match wanted.class.as_deref() {
            None => root.join(id),
            Some("/") => root.clone(),
            Some(name) => root.join(name),
        };
        let monitor = wanted.monitoring.then(|| class.join("mon_groups").join(id));
        Group { root, class, own: wanted.class.is_none(), monitor }
    }

    /// Makes what is missing and writes the schemata. A class that exists already is compared with
    /// them instead, because others live in it (config-linux.md "IntelRdt").
    pub fn make(&self, wanted: &Resctrl) -> Result<(), Error> {
        let existed = self.class.is_dir();
        if !existed && !self.own && wanted.schemata.is_empty() {
            let what = "a class without a schema must exist:";
            return Err(self.failed("/linux/intelRdt/closID", what, &self.class, Errno::NOENT));
        }
        if !existed {
            let what = "make the class of service";
            fs::create_dir(&self.class).map_err(|e| self.failed_io("/linux/intelRdt/closID", what, &self.class, e))?;
        }
        if existed && !self.own {
            self.compare(&wanted.schemata)?;
        } else {
            self.write(&wanted.schemata)?;
        }
        if let Some(monitor) = &self.monitor {
            match fs::create_dir(monitor) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    let at = "/linux/intelRdt/enableMonitoring";
                    return Err(self.failed_io(at, "make the monitoring group", monitor, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes lines of schemata, all in one call: the kernel takes all or none.
    pub fn write(&self, lines: &[String]) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.class.join("schemata");
        let text: String = lines.iter().flat_map(|l| [l, "\n"]).collect();
        let written = fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes()));
        written.map_err(|e| self.failed_io("/linux/intelRdt/schemata", "write", &path, e))
    }

    fn compare(&self, wanted: &[String]) -> Result<(), Error> {
        let path = self.class.join("schemata");
        let at = "/linux/intelRdt/schemata";
        let present = if wanted.is_empty() { String::new() } else { fs::read_to_string(&path).unwrap_or_default() };
        match wanted.iter().find(|line| !agrees(line, &present)) {
            None => Ok(()),
            Some(_) => Err(self.failed(at, "the class exists with another schema:", &path, Errno::EXIST)),
        }
    }

    /// `tasks` of the class and of the monitoring group: a process that writes `0` into them
    /// enters, in this order.
    pub fn tasks(&self) -> Result<Vec<OwnedFd>, Error> {
        let dirs = [Some(&self.class), self.monitor.as_ref()];
        dirs.into_iter()
            .flatten()
            .map(|dir| {
                let path = dir.join("tasks");
                let file = fs::OpenOptions::new().write(true).open(&path);
                file.map(OwnedFd::from).map_err(|e| self.failed_io("/linux/intelRdt", "open", &path, e))
            })
            .collect()
    }

    /// Removes what belongs to this container alone; what is already gone is no error.
    pub fn remove(&self) -> Result<(), Error> {
        for dir in self.monitor.iter().chain(self.own.then_some(&self.class)) {
            match fs::remove_dir(dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.failed_io("/linux/intelRdt", "remove", dir, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn failed_io(&self, at: &'static str, what: &'static str, path: &Path, e: std::io::Error) -> Error {
        self.failed(at, what, path, Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    fn failed(&self, pointer: &'static str, what: &'static str, path: &Path, errno: Errno) -> Error {
        // In this file the kernel explains what it refused; "ok" belongs to an earlier command.
        let status = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let status = status.trim().trim_start_matches("ok").to_owned();
        Error::Resctrl { pointer, what, path: path.to_owned(), status, errno }
    }
}

/// Whether every domain of a line (`L3:0=7f0;1=1f`) has the same value in `present`, where the
/// kernel may have padded it.
fn agrees(line: &str, present: &str) -> bool {
    let parts = |line: &str| -> Option<(String, Vec<(String, String)>)> {
        let (resource, domains) = line.split_once(':')?;
        let domain = |d: &str| {
            let (id, value) = d.split_once('=')?;
            let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
            Some((id.trim().to_owned(), value))
        };
        Some((resource.trim().to_owned(), domains.split(';').map(domain).collect::<Option<_>>()?))
    };
    let Some((resource, wanted)) = parts(line) else { return false };
    let Some((_, there)) = present.lines().filter_map(parts).find(|(r, _)| *r == resource) else { return false };
    wanted.iter().all(|domain| there.contains(domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A directory tree in place of resctrl, with what the kernel puts there.
    fn tree() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("info")).unwrap();
        fs::create_dir_all(root.path().join("mon_groups")).unwrap();
        fs::write(root.path().join("schemata"), "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n").unwrap();
        fs::write(root.path().join("tasks"), "").unwrap();
        root
    }

    fn wanted(class: Option<&str>, schemata: &[&str], monitoring: bool) -> Resctrl {
        Resctrl {
            class: class.map(str::to_owned),
            schemata: schemata.iter().map(|s| (*s).to_owned()).collect(),
            monitoring,
        }
    }

    fn group(root: &TempDir, wanted: &Resctrl) -> Group {
        Group::below(root.path().to_owned(), "c1", wanted)
    }

    /// Without a closID the class is the container's: made with its schema, and removed with it.
    #[test]
    fn a_class_of_its_own() {
        let root = tree();
        let wanted = wanted(None, &["L3:0=f", "MB:0=20"], false);
        let group = group(&root, &wanted);
        group.make(&wanted).unwrap();
        let class = root.path().join("c1");
        assert_eq!(fs::read_to_string(class.join("schemata")).unwrap(), "L3:0=f\nMB:0=20\n");
        // The kernel's files go with their directory.
        fs::remove_file(class.join("schemata")).unwrap();
        group.remove().unwrap();
        assert!(!class.exists());
        group.remove().unwrap();
    }

    /// A named class is shared: made if it is missing, compared if it is there, and never removed.
    #[test]
    fn a_shared_class() {
        let root = tree();
        let gold = wanted(Some("gold"), &["L3:0=00ff;1=f"], false);
        group(&root, &gold).make(&gold).unwrap();
        fs::write(root.path().join("gold/schemata"), "    L3:0=0ff;1=00f\n    MB:0=100;1=100\n").unwrap();
        group(&root, &gold).make(&gold).unwrap();
        let other = wanted(Some("gold"), &["L3:0=1"], false);
        let error = group(&root, &other).make(&other).unwrap_err().to_string();
        assert!(error.starts_with("/linux/intelRdt/schemata: the class exists with another schema: "), "{error}");
        group(&root, &gold).remove().unwrap();
        assert!(root.path().join("gold").exists());
        let unnamed = wanted(Some("silver"), &[], false);
        let error = group(&root, &unnamed).make(&unnamed).unwrap_err().to_string();
        assert!(error.starts_with("/linux/intelRdt/closID: a class without a schema must exist: "), "{error}");
        assert!(!root.path().join("silver").exists());
    }

    /// `/` is the default class; a container in it can still be monitored by itself.
    #[test]
    fn the_default_class_and_monitoring() {
        let root = tree();
        let wanted = wanted(Some("/"), &[], true);
        let group = group(&root, &wanted);
        group.make(&wanted).unwrap();
        let monitor = root.path().join("mon_groups/c1");
        fs::write(monitor.join("tasks"), "").unwrap();
        assert_eq!(group.tasks().unwrap().len(), 2);
        fs::remove_file(monitor.join("tasks")).unwrap();
        group.remove().unwrap();
        assert!(!monitor.exists() && root.path().join("schemata").exists());
    }

    /// The kernel's own words are in the error.
    #[test]
    fn the_last_command_status_is_told() {
        let root = tree();
        fs::write(root.path().join("info/last_cmd_status"), "Mask f0f has non-consecutive 1-bits\n").unwrap();
        // A class whose parent is missing stands for any refusal.
        let wanted = wanted(Some("gone/x"), &["L3:0=f0f"], false);
        let error = group(&root, &wanted).make(&wanted).unwrap_err().to_string();
        assert!(error.contains("(Mask f0f has non-consecutive 1-bits)"), "{error}");
        assert!(error.ends_with("no such file or directory"), "{error}");
    }
}
