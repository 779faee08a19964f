//! The state documents that hooks and seccomp agents get (runtime-spec, runtime.md "State").

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::spec::{Spec, Text};

/// The state that hooks read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    pid: i32,
    bundle: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

/// Not a pid: the place where one goes.
const PLACEHOLDER: i32 = -2_018_915_346;

/// The version of the specification that rt implements, and with which its state documents comply
/// whatever the config says.
pub const OCI_VERSION: &str = "1.3.0";

fn hook_state<'a>(spec: &'a Spec<'_>, id: &'a str, bundle: &'a Path, status: &'a str, pid: i32) -> HookState<'a> {
    let annotations = spec.annotations.iter().flatten().map(|(k, v): (&Text<'_>, &Text<'_>)| (&**k, &**v)).collect();
    HookState { oci_version: OCI_VERSION, id, status, pid, bundle: bundle.to_string_lossy(), annotations }
}

/// The state for a hook that the parent runs before the container has one.
pub fn hook_state_for(spec: &Spec<'_>, id: &str, bundle: &Path, status: &str, pid: i32) -> Vec<u8> {
    serde_json::to_vec(&hook_state(spec, id, bundle, status, pid)).unwrap_or_default()
}

/// The state for a hook of an existing container, whose pid is 0 when it has stopped.
pub fn hook_state_of(
    id: &str,
    bundle: &Path,
    annotations: &BTreeMap<String, String>,
    status: &str,
    pid: i32,
) -> Vec<u8> {
    let document = HookState {
        oci_version: OCI_VERSION,
        id,
        status,
        pid,
        bundle: bundle.to_string_lossy(),
        annotations: annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
    };
    serde_json::to_vec(&document).unwrap_or_default()
}

fn around(document: &impl Serialize) -> (Vec<u8>, Vec<u8>) {
    let text = serde_json::to_string(document).unwrap_or_default();
    let placeholder = PLACEHOLDER.to_string();
    let (head, tail) = text.split_once(&placeholder).unwrap_or((&text, ""));
    (head.as_bytes().to_vec(), tail.as_bytes().to_vec())
}

/// The state for a hook that init runs: the parts before and after its pid, which only init knows.
pub fn hook_state_around_pid(spec: &Spec<'_>, id: &str, bundle: &Path, status: &str) -> (Vec<u8>, Vec<u8>) {
    around(&hook_state(spec, id, bundle, status, PLACEHOLDER))
}

/// `ContainerProcessState` (runtime-spec, config-linux.md "The Container Process State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    metadata: &'a str,
    state: HookState<'a>,
}

/// The message to a seccomp agent around init's pid.
pub fn seccomp_message_around_pid(spec: &Spec<'_>, id: &str, bundle: &Path, metadata: &str) -> (Vec<u8>, Vec<u8>) {
    around(&ProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid: PLACEHOLDER,
        metadata,
        state: hook_state(spec, id, bundle, "creating", 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Init puts its pid between the parts; together they must be the document.
    #[test]
    fn the_parts_around_the_pid_make_the_document() {
        let spec = Spec { annotations: Some([("k".into(), "v\"".into())].into()), ..Spec::default() };
        let (head, tail) = hook_state_around_pid(&spec, "id", Path::new("/b"), "creating");
        let text = [head, b"7".to_vec(), tail].concat();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["pid"], 7);
        assert_eq!(value["annotations"]["k"], "v\"");
        assert_eq!(value["status"], "creating");
    }
}
