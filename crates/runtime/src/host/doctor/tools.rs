//! Programs that rt calls or that lie beside it.

use std::path::Path;

use super::Look;
use crate::host::check::version_of;
use crate::host::command::HostCommand;

impl Look {
    pub(super) fn tools(&mut self, criu: Option<&Path>) {
        let named = criu.map(|path| path.to_string_lossy().into_owned());
        match named.or_else(|| self.program("criu")) {
            None => self.note(
                "criu",
                "not found: no checkpoint, restore and migrate",
                "install criu 4.1 or newer, or name it with rt --criu FILE",
            ),
            Some(path) => match version(&path) {
                Err(why) => self.warning("criu", format!("{path}: {why}"), "see what criu check says"),
                Ok(version) => self.criu(&path, &version),
            },
        }
        if self.program("iptables-restore").is_none() {
            self.note(
                "iptables",
                "not found: criu cannot save containers with TCP connections",
                "install iptables, if such containers are to be saved",
            );
        }
    }

    /// What is known not to work (docs/checkpoint.md).
    fn criu(&mut self, path: &str, version: &str) {
        const NEWER: &str = "install criu 4.2 or newer";
        match (version_of(version), version_of(&self.release)) {
            (criu, _) if criu < (3, 18) => {
                self.warning("criu", format!("{path} {version} is too old for new kernels"), NEWER);
            }
            (criu, kernel) if criu < (4, 2) && kernel >= (6, 16) => self.warning(
                "criu",
                format!("{path} {version} cannot save TCP sockets on Linux {}", self.release),
                NEWER,
            ),
            _ => self.fine("criu", format!("{path} {version}")),
        }
    }
}

/// The version that criu prints.
fn version(path: &str) -> Result<String, String> {
    let text = |errno| rt_sys::errno::text(errno).to_owned();
    let output = HostCommand::new(path).and_then(|c| c.args(["--version"])).and_then(HostCommand::output);
    let output = output.map_err(text)?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = printed.lines().find_map(|line| line.strip_prefix("Version:"));
    version.map(|version| version.trim().to_owned()).ok_or_else(|| "prints no version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    #[test]
    fn versions_that_are_known_to_fail() {
        let levels = |criu: &str, kernel: &str| {
            let found = complaints(&[], 0, |look: &mut Look| {
                look.release = kernel.to_owned();
                look.criu("/usr/sbin/criu", criu);
            });
            found.into_iter().map(|(level, ..)| level).collect::<Vec<_>>()
        };
        assert_eq!(levels("3.17.1", "6.1.0"), [Level::Warning]);
        assert_eq!(levels("4.1.1", "6.18.44"), [Level::Warning]);
        assert_eq!(levels("4.1.1", "6.12.1"), []);
        assert_eq!(levels("4.2.1", "6.18.44"), []);
    }
}
