//! Making a container's cgroup.

use std::path::{Path, PathBuf};

use rt_resources::Layout;
use rt_resources::{Driver, Location};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::cgroup::{Access, Cgroup};
use crate::controller::cpuset;
use crate::dir::Dir;
use crate::enable::{enable_all, leaf_mode};
use crate::error::Error;
use crate::freezer::FreezerState;

impl Cgroup {
    /// Makes the cgroup in every hierarchy, with all controllers that the host offers.
    ///
    /// A directory that exists is used if it has no processes and is not frozen. After a failure
    /// nothing that was made stays.
    pub fn create(layout: &Layout, location: &Location) -> Result<Cgroup, Error> {
        if location.driver == Driver::Systemd {
            return Err(Error::SystemdUnavailable);
        }
        if location.driver != Driver::Disabled && location.paths.is_empty() {
            return Err(Error::NotMounted { path: PathBuf::from("/sys/fs/cgroup") });
        }
        let mut cgroup = Cgroup::open(location)?;
        let mut made = Made::default();
        match build(&mut cgroup, layout, location, &mut made) {
            Ok(()) => {
                made.keep();
                Ok(cgroup)
            }
            // Dropping `made` removes what there is by now.
            Err(error) => Err(error),
        }
    }
}

fn build(cgroup: &mut Cgroup, layout: &Layout, location: &Location, made: &mut Made) -> Result<(), Error> {
    // Containers of a user who may make no cgroups run without a cgroup, unless config.json asks
    // for a certain path.
    let optional = location.rootless && !location.explicit;
    let mut fresh = true;

    if let (Some(dir), Some(root)) = (&cgroup.unified, layout.unified()) {
        let result = if layout.is_v2() { build_v2(dir, root, made) } else { make(dir, made) };
        match result {
            Ok(new) => fresh &= new,
            Err(error) if optional && error.is_denied() => cgroup.unified = None,
            Err(error) => return Err(error),
        }
    }
    let mut denied = Vec::new();
    for (index, joined) in cgroup.hierarchies.iter().enumerate() {
        let is_cpuset = joined.controllers.iter().any(|name| name == "cpuset");
        let result = if is_cpuset { build_cpuset(&joined.dir, made) } else { make(&joined.dir, made) };
        match result {
            Ok(new) => fresh &= new,
            Err(error) if optional && error.is_denied() => denied.push(index),
            Err(error) => return Err(error),
        }
    }
    for index in denied.into_iter().rev() {
        cgroup.hierarchies.remove(index);
    }
    if location.driver == Driver::Cgroupfs && cgroup.dirs().next().is_none() {
        cgroup.access = Access::Denied;
    }

    cgroup.fresh = fresh;
    if fresh { Ok(()) } else { refuse_used(cgroup) }
}

/// Makes the directory in cgroup v2 and enables controllers on the way to it.
fn build_v2(dir: &Dir, root: &Path, made: &mut Made) -> Result<bool, Error> {
    let parent = dir.path().parent().unwrap_or(root);
    if parent != root {
        make(&Dir::new(parent), made)?;
    }
    let complete = enable_all(root, parent)?;
    let fresh = make(dir, made)?;
    // A parent that refuses controllers may be threaded: then the new directory is no place for
    // processes as it is.
    if !complete {
        leaf_mode(dir)?;
    }
    Ok(fresh)
}

/// Makes a directory of the cpuset hierarchy.
fn build_cpuset(dir: &Dir, made: &mut Made) -> Result<bool, Error> {
    let fresh = make(dir, made)?;
    if fresh {
        cpuset::inherit(dir)?;
    } else {
        cpuset::complete(dir)?;
    }
    Ok(fresh)
}

/// Makes a directory and those above it; `false` if it is there already.
fn make(dir: &Dir, made: &mut Made) -> Result<bool, Error> {
    let mkdir = |path: &Path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    match mkdir(dir.path()) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(Errno::NOENT) => {
            let parent = dir.path().parent().ok_or_else(|| dir.call("mkdir", Errno::NOENT))?;
            make(&Dir::new(parent), made)?;
            match mkdir(dir.path()) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(false),
                Err(errno) => return Err(dir.call("mkdir", errno)),
            }
        }
        // A read-only mount says so before it looks whether the directory exists.
        Err(Errno::ROFS) if dir.exists()? => return Ok(false),
        Err(errno) => return Err(dir.call("mkdir", errno)),
    }
    made.paths.push(dir.path().to_owned());
    Ok(true)
}

/// Two containers in one cgroup would be limited, frozen and killed together.
fn refuse_used(cgroup: &Cgroup) -> Result<(), Error> {
    for dir in cgroup.dirs() {
        let count = crate::procs::below(dir)?.len();
        if count != 0 {
            return Err(Error::NotEmpty { path: dir.path().to_owned(), count });
        }
    }
    match cgroup.freezer_state()? {
        FreezerState::Frozen => {
            let path = cgroup.dirs().next().map(|dir| dir.path().to_owned()).unwrap_or_default();
            Err(Error::Frozen { path })
        }
        FreezerState::Running => Ok(()),
    }
}

/// Directories made so far; removed again unless kept.
#[derive(Default)]
struct Made {
    paths: Vec<PathBuf>,
}

impl Made {
    fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            if let Err(errno) = rustix::fs::rmdir(path) {
                tracing::warn!(path = %path.display(), %errno, "left behind");
            }
        }
    }
}
