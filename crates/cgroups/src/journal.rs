//! Undo for an update that fails half way.

use std::cell::RefCell;

use crate::dir::Dir;

/// What control files held before they were written.
#[derive(Default)]
pub(crate) struct Journal {
    entries: RefCell<Vec<(Dir, String, String)>>,
}

impl Journal {
    /// Notes the present contents of a file. A file that cannot be read (because it is write-only,
    /// or missing) is not restored.
    pub(crate) fn note(&self, dir: &Dir, file: &str) {
        if let Ok(before) = dir.read(file) {
            self.entries.borrow_mut().push((Dir::new(dir.path()), file.to_owned(), before));
        }
    }

    /// Writes everything back in reverse order: so each value is within the bounds of its
    /// neighbours, as it was on the way forward.
    ///
    /// Files with a line per device are written line by line; a device that had no line before
    /// keeps its new line.
    pub(crate) fn undo(self) {
        for (dir, file, before) in self.entries.into_inner().into_iter().rev() {
            let before = if before.is_empty() { "\n" } else { &before };
            for line in before.lines() {
                // The error that caused the undo is the error to report, not an error of the undo.
                let restored = dir.write(&file, if line.is_empty() { "\n" } else { line });
                tracing::debug!(path = %dir.path().display(), file, line, ?restored, "restored");
            }
        }
    }
}
