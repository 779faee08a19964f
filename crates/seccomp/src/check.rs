//! Everything that can be said about a profile without running it.

use super::compile::compile;
use super::error::{Error, Warning};
use super::host::HostSeccomp;
use super::model::Profile;
use super::vocabulary::Named;

/// Checks a profile: the first error, or all warnings.
pub fn check(profile: &Profile, host: &HostSeccomp) -> Result<Vec<Warning>, Error> {
    let program = compile(profile, host)?;
    let returns = |action: &Named<super::Action>, errno: Option<u32>| {
        action.known().ok().map(|action| action.returns(errno.and_then(|errno| u16::try_from(errno).ok())))
    };
    let ignores = |action: &Named<super::Action>, errno: Option<u32>| {
        errno.is_some() && action.known().is_ok_and(|action| !action.carries_errno())
    };
    let mut warnings = Vec::new();
    let default = returns(&profile.default_action, profile.default_errno_ret);
    if ignores(&profile.default_action, profile.default_errno_ret) {
        warnings.push(Warning::ErrnoIgnored { pointer: "/defaultErrnoRet".into() });
    }
    if program.notify && profile.listener_path.is_none() {
        warnings.push(Warning::NoListener);
    }
    if profile.listener_metadata.is_some() && profile.listener_path.is_none() {
        warnings.push(Warning::MetadataWithoutListener);
    }
    for (i, rule) in profile.syscalls.iter().enumerate() {
        for (j, name) in rule.names.iter().enumerate() {
            if let Err(name) = name.known() {
                warnings
                    .push(Warning::UnknownSyscall { pointer: format!("/syscalls/{i}/names/{j}"), name: name.into() });
            }
        }
        if ignores(&rule.action, rule.errno_ret) {
            warnings.push(Warning::ErrnoIgnored { pointer: format!("/syscalls/{i}/errnoRet") });
        }
        if returns(&rule.action, rule.errno_ret) == default {
            warnings.push(Warning::SameAsDefault { pointer: format!("/syscalls/{i}") });
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc passes over in silence, or in its debug log.
    #[test]
    fn what_is_skipped_is_said() {
        let profile = serde_json::from_str(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "listenerMetadata": "m", "syscalls": [
                {"names": ["read", "frobnicate"], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 2}]}"#,
        )
        .unwrap();
        let warnings = check(&profile, &HostSeccomp::default()).unwrap();
        let pointers: Vec<&str> = warnings.iter().map(Warning::pointer).collect();
        assert_eq!(
            pointers,
            [
                "/defaultErrnoRet",
                "/listenerPath",
                "/listenerMetadata",
                "/syscalls/0/names/1",
                "/syscalls/1",
                "/syscalls/2/errnoRet",
            ]
        );
        assert_eq!(warnings[3].to_string(), r#"unknown system call "frobnicate" ignored"#);
    }
}
