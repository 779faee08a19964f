//! `gc`: what commands that were killed have left behind.

use super::delete::destroy;
use crate::error::Error;
use crate::host::base_mounts;
use crate::store::directory::Store;

/// A container that no command can use: its creator died before it wrote a state, or the state
/// cannot be read.
#[derive(Debug)]
pub struct Orphan {
    /// Its id.
    pub id: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether it is gone now, and if not, why.
    pub removed: Option<Result<(), Error>>,
}

/// Finds orphans and, unless `dry_run` is set, removes them with their processes and cgroups. A
/// container that another command has locked is being made or deleted right now, and is left alone.
/// A stopped container is no orphan: deleting it is for its creator.
pub fn gc(store: &Store, dry_run: bool) -> Result<Vec<Orphan>, Error> {
    let mut orphans = Vec::new();
    for id in store.ids()? {
        let container = match store.open(&id) {
            Err(Error::DoesNotExist) => continue,
            other => other?,
        };
        match container.try_lock() {
            Ok(true) => {}
            Ok(false) | Err(Error::DoesNotExist) => continue,
            Err(e) => return Err(e),
        }
        let why = match container.state() {
            Err(Error::DoesNotExist) => "its creator ended before it was made".to_owned(),
            Err(e @ Error::Damaged { .. }) => e.to_string(),
            _ => continue,
        };
        let removed = (!dry_run).then(|| destroy(&container, None));
        orphans.push(Orphan { id, why, removed });
    }
    Ok(orphans)
}

/// Removes the base of new mount namespaces, or with `dry_run` only looks; whether there is one. No
/// container needs it once it has been created.
pub fn remove_base_mounts(dry_run: bool) -> Result<bool, Error> {
    if dry_run { Ok(base_mounts::exists()) } else { base_mounts::remove() }
}
