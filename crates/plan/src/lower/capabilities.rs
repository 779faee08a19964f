//! `process.capabilities` (config.md, capabilities(7)): five sets of names become five masks.

use caps::Capability;

use super::Lowering;
use crate::spec::{Capabilities, Fault, Pointer};

/// CAP_SYS_ADMIN, which attaching a seccomp filter without no_new_privs needs.
pub(super) const SYS_ADMIN: u64 = 1 << 21;

/// The highest number a mask can hold; init stops at the first that its kernel does not know.
pub(super) const LAST: u32 = 63;

/// All names by number, as `rt features` prints them.
pub fn known_names() -> Vec<String> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_by_key(Capability::index);
    all.iter().map(Capability::to_string).collect()
}

/// The names of the capabilities in a mask.
pub fn names_of(mask: u64) -> Vec<String> {
    (0..64).filter(|n| mask & (1 << n) != 0).map(|n: u32| name(n)).collect()
}

fn name(number: u32) -> String {
    let known = caps::all().into_iter().find(|c| u32::from(c.index()) == number);
    known.map_or_else(|| format!("capability {number}"), |c| c.to_string())
}

/// The five sets, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sets {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

/// The number of a capability by its name in the specification: `CAP_` and capitals. No other
/// spelling may grant a capability: runc ignores other spellings with a warning, so the filter of
/// an engine may have let them pass.
pub(super) fn number(name: &str) -> Option<u32> {
    let spelled = name.strip_prefix("CAP_")?;
    if spelled.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    name.parse::<Capability>().ok().map(|c| u32::from(c.index()))
}

impl Lowering<'_> {
    /// Unknown names are warned of and left out, as runc does: a newer engine may know more than
    /// this kernel.
    pub(super) fn capability_sets(&mut self, capabilities: Option<&Capabilities<'_>>) -> Sets {
        let Some(capabilities) = capabilities else {
            let why = "is missing, so the process gets no capabilities (runc leaves it the caller's)";
            self.warn(Pointer::new("/process/capabilities"), Fault::Rule(why));
            return Sets::default();
        };
        let mut told: Vec<String> = Vec::new();
        let mut mask = |list: &crate::spec::List<crate::spec::Text<'_>>, template: &'static str| {
            let mut mask = 0;
            for (i, name) in list.as_deref().unwrap_or_default().iter().enumerate() {
                match number(name) {
                    Some(n) => mask |= 1 << n,
                    // Most names stand in several sets.
                    None if told.iter().any(|known| known == &**name) => {}
                    None => {
                        told.push(name.to_string());
                        let fault = Fault::Value {
                            value: name.to_string(),
                            why: "is no capability of this kernel and is ignored; names begin with CAP_, in capitals",
                        };
                        self.warn(Pointer::index(template, i), fault);
                    }
                }
            }
            mask
        };
        Sets {
            bounding: mask(&capabilities.bounding, "/process/capabilities/bounding/{}"),
            effective: mask(&capabilities.effective, "/process/capabilities/effective/{}"),
            inheritable: mask(&capabilities.inheritable, "/process/capabilities/inheritable/{}"),
            permitted: mask(&capabilities.permitted, "/process/capabilities/permitted/{}"),
            ambient: mask(&capabilities.ambient, "/process/capabilities/ambient/{}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shifted table would hand out the wrong rights.
    #[test]
    fn numbers_are_the_kernels() {
        for (name, n) in [
            ("CAP_CHOWN", 0),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_MKNOD", 27),
            ("CAP_SETFCAP", 31),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(number(name), Some(n), "{name}");
        }
        assert_eq!(SYS_ADMIN, 1 << number("CAP_SYS_ADMIN").unwrap());
    }

    /// A spelling that an engine does not know as a capability must not grant one.
    #[test]
    fn only_the_specifications_names_count() {
        for name in
            ["CAP_NOPE", "NET_ADMIN", "kill", "cap_kill", "Cap_Kill", "CAP_kill", "CAP_", "", " CAP_KILL", "CAP_KILL "]
        {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
