//! Saving a container.

use std::fs::write;

use rt_plan::spec::Spec;
use rt_protocol::flags::namespace;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FileType, stat};
use rustix::process::{Pid, Signal, kill_process};

use super::criu::{Criu, has};
use super::error::CheckpointError;
use super::image::{self, DESCRIPTORS, Directories};
use super::mounts::{self, Mounts};
use super::options::{CriuOptions, config_file};
use super::preflight::{judge, look};
use super::rpc::{Features, Kind, Options, Request};
use super::{log, namespaces};
use crate::caller::inherited::take_writable;
use crate::error::{Context, Error};
use crate::store::state::State;

const LOG: &str = "dump.log";

/// Saves the container that `state` describes. Afterwards its processes have ended, or run on, as
/// the options say. After a failure they run on, and nothing of the image is left but CRIU's log.
///
/// `saved` is called when all is written and the processes are still stopped. If it fails, they run
/// on.
pub fn dump(
    state: &State,
    spec: &Spec<'_>,
    options: &CriuOptions,
    saved: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let fresh = image::is_empty(&options.image);
    let dumped = try_dump(state, spec, options, saved);
    if dumped.is_err() && fresh {
        image::remove_rest(&options.image);
    }
    dumped
}

/// Whether CRIU and the kernel can save memory in rounds.
pub fn tracks_memory(options: &CriuOptions) -> Result<bool, Error> {
    let wanted = Features { mem_track: Some(true), ..Features::default() };
    Ok(has(options.program.as_deref(), wanted)?.mem_track == Some(true))
}

fn try_dump(
    state: &State,
    spec: &Spec<'_>,
    options: &CriuOptions,
    saved: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut status = status_descriptor(options)?;
    let ps = options.page_server()?;
    let mounts = mounts_of(state)?;
    refuse_what_would_change(&mounts)?;
    image::refuse_links(options.work_dir(), &[LOG, "stats-dump"])?;
    image::refuse_links(&options.image, &[DESCRIPTORS])?;
    let directories = image::for_dump(options)?;
    let program = options.program.as_deref();
    if options.pre_dump && !tracks_memory(options)? {
        return Err(CheckpointError::Lacks("memory tracking, which --pre-dump needs").into());
    }
    if options.lazy_pages
        && has(program, Features { lazy_pages: Some(true), ..Features::default() })?.lazy_pages != Some(true)
    {
        return Err(CheckpointError::Lacks("userfaultfd, which --lazy-pages needs").into());
    }
    let mut opts = Options { ps, ..request(state, spec, options, &directories)? };
    if !options.pre_dump {
        opts.ext_mnt = mounts::external(&mounts);
        let streams = standard_streams(state.pid, &mounts);
        opts.external.extend(streams.iter().filter(|name| name.starts_with("file[")).cloned());
        let path = options.image.join(DESCRIPTORS);
        let text = serde_json::to_vec(&streams).unwrap_or_default();
        write(&path, text).on("write", path)?;
    }
    let kind = if options.pre_dump { Kind::PreDump } else { Kind::Dump };
    let orphans = Orphans::watch();
    let criu = Criu::start(program, &[])?;
    let request = Request { kind: kind as i32, opts: Some(opts), ..Request::default() };
    let answer = criu.ask(&request, |notice| {
        if notice.name == "status-ready"
            && let Some(status) = status.take()
        {
            rustix::io::write(&status, &[0]).doing("write to --status-fd")?;
        }
        if notice.name == "post-dump" { saved() } else { Ok(()) }
    });
    let what = if options.pre_dump { "pre-dump" } else { "dump" };
    let failed = |message: Option<&str>| {
        let mut finding = log::read(&options.work_dir().join(LOG), message);
        // Where CRIU's words say little, the container may say more.
        if finding.cause.is_none()
            && let Ok(facts) = look(state, options)
            && let Some(obstacle) = judge(&facts, options).into_iter().next()
        {
            finding.cause = Some(format!("{}: {}", obstacle.at, obstacle.what));
            finding.remedy = Some(obstacle.remedy);
        }
        Error::from(CheckpointError::Failed { what, finding })
    };
    match answer {
        Ok(response) if !response.success => return Err(failed(response.cr_errmsg.as_deref())),
        Ok(_) => {}
        Err(e) => {
            orphans.kill();
            thaw(state);
            return Err(e);
        }
    }
    // After a pre-dump CRIU waits for the next request, and prints that there was none.
    if options.pre_dump {
        return Ok(criu.kill()?);
    }
    if criu.finish()?.exit_status() == Some(0) { Ok(()) } else { Err(failed(None)) }
}

/// The processes that CRIU leaves when it is killed: helpers that are stopped, and that nobody would
/// ever continue. They come to this process, which CRIU's own end does not concern.
struct Orphans {
    /// Children that this process had before.
    before: Vec<i32>,
}

impl Orphans {
    fn watch() -> Orphans {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Orphans { before: children() }
    }

    fn kill(&self) {
        for pid in children().into_iter().filter(|pid| !self.before.contains(pid)) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

fn children() -> Vec<i32> {
    let of_thread = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
    let texts = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(of_thread);
    texts.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// CRIU that was killed leaves the container frozen.
fn thaw(state: &State) {
    if let Ok(cgroup) = state.own_cgroup() {
        let _ = cgroup.thaw();
    }
}

fn status_descriptor(options: &CriuOptions) -> Result<Option<OwnedFd>, CheckpointError> {
    let Some(fd) = options.status_fd else { return Ok(None) };
    take_writable(fd).map(Some).map_err(|errno| CheckpointError::StatusFd { fd, errno })
}

fn request(
    state: &State,
    spec: &Spec<'_>,
    options: &CriuOptions,
    directories: &Directories,
) -> Result<Options, CheckpointError> {
    // CRIU stops the processes by the freezer, which holds those that are just being made, too.
    let freezer = state.cgroup.path_for("freezer").or_else(|| state.cgroup.unified());
    Ok(Options {
        images_dir_fd: directories.image.as_raw_fd(),
        work_dir_fd: directories.work.as_ref().map(AsRawFd::as_raw_fd),
        root: Some(state.rootfs.to_string_lossy().into_owned()),
        pid: Some(state.pid),
        leave_running: options.leave_running,
        tcp_skip_in_flight: options.tcp_skip_in_flight,
        link_remap: options.link_remap,
        parent_img: options.parent.as_ref().map(|p| p.to_string_lossy().into_owned()),
        track_mem: options.parent.is_some() || options.pre_dump,
        freeze_cgroup: freezer.filter(|path| path.exists()).map(|path| path.to_string_lossy().into_owned()),
        external: namespaces::external(spec, state.pid)?,
        config_file: config_file(spec),
        ..options.request(LOG)?
    })
}

/// The container's mounts and the host's.
pub fn mounts_of(state: &State) -> Result<Mounts, Error> {
    let container = mounts::of_process(state.pid)?;
    let own = mounts::of_process(std::process::id() as i32)?;
    let host = own.into_iter().map(|mount| mount.device).collect();
    Ok(Mounts { container, host, own_cgroups: state.namespaces & namespace::NEWCGROUP != 0 })
}

/// Where init's standard streams go: as /proc shows it, and files of the host that the container
/// cannot see in CRIU's form (criu(8), `--external file`). Empty for a stream that is closed.
fn standard_streams(pid: i32, mounts: &Mounts) -> [String; 3] {
    let stream = |fd: i32| {
        let link = rustix::fs::readlink(format!("/proc/{pid}/fd/{fd}"), Vec::new()).ok()?;
        file_outside(pid, fd, mounts).or_else(|| Some(link.to_string_lossy().into_owned()))
    };
    [0, 1, 2].map(|fd| stream(fd).unwrap_or_default())
}

/// CRIU's name for the file behind a descriptor, if it is a file on a mount of the host.
fn file_outside(pid: i32, fd: i32, mounts: &Mounts) -> Option<String> {
    let stat = stat(format!("/proc/{pid}/fd/{fd}")).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mount = mounts::of_descriptor(pid, fd)?;
    let inside = mounts.container.iter().any(|known| known.id == mount);
    (!inside).then(|| format!("file[{mount:x}:{:x}]", stat.st_ino))
}

/// What CRIU would restore as something else, without a word.
fn refuse_what_would_change(mounts: &Mounts) -> Result<(), CheckpointError> {
    match mounts.container.iter().find(|mount| mount.idmapped) {
        Some(mount) => {
            let destination = mount.point.display().to_string();
            Err(CheckpointError::Idmapped { pointer: "/mounts".to_owned(), destination })
        }
        None => Ok(()),
    }
}
