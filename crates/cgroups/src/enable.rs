//! Enabling controllers of cgroup v2, which each directory does for the ones below it.

use std::path::Path;

use crate::dir::Dir;
use crate::error::Error;

/// Enables all that the root offers, as [`enable_path`] does.
pub(crate) fn enable_all(root: &Path, last: &Path) -> Result<bool, Error> {
    let top = Dir::new(root);
    let offered = top.peek("cgroup.controllers")?;
    let wanted: Vec<&str> = offered.split_whitespace().collect();
    if last == root && missing(&top, &wanted)?.is_empty() {
        return Ok(true);
    }
    enable_path(root, last, &wanted)
}

/// Enables controllers in every directory from `root` down to `last`; `false` if `last` lacks some
/// of them.
///
/// Usually an earlier container has already enabled everything in `last`, which two reads show.
/// Each write takes a lock of the whole cgroup tree, so a controller that is enabled is not written
/// again.
pub(crate) fn enable_path(root: &Path, last: &Path, wanted: &[&str]) -> Result<bool, Error> {
    if missing(&Dir::new(last), wanted)?.is_empty() {
        return Ok(true);
    }
    let levels: Vec<&Path> = last.ancestors().take_while(|level| level.starts_with(root)).collect();
    for level in levels.into_iter().rev() {
        enable(&Dir::new(level), wanted)?;
    }
    Ok(missing(&Dir::new(last), wanted)?.is_empty())
}

/// Enables `wanted` in one directory, as far as it can be had.
///
/// A controller may be refused: it is not delegated to us, or processes are in the way. That is an
/// error only if a limit needs it, and is reported when that limit is set.
fn enable(dir: &Dir, wanted: &[&str]) -> Result<(), Error> {
    let missing = missing(dir, wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let together: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
    // A write enables all of them or none: if the kernel refuses one controller, the others are
    // tried one by one.
    if dir.write("cgroup.subtree_control", &together.join(" ")).is_err() {
        for name in together {
            if let Err(error) = dir.write("cgroup.subtree_control", &name) {
                tracing::debug!(%error, "controller not enabled");
            }
        }
    }
    Ok(())
}

fn missing<'a>(dir: &Dir, wanted: &[&'a str]) -> Result<Vec<&'a str>, Error> {
    let enabled = dir.peek("cgroup.subtree_control")?;
    let is_on = |name: &str| enabled.split_whitespace().any(|on| on == name);
    Ok(wanted.iter().copied().filter(|name| !is_on(name)).collect())
}

/// Makes a new directory below a threaded one usable.
///
/// It is "domain invalid" and takes no processes before it is made threaded itself. Then it can
/// have the threaded controllers (cpu, cpuset, pids, perf_event) only; limits of another one are
/// refused when they are set.
pub(crate) fn leaf_mode(dir: &Dir) -> Result<(), Error> {
    let Some(mode) = dir.read_if_any("cgroup.type")? else {
        return Ok(());
    };
    if mode.trim() == "domain invalid" {
        dir.write("cgroup.type", "threaded")
            .map_err(|_| Error::Threaded { path: dir.path().to_owned(), mode: mode.trim().to_owned() })?;
    }
    Ok(())
}
