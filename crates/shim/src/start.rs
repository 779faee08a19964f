//! `start`: finds the server of the container's pod, or becomes it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use rustix::process::{getppid, set_child_subreaper, setsid};
use sha2::{Digest, Sha256};

use crate::arguments::Arguments;
use crate::bootstrap::Bootstrap;
use crate::error::{Context, Error};
use crate::options::{Config, write_private};
use crate::server::{Identity, Server};
use crate::{log, sys};

/// Where sockets are unless containerd says otherwise.
const SOCKETS: &str = "/run/containerd/s";

/// How often, and after which time, a socket is tried again before it is taken for one that nobody
/// serves.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// Annotations that name the pod of a container, the first one that is there counts.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// Prints the address of the server for the container in the working directory. If there is none, the
/// server is a copy of this process, which stays when the process ends.
pub fn start(arguments: &Arguments) -> Result<(), Error> {
    // What containerd has inherited from its own caller would stay open for as long as the pod runs.
    rt_sys::process::close_range(3, u32::MAX, false).doing("close what was inherited")?;
    let bootstrap = Bootstrap::read(arguments)?;
    let annotations = Config::read(Path::new(""))?.annotations.unwrap_or_default();
    let group = GROUPS.iter().find_map(|name| annotations.get(*name)).unwrap_or(&arguments.id);
    let path = socket_path(bootstrap.socket_dir.as_deref(), arguments, group);
    let address = format!("unix://{}", path.display());
    let listener = listen_at(&path)?;
    write_private(Path::new("address"), address.as_bytes())?;
    if let Some(listener) = listener {
        let served = serve(arguments, &bootstrap, listener, &path).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        if served == Side::Server {
            return Ok(());
        }
    }
    bootstrap.answer(&address)
}

#[derive(PartialEq)]
enum Side {
    Start,
    Server,
}

/// The server's socket: the place depends on the daemon, the namespace and the pod.
pub fn socket_path(directory: Option<&Path>, arguments: &Arguments, group: &str) -> PathBuf {
    if !arguments.socket.is_empty() {
        return arguments.socket.trim_start_matches("unix://").into();
    }
    let name = Path::new(&arguments.address).join(&arguments.namespace).join(group);
    let digest = Sha256::digest(name.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    directory.unwrap_or(Path::new(SOCKETS)).join(digest)
}

/// Listens at `path`; `None` if a server answers there. A socket that nobody serves is replaced.
fn listen_at(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(directory).on("make the directory", directory)?;
    let address = SocketAddrUnix::new(path).on("take as the address of a socket", path)?;
    let new = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None);
    let listener = new(SocketFlags::NONBLOCK).doing("make a socket")?;
    let mut bound = bind(&listener, &address);
    if bound == Err(Errno::ADDRINUSE) {
        // The server may just be starting, and not listen yet.
        for _ in 0..TRIES {
            if connect(new(SocketFlags::empty()).doing("make a socket")?, &address).is_ok() {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
        fs::remove_file(path).on("remove the socket of a server that is gone", path)?;
        bound = bind(&listener, &address);
    }
    bound.on("bind", path)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).on("change the mode of", path)?;
    listen(&listener, 128).on("listen on", path)?;
    Ok(Some(listener))
}

/// Makes the server, which has all that a child inherits from here: cgroup, OOM score, cookie of core
/// scheduling.
fn serve(arguments: &Arguments, bootstrap: &Bootstrap, listener: OwnedFd, socket: &Path) -> Result<Side, Error> {
    join_cgroup(&bootstrap.options.shim_cgroup)?;
    survive_containerd()?;
    if env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        sys::own_core_scheduling_group()?;
    }
    if sys::fork()?.is_some() {
        return Ok(Side::Start);
    }
    // From here on there is nobody to report an error to but the log.
    log::open(&arguments.id, bootstrap.debug);
    let served = detach().and_then(|()| {
        let identity = Identity { namespace: arguments.namespace.clone(), events: bootstrap.events.clone() };
        Server::new(identity, listener)?.serve()
    });
    if let Err(error) = served {
        log::error(&error);
    }
    let _ = fs::remove_file(socket);
    Ok(Side::Server)
}

/// A session of its own, the null device for standard streams (containerd waits for the end of those
/// that it gave to `start`), and the parent of all orphans below.
fn detach() -> Result<(), Error> {
    setsid().doing("make a session")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).on("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).doing("replace standard input")?;
    rustix::stdio::dup2_stdout(&null).doing("replace standard output")?;
    rustix::stdio::dup2_stderr(&null).doing("replace standard error")?;
    set_child_subreaper(Some(rustix::process::getpid())).doing("become a subreaper")
}

/// Moves to the cgroup that the options want for the shim; it has to exist.
fn join_cgroup(path: &str) -> Result<(), Error> {
    if path.is_empty() {
        return Ok(());
    }
    let layout = rt_cgroups::detect()?;
    let location = rt_cgroups::locate(&layout, rt_cgroups::Driver::Cgroupfs, Some(path), "shim", false)?;
    let cgroup = rt_cgroups::Cgroup::open(&location)?;
    if !cgroup.exists()? {
        return Err(Error::Options { why: format!("shim_cgroup {path:?} does not exist") });
    }
    Ok(cgroup.add_process(rustix::process::getpid())?)
}

/// Becomes one step more likely to be killed for memory than containerd.
fn survive_containerd() -> Result<(), Error> {
    let Some(parent) = getppid() else { return Ok(()) };
    let file = format!("/proc/{}/oom_score_adj", parent.as_raw_nonzero());
    let score = fs::read_to_string(&file).on("read", &file)?;
    let score = (score.trim().parse().unwrap_or(0) + 1).min(1000);
    match fs::write("/proc/self/oom_score_adj", score.to_string()) {
        // A user may not lower it; a daemon below a higher score is no reason to fail.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        done => done.on("write", "/proc/self/oom_score_adj"),
    }
}
