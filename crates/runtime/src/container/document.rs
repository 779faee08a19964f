//! The state document (runtime-spec, runtime.md "State"): printed by `state`, given to hooks and seccomp agents.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::exit::Exit;
use super::state::{State, Status};
use crate::spec::{Spec, Text};

/// What `rt state` prints: the specification's fields, and those that runc adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct StateDocument {
    pub oci_version: &'static str,
    pub id: String,
    pub pid: i32,
    pub status: &'static str,
    pub bundle: String,
    pub rootfs: String,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
    /// Beyond runc: how the init of a stopped container ended, if anybody has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Beyond runc: the limits that a stopped container has reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reached_limits: Vec<rt_cgroups::Hit>,
}

impl StateDocument {
    /// The document of a container with this status. A stopped container has no pid; how it ended may be known.
    pub fn new(state: &State, status: Status, exit: Option<Exit>) -> StateDocument {
        StateDocument {
            oci_version: OCI_VERSION,
            id: state.id.clone(),
            pid: if status == Status::Stopped { 0 } else { state.pid },
            status: status.text(),
            bundle: state.bundle.to_string_lossy().into_owned(),
            rootfs: state.rootfs.to_string_lossy().into_owned(),
            created: state.created.clone(),
            annotations: state.annotations.clone(),
            owner: String::new(),
            exit,
            reached_limits: if status == Status::Stopped { state.reached().0 } else { Vec::new() },
        }
    }
}

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

/// The version of the specification that rt implements, and with which its state documents comply whatever the config says.
pub const OCI_VERSION: &str = "1.3.0";

fn hook_state<'a>(spec: &'a Spec<'_>, id: &'a str, bundle: &'a Path, status: &'a str, pid: i32) -> HookState<'a> {
    let annotations = spec.annotations.iter().flatten().map(|(k, v): (&Text<'_>, &Text<'_>)| (&**k, &**v)).collect();
    HookState { oci_version: OCI_VERSION, id, status, pid, bundle: bundle.to_string_lossy(), annotations }
}

/// The state for a hook that the parent runs before the container has one.
pub fn hook_state_for(spec: &Spec<'_>, id: &str, bundle: &Path, status: &str, pid: i32) -> Vec<u8> {
    serde_json::to_vec(&hook_state(spec, id, bundle, status, pid)).unwrap_or_default()
}

/// The state for a hook of an existing container.
pub fn hook_state_of(state: &State, status: &str) -> Vec<u8> {
    let document = HookState {
        oci_version: OCI_VERSION,
        id: &state.id,
        status,
        pid: if status == "stopped" { 0 } else { state.pid },
        bundle: state.bundle.to_string_lossy(),
        annotations: state.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
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
