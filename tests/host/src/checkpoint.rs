//! Containers that are saved and restored, for the tests of checkpoint, restore and migrate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Bundle, Container, Done, done};

/// A CRIU that works on this kernel: the one that hack/test has found, or what hack/criu finds.
pub fn criu() -> Option<PathBuf> {
    if let Some(found) = std::env::var_os("RT_CRIU") {
        return Some(PathBuf::from(found)).filter(|path| path.exists());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/criu");
    let found = Command::new(script).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(found.stdout).unwrap().trim().into())
}

/// Counts in a file, ten times a second.
pub const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/n; sleep 0.1; done";

/// A container, and the directory in which it is saved.
pub struct Saved<'a> {
    /// What it was made from.
    pub bundle: &'a Bundle,
    /// It, before and after.
    pub container: Container,
    /// Where it is saved, and what a test puts beside that.
    pub dir: TempDir,
    /// What saves it.
    pub criu: &'a Path,
}

impl<'a> Saved<'a> {
    /// Starts it on this process's streams.
    pub fn new(bundle: &'a Bundle, criu: &'a Path) -> Saved<'a> {
        Saved { bundle, container: bundle.start(), criu, dir: tempfile::tempdir().unwrap() }
    }

    /// Starts it with standard streams that any other container can have as well.
    pub fn on_the_null_device(bundle: &'a Bundle, criu: &'a Path) -> Saved<'a> {
        let container = Container::new();
        bundle.write();
        let mut command = container.command();
        command.args(["run", "-d", "-b"]).arg(bundle.path()).arg(&container.id);
        let null = std::process::Stdio::null;
        assert!(command.stdin(null()).stdout(null()).stderr(null()).status().unwrap().success());
        Saved { bundle, container, criu, dir: tempfile::tempdir().unwrap() }
    }

    /// The image directory.
    pub fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Tries to save it with these options.
    pub fn try_checkpoint(&self, options: &[&str]) -> Done {
        let mut command = self.container.command();
        command.arg("--criu").arg(self.criu).arg("checkpoint").args(options);
        command.arg("--image-path").arg(self.image()).arg(&self.container.id);
        done(command)
    }

    /// Asks what stands in the way of saving it with these options.
    pub fn check(&self, options: &[&str]) -> Done {
        let mut command = self.container.command();
        command.arg("--criu").arg(self.criu).args(["checkpoint", "--check"]).args(options).arg(&self.container.id);
        done(command)
    }

    /// Saves it.
    #[track_caller]
    pub fn checkpoint(&self, options: &[&str]) {
        let done = self.try_checkpoint(options);
        assert_eq!(done.code, 0, "{done:?}\n{}", self.log("dump.log"));
    }

    /// Tries to restore it with these options.
    pub fn try_restore(&self, options: &[&str]) -> Done {
        self.bundle.write();
        let mut command = self.container.command();
        command.arg("--criu").arg(self.criu).args(["restore", "--detach"]).args(options);
        command.arg("--image-path").arg(self.image()).arg("--bundle").arg(self.bundle.path()).arg(&self.container.id);
        done(command)
    }

    /// Restores it.
    #[track_caller]
    pub fn restore(&self, options: &[&str]) {
        let done = self.try_restore(options);
        assert_eq!(done.code, 0, "{done:?}\n{}", self.log("restore.log"));
    }

    /// Errors and warnings of one of CRIU's logs.
    pub fn log(&self, name: &str) -> String {
        let text = fs::read(self.image().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| line.contains("Error") || line.contains("Warn")).collect::<Vec<_>>().join("\n")
    }

    /// What [`COUNTER`] has counted to.
    pub fn count(&self) -> u32 {
        let said = self.container.exec(&["cat", "/dev/shm/n"]);
        // The file need not be there yet.
        said.out.trim().parse().unwrap_or(0)
    }
}

/// A bundle whose program is the host's python3.
pub fn python(code: &str) -> Bundle {
    let bundle = Bundle::new(&["/usr/bin/python3", "-c", code]);
    ["/usr", "/lib", "/lib64"].into_iter().fold(bundle, |bundle, dir| bundle.mount(dir, "bind", dir, &["rbind", "ro"]))
}
