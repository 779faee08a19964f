//! Starting processes from an image.

use std::path::PathBuf;

use rt_cgroups::Location;
use rt_plan::Plan;
use rt_plan::spec::Spec;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use super::criu::{Criu, Notice};
use super::error::CheckpointError;
use super::image::{self, Directories};
use super::mounts::of_process;
use super::options::{CriuOptions, config_file};
use super::rpc::{CgroupRoot, ExternalMount, InheritFd, Kind, Options, Request};
use super::{inherited, log, namespaces, places, reach};
use crate::error::{Context, Error};
use crate::host::mount_namespace::with_own_mount;
use crate::launch::maps::of_container;
use crate::store::directory::Container;

const LOG: &str = "restore.log";

/// Where CRIU sees the rootfs: it takes nothing but a mount point for a root.
const ROOT_DIR: &str = "criu-root";

/// CRIU, started and waiting for the request: it can be put into the container's cgroup, which the
/// processes that it makes inherit.
pub struct Restore<'a> {
    criu: Criu,
    options: &'a CriuOptions,
    opts: Options,
    // CRIU opens them by way of this process.
    _directories: Directories,
}

/// What the making of the container does when CRIU is at a point of its work. Every method gets the
/// pid of the container's init.
pub trait Events {
    /// The namespaces are there, and no process runs in them yet.
    fn namespaces(&mut self, pid: i32) -> Result<(), Error>;
    /// All processes are there, and stopped.
    fn restored(&mut self, pid: i32) -> Result<(), Error>;
    /// The master of a terminal whose master was outside of the container.
    fn terminal(&mut self, master: OwnedFd) -> Result<(), Error>;
}

impl<'a> Restore<'a> {
    /// Prepares the rootfs as `create` would, and starts CRIU.
    pub fn prepare(
        container: &Container,
        spec: &Spec<'_>,
        plan: &Plan,
        options: &'a CriuOptions,
    ) -> Result<Restore<'a>, Error> {
        image::check(options)?;
        image::refuse_links(options.work_dir(), &[LOG, "stats-restore"])?;
        let namespaces = namespaces::given(spec)?;
        let streams = streams(&image::descriptors(&options.image)?);
        let mounts = places::prepare(plan, &of_process(std::process::id() as i32)?)?;
        let root = container.path.join(ROOT_DIR);
        match mkdirat(container.dir(), ROOT_DIR, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            other => other.on("create", &root)?,
        }
        let root = std::fs::canonicalize(&root).on("resolve", &root)?;
        let opts = Options {
            root: Some(root.to_string_lossy().into_owned()),
            evasive_devices: true,
            rst_sibling: true,
            inherit_fd: namespaces.inherit_fds().into_iter().chain(streams).collect(),
            join_ns: namespaces.join.clone(),
            lsm_profile: options.lsm_profile.clone(),
            lsm_mount_context: options.lsm_mount_context.clone(),
            config_file: config_file(spec),
            ..options.request(LOG)?
        };
        let maps = of_container(plan)?;
        // CRIU works in the directories that it gets, which so must be those of its own mount
        // namespace.
        let start = || -> Result<(Criu, Directories, Vec<ExternalMount>), Error> {
            let mounts = if maps.is_some() {
                reach::bring(mounts).doing("bring the sources of mounts into reach")?
            } else {
                mounts
            };
            inherited::set(plan)?;
            let directories = image::for_restore(options, maps.as_ref())?;
            let held: Vec<_> = namespaces.inherited.iter().map(|(_, fd)| fd.as_fd()).collect();
            Ok((Criu::start(options.program.as_deref(), &held)?, directories, mounts))
        };
        let started = with_own_mount(&plan.rootfs, &root, start).on("mount", &plan.rootfs)?;
        let (criu, directories, ext_mnt) = started?;
        let opts = Options {
            ext_mnt,
            images_dir_fd: directories.image.as_raw_fd(),
            work_dir_fd: directories.work.as_ref().map(AsRawFd::as_raw_fd),
            ..opts
        };
        Ok(Restore { criu, options, opts, _directories: directories })
    }

    /// CRIU's pid.
    pub fn pid(&self) -> i32 {
        self.criu.pid
    }

    /// Lets CRIU work. Returns the pid of the container's init, a child of this process.
    pub fn run(mut self, location: &Location, events: &mut dyn Events) -> Result<i32, Error> {
        self.opts.cg_root = roots(self.criu.pid, location)?;
        let request = Request { kind: Kind::Restore as i32, opts: Some(self.opts), ..Request::default() };
        let answer = self.criu.ask(&request, |Notice { name, pid, fd }| match (name.as_str(), fd) {
            ("setup-namespaces", _) => events.namespaces(pid),
            ("post-restore", _) => events.restored(pid),
            ("orphan-pts-master", Some(master)) => events.terminal(master),
            _ => Ok(()),
        })?;
        let pid = answer.restore.as_ref().filter(|_| answer.success).map(|restored| restored.pid);
        let failed = || {
            let finding = log::read(&self.options.work_dir().join(LOG), answer.cr_errmsg.as_deref());
            Error::from(CheckpointError::Failed { what: "restore", finding })
        };
        let pid = pid.ok_or_else(failed)?;
        let ended = self.criu.finish()?;
        if ended.exit_status() == Some(0) { Ok(pid) } else { Err(failed()) }
    }
}

/// Removes the directory on which CRIU's root was mounted.
pub fn remove_root(container: &Container) {
    let _ = std::fs::remove_dir(container.path.join(ROOT_DIR));
}

/// The standard streams that were pipes, or files of the host, get those of this process instead.
fn streams(descriptors: &[String]) -> Vec<InheritFd> {
    let outside = |name: &String| name.starts_with("pipe:") || name.starts_with("file[");
    let streams = descriptors.iter().take(3).zip(0..).filter(|(name, _)| outside(name));
    streams.map(|(key, fd)| InheritFd { key: key.clone(), fd }).collect()
}

/// The cgroups under which CRIU makes those of the image: the container's own, which CRIU's process
/// `pid` is in.
fn roots(pid: i32, location: &Location) -> Result<Vec<CgroupRoot>, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let bytes = rt_sys::file::read(&path).on("read", &path)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = location.path_for(controllers.split(',').next().unwrap_or_default()).is_some();
        let ours = ours || (controllers.is_empty() && location.unified().is_some());
        ours.then(|| CgroupRoot { ctrl: Some(controllers.to_owned()), path: path.to_owned() })
    };
    Ok(text.lines().filter_map(line).collect())
}
