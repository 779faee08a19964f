//! A second container from one image: the config of the first, changed in what only one container
//! can have.

use std::path::{Path, PathBuf};

use rt_plan::spec::{Linux, Root, Spec, Text};

use super::error::CheckpointError;

/// What a clone has of its own.
#[derive(Clone, Debug, Default)]
pub struct CloneOptions {
    /// `--rootfs`, absolute.
    pub rootfs: Option<PathBuf>,
    /// `--bind`: destination and another source.
    pub binds: Vec<(String, PathBuf)>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--network`: the path of a network namespace.
    pub network: Option<PathBuf>,
}

fn text(path: &Path) -> Text<'static> {
    path.to_string_lossy().into_owned().into()
}

impl CloneOptions {
    /// Changes the config for the container `id`.
    pub fn apply(&self, spec: &mut Spec<'_>, id: &str) -> Result<(), CheckpointError> {
        if let Some(rootfs) = &self.rootfs {
            spec.root.get_or_insert_with(Root::default).path = Some(text(rootfs));
        }
        if let Some(hostname) = &self.hostname {
            spec.hostname = Some(hostname.clone().into());
        }
        for (destination, source) in &self.binds {
            let mounts = spec.mounts.as_mut().into_iter().flatten();
            let named = |mount: &rt_plan::spec::Mount<'_>| {
                let of_config = mount.destination.as_deref().unwrap_or_default();
                Path::new("/").join(of_config) == Path::new("/").join(destination)
            };
            match mounts.into_iter().find(|mount| named(mount)) {
                Some(mount) => mount.source = Some(text(source)),
                None => return Err(CheckpointError::NoSuchMount(destination.clone())),
            }
        }
        let linux = spec.linux.get_or_insert_with(Linux::default);
        linux.cgroups_path = linux.cgroups_path.take().map(|path| beside(&path, id).into());
        if let Some(network) = &self.network {
            let namespaces = linux.namespaces.as_mut().into_iter().flatten();
            match namespaces.into_iter().find(|namespace| namespace.kind.as_deref() == Some("network")) {
                Some(namespace) => namespace.path = Some(text(network)),
                None => return Err(CheckpointError::NoNetwork),
            }
        }
        Ok(())
    }
}

/// The cgroup of a clone lies beside that of the first container: the last part of the path, or the
/// name of systemd's unit, is the clone's id.
fn beside(path: &str, id: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    if let [slice, prefix, _] = path.split(':').collect::<Vec<_>>()[..]
        && !path.contains('/')
    {
        return format!("{slice}:{prefix}:{id}");
    }
    let (before, _) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", ""));
    if path.contains('/') { format!("{before}/{id}") } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use rt_plan::spec::Document;

    use super::*;

    #[test]
    fn the_cgroup_of_a_clone_is_its_own() {
        for (path, own) in [
            ("/docker/abc", "/docker/c2"),
            ("/abc/", "/c2"),
            ("a/b", "a/c2"),
            ("abc", "c2"),
            ("system.slice:docker:abc", "system.slice:docker:c2"),
            ("", ""),
        ] {
            assert_eq!(beside(path, "c2"), own, "{path}");
        }
    }

    #[test]
    fn the_config_is_changed_where_asked() {
        let json = r#"{"root": {"path": "r"}, "mounts": [{"destination": "/data", "source": "/a", "options": ["bind"]}],
            "linux": {"namespaces": [{"type": "network"}]}}"#;
        let document = Document::new(Path::new("config.json"), json.as_bytes().to_vec());
        let mut spec: Spec<'_> = document.parse().unwrap();
        let clone = CloneOptions {
            rootfs: Some("/r2".into()),
            binds: vec![("/data/".into(), "/b".into())],
            hostname: Some("h2".into()),
            network: Some("/run/netns/x".into()),
        };
        clone.apply(&mut spec, "c2").unwrap();
        assert_eq!(spec.root.as_ref().unwrap().path.as_deref(), Some("/r2"));
        assert_eq!(spec.mounts.as_ref().unwrap()[0].source.as_deref(), Some("/b"));
        assert_eq!(spec.hostname.as_deref(), Some("h2"));
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!(linux.namespaces.as_ref().unwrap()[0].path.as_deref(), Some("/run/netns/x"));
        let wrong = CloneOptions { binds: vec![("/nothing".into(), "/b".into())], ..CloneOptions::default() };
        assert!(matches!(wrong.apply(&mut spec, "c2"), Err(CheckpointError::NoSuchMount(d)) if d == "/nothing"));
    }
}
