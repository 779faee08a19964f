//! Mounting and unmounting a container's root filesystem, from the list of mounts that a snapshotter of
//! containerd gives.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use containerd_shim_protos::api::Mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount};

use crate::error::{Context, Error, errno};
use crate::idmap::{Maps, lower_directories};

/// A page is all that mount(2) takes of options.
const PAGE: usize = 4096;

/// Mounts all of `mounts` on `rootfs`, or on their places below it. After an error nothing stays
/// mounted.
pub fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), Error> {
    if mounts.is_empty() {
        return Ok(());
    }
    match rustix::fs::mkdir(rootfs, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).on("make the directory", rootfs),
    }
    mounts.iter().try_for_each(|entry| mount_one(entry, rootfs)).inspect_err(|_| {
        let _ = unmount_all(rootfs);
    })
}

/// Unmounts what is mounted on `rootfs` and below it; what is busy is detached.
pub fn unmount_all(rootfs: &Path) -> Result<(), Error> {
    loop {
        match unmount(rootfs, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point, or gone.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            // Mounts below it, or a process that still holds it: the kernel removes them together.
            Err(Errno::BUSY) => unmount(rootfs, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).on("unmount", rootfs)?,
            Err(errno) => return Err(errno).on("unmount", rootfs),
        }
    }
}

fn mount_one(entry: &Mount, rootfs: &Path) -> Result<(), Error> {
    let failed = |target: &Path, why: String| Error::Mount {
        kind: entry.type_.clone(),
        origin: entry.source.clone(),
        target: target.into(),
        why,
    };
    let options = Parsed::of(&entry.options);
    if let Some(option) = options.unsupported {
        return Err(failed(rootfs, format!("option {option:?} is not supported by this shim")));
    }
    let target = place(&entry.target, rootfs)?;
    let target = target.path.as_path();
    let is_bind = options.flags.contains(MountFlags::BIND);
    let mapped = match options.maps.is_empty() {
        false if !is_bind => {
            let layers = options.maps.layers(&options.data, &rootfs.with_file_name("layers"));
            Some(layers.map_err(|errno| failed(target, format!("map the ids of the layers: {errno}")))?)
        }
        _ => None,
    };
    let data = mapped.as_ref().map_or(&options.data, |layers| &layers.data);
    let lower = (data.len() >= PAGE - 1).then(|| shortened(data)).flatten();
    let (directory, data) = match &lower {
        Some((directory, data)) => (Some(directory.as_path()), data),
        None => (None, data),
    };
    let data = std::ffi::CString::new(data.as_str()).map_err(|_| failed(target, "a NUL in the options".to_owned()))?;
    let mounted = if is_bind && !options.maps.is_empty() {
        options.maps.bind(Path::new(&entry.source), target, options.flags.contains(MountFlags::REC))
    } else {
        in_directory(directory, || mount(&entry.source, target, &entry.type_, options.flags, &*data))
    };
    mounted.map_err(|errno| failed(target, errno.to_string()))?;
    if is_bind && !(options.flags - MountFlags::BIND - MountFlags::REC).is_empty() {
        // The first call ignores all flags of a bind mount.
        mount_remount(target, (options.flags - MountFlags::REC) | MountFlags::BIND, c"")
            .map_err(|errno| failed(target, format!("set the options of a bind mount: {errno}")))?;
    }
    if !options.propagation.is_empty() {
        mount_change(target, options.propagation)
            .map_err(|errno| failed(target, format!("set the propagation: {errno}")))?;
    }
    Ok(())
}

/// A place to mount on, with the descriptor behind its path.
struct Place {
    path: PathBuf,
    _fd: Option<rustix::fd::OwnedFd>,
}

/// Where a mount goes. A place below the root filesystem is looked up inside of it.
fn place(target: &str, rootfs: &Path) -> Result<Place, Error> {
    if target.trim_matches('/').is_empty() {
        return Ok(Place { path: rootfs.into(), _fd: None });
    }
    let directory = open(rootfs, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on("open", rootfs)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = openat2(&directory, target.trim_start_matches('/'), flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .on("open a place of the root filesystem", target)?;
    Ok(Place { path: format!("/proc/self/fd/{}", fd.as_raw_fd()).into(), _fd: Some(fd) })
}

/// Runs `mount` with another working directory. The shim has one thread, so nobody else sees it.
fn in_directory<T>(directory: Option<&Path>, mount: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let Some(directory) = directory else { return mount() };
    let back = rustix::fs::openat(CWD, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    std::env::set_current_dir(directory).map_err(|error| errno(&error))?;
    let done = mount();
    rustix::process::fchdir(&back)?;
    done
}

/// The options of a mount, for mount(2).
#[derive(Debug, PartialEq)]
struct Parsed<'a> {
    flags: MountFlags,
    propagation: MountPropagationFlags,
    data: String,
    maps: Maps,
    unsupported: Option<&'a str>,
}

impl Parsed<'_> {
    fn of(options: &[String]) -> Parsed<'_> {
        let mut parsed = Parsed {
            flags: MountFlags::empty(),
            propagation: MountPropagationFlags::empty(),
            data: String::new(),
            maps: Maps::default(),
            unsupported: None,
        };
        for option in options {
            if let Some((flag, set)) = flag(option) {
                parsed.flags.set(flag, set);
            } else if let Some(propagation) = propagation(option) {
                parsed.propagation |= propagation;
            } else if option == "loop" {
                parsed.unsupported = Some(option);
            } else if parsed.maps.take(option) {
            } else if option != "defaults" && !option.starts_with("X-containerd.") {
                if !parsed.data.is_empty() {
                    parsed.data.push(',');
                }
                parsed.data.push_str(option);
            }
        }
        parsed
    }
}

fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND | MountFlags::REC, true),
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<MountPropagationFlags> {
    type Flags = MountPropagationFlags;
    Some(match option {
        "private" => Flags::PRIVATE,
        "rprivate" => Flags::PRIVATE | Flags::REC,
        "slave" => Flags::DOWNSTREAM,
        "rslave" => Flags::DOWNSTREAM | Flags::REC,
        "shared" => Flags::SHARED,
        "rshared" => Flags::SHARED | Flags::REC,
        "unbindable" => Flags::UNBINDABLE,
        "runbindable" => Flags::UNBINDABLE | Flags::REC,
        _ => return None,
    })
}

/// The options of an overlay with the names of its layers relative to the directory that they share,
/// and that directory.
fn shortened(data: &str) -> Option<(PathBuf, String)> {
    let (before, lower, after) = lower_directories(data)?;
    let layers: Vec<&Path> = lower.split(':').map(Path::new).collect();
    let mut common = layers.first()?.parent()?;
    while !layers.iter().all(|layer| layer.starts_with(common)) {
        common = common.parent()?;
    }
    let names: Option<Vec<&str>> = layers.iter().map(|layer| layer.strip_prefix(common).ok()?.to_str()).collect();
    let names = names.filter(|names| names.iter().all(|name| !name.is_empty()))?;
    Some((common.into(), format!("{before}{}{after}", names.join(":"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options() {
        let overlay = words("index=off workdir=/w upperdir=/u lowerdir=/l");
        assert_eq!(Parsed::of(&overlay).data, "index=off,workdir=/w,upperdir=/u,lowerdir=/l");
        let bind = words("rbind ro rprivate X-containerd.x=1 defaults");
        let parsed = Parsed::of(&bind);
        assert_eq!(parsed.flags, MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY);
        assert_eq!(parsed.propagation, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
        assert_eq!((&*parsed.data, parsed.unsupported), ("", None));
        assert_eq!(Parsed::of(&words("ro rw")).flags, MountFlags::empty());
        assert_eq!(Parsed::of(&words("loop")).unsupported, Some("loop"));
    }

    /// What root owns in a layer belongs to the container's root, and nothing of the detour stays. Needs
    /// root, and a filesystem whose mounts can map ids.
    #[test]
    fn ids_of_layers_are_mapped() {
        use std::os::unix::fs::MetadataExt;
        let bundle = tempfile::tempdir().unwrap();
        let path = |name: &str| bundle.path().join(name);
        for name in ["a", "b", "upper", "work"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("a/file"), "text").unwrap();
        let lower = format!("lowerdir={}:{}", path("a").display(), path("b").display());
        let upper = format!("upperdir={},workdir={}", path("upper").display(), path("work").display());
        let overlay = Mount {
            type_: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: [&*lower, &upper, "uidmap=0:100000:65536", "gidmap=0:200000:65536"].map(str::to_owned).into(),
            ..Mount::default()
        };
        let rootfs = path("rootfs");
        if let Err(error) = mount_all(&[overlay], &rootfs) {
            println!("skipped: needs root and mounts that can map ids: {error}");
            return;
        }
        let file = std::fs::metadata(rootfs.join("file")).unwrap();
        unmount_all(&rootfs).unwrap();
        assert_eq!((file.uid(), file.gid()), (100_000, 200_000));
        assert!(!path("layers").exists());
        assert_eq!(std::fs::metadata(path("a/file")).unwrap().uid(), 0);
    }

    /// An image of 60 layers has more than a page of lower directories.
    #[test]
    fn long_lists_of_layers_become_relative() {
        let layers: Vec<String> = (0..60)
            .map(|n| format!("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/{n}/fs"))
            .collect();
        let data = format!("workdir=/w,lowerdir={},upperdir=/u", layers.join(":"));
        assert!(data.len() > PAGE);
        let (directory, short) = shortened(&data).unwrap();
        assert_eq!(directory, Path::new("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"));
        assert!(
            short.starts_with("workdir=/w,lowerdir=0/fs:1/fs:") && short.ends_with(":59/fs,upperdir=/u"),
            "{short}"
        );
        assert_eq!(shortened("upperdir=/u"), None);
        assert_eq!(shortened("lowerdir=/a:/a/b"), Some(("/".into(), "lowerdir=a:a/b".into())));
    }
}
