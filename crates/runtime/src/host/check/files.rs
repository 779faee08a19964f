//! What the config says of files: namespaces, hooks, and places in the rootfs.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rt_plan::spec::{Hook, Pointer};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, fstat, readlink};

use super::{Check, open_in};

impl Check<'_> {
    /// Hooks of the host. Those of the container's own root are looked up there, when they run.
    pub(super) fn hooks(&mut self) {
        let spec = self.spec;
        let Some(hooks) = &spec.hooks else { return };
        let lists: [(&Option<Vec<Hook<'_>>>, &'static str); 5] = [
            (&hooks.prestart, "/hooks/prestart/{}/path"),
            (&hooks.create_runtime, "/hooks/createRuntime/{}/path"),
            (&hooks.create_container, "/hooks/createContainer/{}/path"),
            (&hooks.poststart, "/hooks/poststart/{}/path"),
            (&hooks.poststop, "/hooks/poststop/{}/path"),
        ];
        for (list, at) in lists {
            for (i, hook) in list.as_deref().unwrap_or_default().iter().enumerate() {
                let path = hook.path.as_deref().unwrap_or_default();
                if path.is_empty() {
                    continue;
                }
                let complaint = match std::fs::metadata(path) {
                    Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => continue,
                    Ok(found) if found.is_file() => "may not be executed by anyone: chmod +x",
                    _ => "no such file on the host",
                };
                self.lacks(Pointer::index(at, i), format!("{path}: {complaint}"));
            }
        }
    }

    /// The working directory and the destinations of mounts, where the rootfs has something else there
    /// and no mount comes before.
    pub(super) fn places(&mut self, root: &OwnedFd) {
        let spec = self.spec;
        let mounts = spec.mounts.as_deref().unwrap_or_default();
        let destination = |i: usize| mounts.get(i).and_then(|mount| mount.destination.as_deref()).unwrap_or_default();
        let below = |path: &str, before: usize| (0..before).any(|i| Path::new(path).starts_with(destination(i)));
        for (i, mount) in mounts.iter().enumerate() {
            if below(destination(i), i) {
                continue;
            }
            let Some(there) = kind_in(root, destination(i)) else { continue };
            let bind = mount.is_bind();
            let source = mount.source.as_deref().unwrap_or_default();
            let directory =
                if bind { std::fs::metadata(self.bundle.join(source)).map(|found| found.is_dir()) } else { Ok(true) };
            let message = match (directory, there == FileType::Directory) {
                (Ok(true), false) => "the rootfs has a file there, and a directory would be mounted on it",
                (Ok(false), true) => "the rootfs has a directory there, and a file would be mounted on it",
                _ => continue,
            };
            self.lacks(Pointer::index("/mounts/{}/destination", i), format!("{}: {message}", destination(i)));
        }
        let cwd = spec.process.as_ref().and_then(|process| process.cwd.as_deref()).unwrap_or_default();
        if !cwd.is_empty()
            && !below(cwd, mounts.len())
            && kind_in(root, cwd).is_some_and(|kind| kind != FileType::Directory)
        {
            self.lacks(Pointer::new("/process/cwd"), format!("{cwd} is no directory in the rootfs"));
        }
    }
}

/// Why the file is no namespace of this kind.
pub(super) fn kind_complaint(file: &OwnedFd, kind: &str) -> Option<String> {
    // Only an open descriptor has the name; the path itself may be a bind mount.
    let name = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()).ok();
    let name = name.and_then(|name| name.into_string().ok());
    match name.as_deref().and_then(|name| name.split_once(":[")) {
        Some((found, _)) if found == kind => None,
        Some((found, _)) => Some(format!("is a namespace of the kind {found}")),
        None => Some("is no namespace".to_owned()),
    }
}

/// The kind of what is at `path` in the rootfs, if anything is.
fn kind_in(root: &OwnedFd, path: &str) -> Option<FileType> {
    let file = open_in(root, path, OFlags::PATH).ok()?;
    Some(FileType::from_raw_mode(fstat(&file).ok()?.st_mode))
}
