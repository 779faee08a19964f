//! Undo for an update that fails half way.

use std::cell::RefCell;

use crate::dir::Dir;

/// What control files held before they were written.
#[derive(Default)]
pub(crate) struct Journal {
    entries: RefCell<Vec<(Dir, String, String)>>,
}

impl Journal {
    /// Notes the present contents of a file. One that cannot be read (write-only, or not there) is not restored.
    pub(crate) fn note(&self, dir: &Dir, file: &str) {
        if let Ok(before) = dir.read(file) {
            self.entries.borrow_mut().push((Dir::new(dir.path()), file.to_owned(), before));
        }
    }

    /// Writes everything back, last first: then each value is within what its neighbours allow, as it was on the way.
    ///
    /// Files with a line per device are written line by line; a device that had no line before keeps its new one.
    pub(crate) fn undo(self) {
        for (dir, file, before) in self.entries.into_inner().into_iter().rev() {
            let before = if before.is_empty() { "\n" } else { &before };
            for line in before.lines() {
                // The error that brought us here is the one to report.
                let restored = dir.write(&file, if line.is_empty() { "\n" } else { line });
                tracing::debug!(path = %dir.path().display(), file, line, ?restored, "restored");
            }
        }
    }
}
