//! The control files of one controller in one directory, as the code that sets limits sees them.

use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::Error;
use crate::journal::Journal;

/// Writes values, knowing on whose behalf.
#[derive(Clone, Copy)]
pub(crate) struct Knobs<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) controller: &'a str,
    pub(crate) journal: Option<&'a Journal>,
}

impl Knobs<'_> {
    /// Writes `value`, which comes from `field` of `linux.resources`.
    pub(crate) fn set(&self, field: &str, file: &str, value: impl ToString) -> Result<(), Error> {
        if let Some(journal) = self.journal {
            journal.note(self.dir, file);
        }
        self.dir.write(file, &value.to_string()).map_err(|error| self.explain(error).at(field))
    }

    /// As [`Knobs::set`], for a file that older kernels lack and whose absence changes nothing that
    /// was asked for.
    pub(crate) fn set_if_any(&self, field: &str, file: &str, value: impl ToString) -> Result<(), Error> {
        match self.set(field, file, value) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// As [`Knobs::set`]; `false` when the kernel finds the value invalid.
    ///
    /// Some pairs of values must fit each other at every moment. When the first of a pair is
    /// refused against the old value of the second, it is set again after the second.
    pub(crate) fn set_unless_invalid(&self, field: &str, file: &str, value: impl ToString) -> Result<bool, Error> {
        match self.set(field, file, value) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::INVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the directory has this file.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.dir.open(file, rustix::fs::OFlags::PATH).is_ok()
    }

    /// A missing file more often means a missing controller than an old kernel; on cgroup v2 the
    /// difference can be seen.
    fn explain(&self, error: Error) -> Error {
        if error.errno() != Some(Errno::NOENT) {
            return error;
        }
        match self.dir.read("cgroup.controllers") {
            Ok(enabled) if !enabled.split_whitespace().any(|name| name == self.controller) => {
                Error::ControllerUnavailable {
                    pointer: String::new(),
                    controller: self.controller.to_owned(),
                    path: self.dir.path().to_owned(),
                }
            }
            _ => error,
        }
    }
}
