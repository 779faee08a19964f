//! What a compilation depends on besides the profile.

use super::action::Action;
use super::vocabulary::{Arch, Flag};

/// What this host's kernel can do; facts, found elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSeccomp {
    /// The architecture that is always in a filter.
    pub native: Arch,
    /// The actions in /proc/sys/kernel/seccomp/actions_avail.
    pub actions: Vec<Action>,
    /// The flags that seccomp(2) knows.
    pub flags: Vec<Flag>,
}

impl Default for HostSeccomp {
    /// A current kernel on the architecture this program was built for.
    fn default() -> Self {
        Self { native: Arch::native(), actions: Action::ALL.to_vec(), flags: Flag::ALL.to_vec() }
    }
}

impl HostSeccomp {
    pub(super) fn has_action(&self, action: Action) -> bool {
        // Two words for one action; a probe that lists either means both.
        let same = |a: &Action| a.returns(None) == action.returns(None);
        self.actions.iter().any(same)
    }

    pub(super) fn has_flag(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
}
