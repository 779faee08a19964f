//! The handle on one container's cgroup: its directory in every hierarchy.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rt_resources::check::is_file_name;
use rt_resources::{Driver, InvalidPath, Layout, Location};
use rustix::fs::OFlags;
use rustix::process::Pid;

use crate::dir::Dir;
use crate::error::Error;
use crate::own::{Membership, directory};

/// A container's cgroup. Its methods are in one file per concern: create, apply, devices, freezer,
/// kill, …
#[derive(Debug)]
pub struct Cgroup {
    /// The directories of cgroup v1, one per hierarchy.
    pub(crate) hierarchies: Vec<Joined>,
    /// The directory of cgroup v2.
    pub(crate) unified: Option<Dir>,
    /// This command has just made the cgroup, and no process is in it yet.
    pub(crate) fresh: bool,
    /// Whether there are any directories, and if not, why.
    pub(crate) access: Access,
}

/// A directory of cgroup v1 and the controllers it has.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) controllers: Vec<String>,
    pub(crate) dir: Dir,
}

/// What may be done with the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything.
    Full,
    /// The caller runs without root, and some of the hierarchies are not writable for this user.
    Rootless,
    /// Nothing: the caller may make no cgroup and has not asked for a certain one.
    Denied,
    /// Nothing: there shall be no cgroup.
    Disabled,
}

/// What a new process needs to get into the cgroup by itself.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The directory of cgroup v2, for `clone3(CLONE_INTO_CGROUP)`.
    pub unified: Option<BorrowedFd<'a>>,
    /// `tasks` of each hierarchy of cgroup v1, open for writing. A process with one thread that
    /// writes `0` moves itself, without the global lock (and the RCU grace period) that moving
    /// another process takes.
    pub tasks: Vec<OwnedFd>,
}

impl Cgroup {
    /// The handle on a cgroup that was made earlier. Nothing is opened: directories may be gone.
    pub fn open(location: &Location) -> Result<Cgroup, Error> {
        let access = match (location.driver, location.rootless) {
            (Driver::Disabled, _) => Access::Disabled,
            (_, true) => Access::Rootless,
            (_, false) => Access::Full,
        };
        Ok(Cgroup::at(&location.paths, access))
    }

    /// Where below this cgroup of version 2 a process is; None if the process is in the cgroup
    /// itself, or outside of it.
    ///
    /// A cgroup that hands controllers down takes no processes any more (EBUSY). systemd as a
    /// container's init turns the container's cgroup into such a cgroup; `exec` then goes to the
    /// cgroup of init.
    pub fn path_below(&self, layout: &Layout, pid: Pid) -> Result<Option<String>, Error> {
        let (Some(own), Some(root)) = (&self.unified, layout.unified()) else { return Ok(None) };
        let place = directory(root, Membership::of(pid)?.path("").unwrap_or("/"))?;
        let below = place.strip_prefix(own.path()).ok().and_then(Path::to_str);
        Ok(below.filter(|path| !path.is_empty()).map(str::to_owned))
    }

    /// The same cgroup with a sub-cgroup in its place: in the hierarchy of one controller, or in
    /// all.
    ///
    /// For `exec --cgroup [controller:]path`. The path may not lead out of the container's cgroup.
    pub fn descend(&self, controller: Option<&str>, path: &str) -> Result<Cgroup, Error> {
        let invalid = |why| Error::from(InvalidPath { path: path.to_owned(), why });
        let inner = Path::new(path.trim_matches('/'));
        if !inner.iter().all(|part| part.to_str().is_some_and(is_file_name)) {
            return Err(invalid("not a path inside the container's cgroup"));
        }
        let chosen = |names: &[String]| controller.is_none_or(|name| names.iter().any(|own| own == name));
        let unified_chosen = controller.is_none_or(str::is_empty);
        if !unified_chosen && !self.hierarchies.iter().any(|joined| chosen(&joined.controllers)) {
            return Err(invalid("the container has no cgroup of this controller"));
        }
        let below = |dir: &Dir, chosen| Dir::new(if chosen { dir.path().join(inner) } else { dir.path().to_owned() });
        Ok(Cgroup {
            hierarchies: self
                .hierarchies
                .iter()
                .map(|joined| Joined {
                    controllers: joined.controllers.clone(),
                    dir: below(&joined.dir, chosen(&joined.controllers)),
                })
                .collect(),
            unified: self.unified.as_ref().map(|dir| below(dir, unified_chosen)),
            fresh: false,
            access: self.access,
        })
    }

    /// What a process needs to enter by itself.
    pub fn entry(&self) -> Result<Entry<'_>, Error> {
        let mut entry = Entry { unified: None, tasks: Vec::with_capacity(self.hierarchies.len()) };
        // The containers of a user who could not make the cgroup run without a cgroup.
        let absent = |error: &Error| self.access == Access::Rootless && error.is_missing();
        if let Some(dir) = &self.unified {
            match dir.fd() {
                Ok(fd) => entry.unified = Some(fd),
                Err(error) if absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        for joined in &self.hierarchies {
            match joined.dir.open("tasks", OFlags::WRONLY) {
                Ok(tasks) => entry.tasks.push(tasks),
                Err(error) if absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entry)
    }

    /// Whether any of the directories exists.
    pub fn exists(&self) -> Result<bool, Error> {
        for dir in self.dirs() {
            if dir.exists()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn at(paths: &[(String, std::path::PathBuf)], access: Access) -> Cgroup {
        let mut cgroup = Cgroup { hierarchies: Vec::new(), unified: None, fresh: false, access };
        for (name, path) in paths {
            if name.is_empty() {
                cgroup.unified = Some(Dir::new(path));
                continue;
            }
            match cgroup.hierarchies.iter_mut().find(|joined| joined.dir.path() == path) {
                Some(joined) => joined.controllers.push(name.clone()),
                None => cgroup.hierarchies.push(Joined { controllers: vec![name.clone()], dir: Dir::new(path) }),
            }
        }
        cgroup
    }

    /// All directories. The directory of v2 comes first, because all processes are in it as well.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = &Dir> {
        self.unified.iter().chain(self.hierarchies.iter().map(|joined| &joined.dir))
    }

    /// The directory of a controller of v1.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Dir> {
        let has = |joined: &&Joined| joined.controllers.iter().any(|name| name == controller);
        self.hierarchies.iter().find(has).map(|joined| &joined.dir)
    }

    /// The directory of v2, unless v1 has this controller.
    pub(crate) fn unified_controller(&self, v1_name: &str) -> Option<&Dir> {
        self.unified.as_ref().filter(|_| self.v1(v1_name).is_none())
    }

    /// True when v2 has all controllers.
    pub(crate) fn is_v2(&self) -> bool {
        self.hierarchies.is_empty() && self.unified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `exec --cgroup ..` would put a process under no limit.
    #[test]
    fn a_sub_cgroup_is_inside() {
        let paths = [("memory".to_owned(), "/m/c".into()), (String::new(), "/u/c".into())];
        let cgroup = Cgroup::at(&paths, Access::Full);
        for path in ["..", "a/../..", "a/../../b"] {
            assert!(matches!(cgroup.descend(None, path), Err(Error::InvalidPath(_))), "{path}");
        }
        assert!(cgroup.descend(Some("pids"), "a").is_err());
        let paths =
            |cgroup: Cgroup| cgroup.dirs().map(|dir| dir.path().to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(paths(cgroup.descend(None, "/a/b").unwrap()), ["/u/c/a/b", "/m/c/a/b"]);
        assert_eq!(paths(cgroup.descend(Some("memory"), "a").unwrap()), ["/u/c", "/m/c/a"]);
        assert_eq!(paths(cgroup.descend(None, "/").unwrap()), ["/u/c/", "/m/c/"]);
    }
}
