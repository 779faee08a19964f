//! `delete`: removes what a container has left whose server was killed.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{env, fs};

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::Message;

use crate::arguments::Arguments;
use crate::error::{Context, Error};
use crate::options::{Config, Options};
use crate::runtime::{Runtime, not_started, take_error};
use crate::start::socket_path;
use crate::{log, rootfs};

/// The exit status that is reported for a container whose own is lost: killed.
const KILLED: u32 = 128 + 9;

/// Kills the container, removes it and its mounts, and prints how it ended as a protobuf message. What
/// fails is a warning on standard error: containerd goes on in any case.
pub fn delete(arguments: &Arguments) -> Result<(), Error> {
    let bundle = bundle(arguments)?;
    let options = Options::load(&bundle)?;
    let systemd =
        options.systemd_cgroup.unwrap_or_else(|| Config::read(&bundle).is_ok_and(|config| config.names_a_unit()));
    let runtime = Runtime::new(&options, &arguments.namespace, &bundle, systemd);
    // In most cases `Delete` has removed the container before, and containerd waits for this program.
    if !options.binary_name.is_empty() || runtime.has_state(&arguments.id) {
        delete_container(&runtime, &bundle, &arguments.id);
    }
    if let Err(error) = rootfs::unmount_all(&bundle.join("rootfs")) {
        eprintln!("{error}");
    }
    remove_socket(&bundle, arguments);
    let pid = fs::read_to_string(bundle.join("init.pid")).ok().and_then(|pid| pid.trim().parse().ok());
    let response = DeleteResponse {
        pid: pid.unwrap_or(0),
        exit_status: KILLED,
        exited_at: Some(log::timestamp()).into(),
        ..Default::default()
    };
    let message = response.write_to_bytes().map_err(|why| Error::Message { what: "the answer".into(), why })?;
    std::io::stdout().write_all(&message).doing("write to standard output")
}

fn delete_container(runtime: &Runtime, bundle: &Path, id: &str) {
    let log_file = bundle.join("delete-log.json");
    let mut command = runtime.command(&log_file, "delete");
    command.args(["--force", id]);
    let failed = match command.status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(take_error(&log_file).unwrap_or_else(|| status.to_string())),
        Err(error) => Some(not_started(command.get_program(), &error)),
    };
    if let Some(message) = failed {
        eprintln!("delete the container: {message}");
    }
    let _ = fs::remove_file(&log_file);
}

/// Removes the socket of a server that was killed; one that serves other containers of the pod answers.
/// When containerd has removed the bundle already, the socket is the one of a container without a pod.
fn remove_socket(bundle: &Path, arguments: &Arguments) {
    let kept = fs::read_to_string(bundle.join("address"));
    let kept = kept.map(|address| PathBuf::from(address.trim_start_matches("unix://")));
    let path = kept.unwrap_or_else(|_| socket_path(None, arguments, &arguments.id));
    if let Err(error) = UnixStream::connect(&path)
        && error.kind() == std::io::ErrorKind::ConnectionRefused
        && let Err(error) = fs::remove_file(&path)
    {
        eprintln!("remove the socket {path:?}: {error}");
    }
}

/// The bundle: beside the working directory, which is a bundle, under the name of the container.
fn bundle(arguments: &Arguments) -> Result<PathBuf, Error> {
    if !arguments.bundle.is_empty() {
        return Ok(arguments.bundle.clone().into());
    }
    let here = env::current_dir().doing("find the working directory")?;
    Ok(here.parent().unwrap_or(Path::new("/")).join(&arguments.id))
}
