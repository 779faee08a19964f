//! Names of systemd units: what `cgroupsPath` means under the systemd driver, and where a unit's
//! cgroup is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::location::InvalidPath;

/// The unit a container runs in, and the slice it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `system.slice`, `kubepods-burstable-podX.slice`.
    pub slice: String,
    /// `docker-ID.scope`, or a slice.
    pub name: String,
}

impl Unit {
    /// Parses `slice:prefix:name`; parts left out get the usual values.
    pub fn parse(cgroups_path: Option<&str>, id: &str, rootless: bool) -> Result<Unit, InvalidPath> {
        let path = cgroups_path.unwrap_or_default();
        let invalid = |why| InvalidPath { path: path.to_owned(), why };
        let parts: Vec<&str> = path.split(':').collect();
        let (slice, prefix, name) = match parts[..] {
            [""] => ("", "runc", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                return Err(invalid("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups"));
            }
        };
        let slice = match slice {
            "" if rootless => "user.slice",
            "" => "system.slice",
            named => named,
        };
        let name = match (name.ends_with(".slice"), prefix) {
            (true, _) => name.to_owned(),
            (false, prefix) => format!("{prefix}-{name}.scope"),
        };
        if name.contains('/') || name.starts_with('.') {
            return Err(invalid("not the name of a unit"));
        }
        Unit { slice: slice.to_owned(), name }.validated().ok_or(invalid("not the name of a slice"))
    }

    fn validated(self) -> Option<Unit> {
        slice_path(&self.slice).is_some().then_some(self)
    }

    /// The unit's cgroup below the root (or below the user's own manager, when rootless).
    pub fn path(&self) -> PathBuf {
        slice_path(&self.slice).unwrap_or_default().join(&self.name)
    }
}

/// A slice's name spells out its parents: `a-b.slice` is `a.slice/a-b.slice`; `-.slice` is the
/// root.
fn slice_path(slice: &str) -> Option<PathBuf> {
    let stem = slice.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(PathBuf::new());
    }
    if stem.is_empty() || stem.contains('/') || stem.split('-').any(str::is_empty) {
        return None;
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Some(ends.map(|end| format!("{}.slice", &stem[..end])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slices_name_is_its_path() {
        let path = |slice| slice_path(slice).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(path("system.slice").as_deref(), Some("system.slice"));
        assert_eq!(path("a-b-c.slice").as_deref(), Some("a.slice/a-b.slice/a-b-c.slice"));
        assert_eq!(path("-.slice").as_deref(), Some(""));
        for bad in ["a--b.slice", "-a.slice", "a-.slice", "a/b.slice", ".slice", "a.scope", ""] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_forms_that_engines_send() {
        let unit = |path| Unit::parse(path, "ID", false).map(|unit| unit.path().to_string_lossy().into_owned()).ok();
        assert_eq!(unit(Some("system.slice:docker:abc")).as_deref(), Some("system.slice/docker-abc.scope"));
        assert_eq!(unit(Some("user.slice:libpod:abc")).as_deref(), Some("user.slice/libpod-abc.scope"));
        assert_eq!(unit(Some(":docker:abc")).as_deref(), Some("system.slice/docker-abc.scope"));
        assert_eq!(unit(Some("a-b.slice::x.slice")).as_deref(), Some("a.slice/a-b.slice/x.slice"));
        // Callers compute the name themselves: an empty prefix keeps its dash, as with runc and
        // crun.
        assert_eq!(unit(Some("system.slice::abc")).as_deref(), Some("system.slice/-abc.scope"));
        assert_eq!(unit(None).as_deref(), Some("system.slice/runc-ID.scope"));
        assert_eq!(unit(Some("/docker/abc")), None);
        assert_eq!(unit(Some("../x.slice:a:b")), None);
        assert_eq!(unit(Some("x.slice:..:../b")), None);
    }
}
