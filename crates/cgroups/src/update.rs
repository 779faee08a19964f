//! Changing the limits of a container that runs.

use rt_resources::Resources;

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::journal::Journal;

impl Cgroup {
    /// Puts the limits that are set in `new` in force; `old` are those so far.
    ///
    /// Fields that are unset in `new` keep their value. Devices are not changed: a plugin may have
    /// changed them behind our back. If a limit is refused, those already written are taken back.
    pub fn update(&self, old: &Resources, new: &Resources) -> Result<(), Error> {
        let journal = Journal::default();
        self.set(&old.to_write(new), Some(&journal)).inspect_err(|_| journal.undo())
    }
}
