//! Paths of a config: cleaned lexically, and inside the rootfs always absolute, so that none can
//! name what is outside.

use std::path::{Path, PathBuf};

pub use rt_resources::clean;

/// `path` as seen from `base`, which is absolute.
pub fn absolute(base: &Path, path: &str) -> PathBuf {
    if path.starts_with('/') {
        PathBuf::from(clean(path))
    } else {
        PathBuf::from(clean(&format!("{}/{path}", base.display())))
    }
}

/// What `path`, a clean one, is below `root`; None if it is not below.
pub fn below(root: &Path, path: &str) -> Option<String> {
    let root = root.to_str().filter(|root| *root != "/" && !root.is_empty())?;
    match path.strip_prefix(root)? {
        "" => Some("/".to_owned()),
        rest => rest.starts_with('/').then(|| rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A destination never names what lies above the rootfs.
    #[test]
    fn cleaning_stays_below_the_root() {
        assert_eq!(absolute(Path::new("/bundle"), "rootfs"), Path::new("/bundle/rootfs"));
        assert_eq!(absolute(Path::new("/bundle"), "/r/../x"), Path::new("/x"));
        assert_eq!(below(Path::new("/b/rootfs"), "/b/rootfs/etc"), Some("/etc".to_owned()));
        assert_eq!(below(Path::new("/b/rootfs"), "/b/rootfs"), Some("/".to_owned()));
        assert_eq!(below(Path::new("/b/rootfs"), "/b/rootfs2"), None);
        assert_eq!(below(Path::new("/"), "/etc"), None);
    }
}
