//! `linux.seccomp` as written in config.json (runtime-spec, config-linux.md "Seccomp").

use serde::{Deserialize, Deserializer, Serialize};

use super::action::Action;
use super::table::Syscall;
use super::vocabulary::{Arch, Flag, Named, Op};

/// A seccomp profile. JSON `null` is an absent field, unknown fields are ignored.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Profile {
    /// What happens to a system call that no rule matches.
    #[serde(deserialize_with = "or_default")]
    pub default_action: Named<Action>,
    /// The errno of the default action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The architectures the rules are for, besides the native one.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Named<Arch>>,
    /// Flags for seccomp(2). Absent is not the same as empty: absent means the default, SPEC_ALLOW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<Named<Flag>>>,
    /// The socket of the agent that gets the notify descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Passed to the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

impl Profile {
    /// Whether there is nothing to enforce: no default action and no rule. runc takes such a
    /// profile for none.
    pub fn is_empty(&self) -> bool {
        self.default_action.as_str().is_empty() && self.syscalls.is_empty()
    }
}

/// One rule: the action for some system calls, perhaps only for certain arguments.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Rule {
    /// The system calls.
    #[serde(deserialize_with = "or_default")]
    pub names: Vec<Named<Syscall>>,
    /// What happens to them.
    #[serde(deserialize_with = "or_default")]
    pub action: Named<Action>,
    /// The errno of the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// The conditions: all must hold, unless two are on the same argument; then any may.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
}

/// A condition on one argument.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Arg {
    /// Which argument, from 0.
    #[serde(deserialize_with = "or_default")]
    pub index: u32,
    /// The value to compare with; the mask of `SCMP_CMP_MASKED_EQ`.
    #[serde(deserialize_with = "or_default")]
    pub value: u64,
    /// The value of `SCMP_CMP_MASKED_EQ`.
    #[serde(deserialize_with = "or_default")]
    pub value_two: u64,
    /// How to compare.
    #[serde(deserialize_with = "or_default")]
    pub op: Named<Op>,
}

/// `null` is an absent field: Go's encoder writes it for every nil slice.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

rt_json::objects! {
    Profile, Rule, Arg;
    write Profile, Rule, Arg
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines written in Go send null for what is unset; runc reads it as unset.
    #[test]
    fn null_is_unset_and_unknown_keys_are_ignored() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":null,"architectures":null,"flags":null,"archMap":[1],
            "listenerPath":null,"syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":null,"comment":"x"}]}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        assert_eq!(profile.flags, None);
        assert!(profile.architectures.is_empty() && profile.syscalls[0].args.is_empty());
    }

    /// `rt spec`, `rt plan` and the state write profiles back.
    #[test]
    fn a_profile_survives_the_round_trip() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_VAX"],"flags":[],"listenerPath":"/run/a","listenerMetadata":"m","syscalls":[{"names":["read","not_a_call"],"action":"SCMP_ACT_TRACE","errnoRet":7,"args":[{"index":1,"value":18446744073709551615,"valueTwo":2,"op":"SCMP_CMP_GE"}]}]}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&profile).unwrap(), text);
    }
}
