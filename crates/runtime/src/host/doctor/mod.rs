//! `rt doctor`: whether this host is ready for containers, and what to do where it is not. Only reads.
//!
//! What `rt check` says about one config, this says about all of them.

mod calls;
mod cgroups;
mod engines;
mod kernel;
mod state;
mod tools;
mod users;

use std::path::{Path, PathBuf};

use rustix::process::getuid;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// Good to know.
    Note,
    /// Some containers will not work, or not as they should.
    Warning,
    /// No container will work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What was looked at, in one or two words.
    pub about: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// The host as it is looked at.
struct Look {
    /// Where its files are: `/`, but for tests.
    files: PathBuf,
    /// uname(2)'s release.
    release: String,
    uid: u32,
    found: Vec<Advice>,
}

/// Looks at the host. `root` is where the state of containers is kept, `criu` the program that was
/// asked for.
pub fn examine(root: &Path, criu: Option<&Path>) -> Vec<Advice> {
    let mut look = Look {
        files: PathBuf::from("/"),
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        uid: getuid().as_raw(),
        found: Vec::new(),
    };
    look.kernel();
    look.calls();
    look.cgroups();
    look.users();
    look.state(root);
    look.tools(criu);
    look.engines();
    look.found
}

impl Look {
    fn add(&mut self, level: Level, about: &'static str, message: impl Into<String>, remedy: Option<&str>) {
        self.found.push(Advice { about, level, message: message.into(), remedy: remedy.map(str::to_owned) });
    }

    fn fine(&mut self, about: &'static str, message: impl Into<String>) {
        self.add(Level::Fine, about, message, None);
    }

    fn note(&mut self, about: &'static str, message: impl Into<String>, remedy: &str) {
        self.add(Level::Note, about, message, Some(remedy));
    }

    fn warning(&mut self, about: &'static str, message: impl Into<String>, remedy: &str) {
        self.add(Level::Warning, about, message, Some(remedy));
    }

    fn wrong(&mut self, about: &'static str, message: impl Into<String>, remedy: &str) {
        self.add(Level::Wrong, about, message, Some(remedy));
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }

    fn path(&self, path: &str) -> PathBuf {
        self.files.join(path.trim_start_matches('/'))
    }

    /// A file's text without the last newline; `None` if there is none, or it cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// A kernel parameter, such as `vm.memfd_noexec`.
    fn sysctl(&self, name: &str) -> Option<i64> {
        self.read(&format!("/proc/sys/{}", name.replace('.', "/")))?.parse().ok()
    }

    /// Where a program of this name is: in PATH, as far as its directories are absolute, or where
    /// daemons, whose PATH is another, find it.
    fn program(&self, name: &str) -> Option<String> {
        const DIRECTORIES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let own = std::env::var("PATH").unwrap_or_default();
        let directories = own.split(':').chain(DIRECTORIES.split(':')).filter(|directory| directory.starts_with('/'));
        directories.map(|directory| format!("{directory}/{name}")).find(|path| self.path(path).is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a made-up host, and returns all that is not fine.
    pub(super) fn complaints(
        files: &[(&str, &str)],
        uid: u32,
        look: impl FnOnce(&mut Look),
    ) -> Vec<(Level, &'static str, String)> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut host = Look { files: root.path().to_owned(), release: "6.12.1".to_owned(), uid, found: Vec::new() };
        look(&mut host);
        // Whoever is told of something wrong is told what to do.
        assert!(host.found.iter().all(|advice| (advice.level == Level::Fine) == advice.remedy.is_none()));
        let bad = host.found.into_iter().filter(|advice| advice.level > Level::Fine);
        bad.map(|advice| (advice.level, advice.about, advice.message)).collect()
    }
}
