//! `unified`: files of cgroup v2 that the specification has no field for.

use std::collections::BTreeMap;

use rt_resources::check::{escape, unified_key};

use crate::dir::Dir;
use crate::error::Error;
use crate::journal::Journal;
use crate::knobs::Knobs;

/// Writes each file, line by line: a file with an entry per device takes one entry per write.
pub(crate) fn set(dir: &Dir, journal: Option<&Journal>, files: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in files {
        let field = format!("/unified/{}", escape(key));
        unified_key(key).map_err(|why| Error::Invalid { pointer: field.clone(), value: key.clone(), why })?;
        let controller = key.split('.').next().unwrap_or(key);
        let knobs = Knobs { dir, controller, journal };
        for line in value.lines().filter(|line| !line.is_empty()) {
            knobs.set(&field, key, line)?;
        }
    }
    Ok(())
}
