//! The directory in which the state of containers is kept.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::statvfs;

use super::Look;

/// The state of some hundred containers.
const LITTLE: u64 = 4 << 20;

impl Look {
    pub(super) fn state(&mut self, root: &Path) {
        let shown = root.display();
        // It is made with the first container.
        let Some(present) = root.ancestors().find(|path| path.exists()) else { return };
        if let Ok(metadata) = root.metadata() {
            let owner = metadata.uid();
            if owner != self.uid && owner != 0 {
                let message = format!("{shown} belongs to user {owner}, who could exchange the state of containers");
                return self.wrong("state", message, "remove it while no container runs, or give another --root");
            }
            // A sticky directory, such as /tmp, lets nobody exchange what others have made.
            if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 {
                let message = format!("others may write to {shown}: they could exchange the state of containers");
                return self.wrong("state", message, "chmod go-w, after a look at what is in it");
            }
        }
        match statvfs(present) {
            Ok(fs) if fs.f_bavail.saturating_mul(fs.f_frsize) < LITTLE => self.warning(
                "state",
                format!("{shown} has less than 4 MiB left"),
                "make room there, or give another --root; rt gc removes what killed commands have left",
            ),
            Ok(fs) if fs.f_favail < 1000 && fs.f_files > 0 => self.warning(
                "state",
                format!("{shown} has less than 1000 inodes left"),
                "make room there, or give another --root",
            ),
            _ => self.fine("state", format!("{shown}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::complaints;
    use super::super::{Level, Look};

    /// Who may write there decides what root executes.
    #[test]
    fn a_directory_that_others_may_change_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::metadata(dir.path()).map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap();
        let found = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            complaints(&[], own, |look: &mut Look| look.state(dir.path()))
        };
        assert_eq!(found(0o700), []);
        assert_eq!(found(0o777)[0].0, Level::Wrong);
        assert_eq!(found(0o1777), []);
        assert_eq!(complaints(&[], own + 1, |look: &mut Look| look.state(&dir.path().join("missing"))), []);
    }
}
