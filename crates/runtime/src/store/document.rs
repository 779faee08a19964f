//! The state document that `rt state` prints (runtime-spec, runtime.md "State").

use std::collections::BTreeMap;

use rt_plan::OCI_VERSION;
use serde::Serialize;

use super::exit::Exit;
use super::state::{State, Status};

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
    /// The document of a container with this status. A stopped container has no pid; how it ended
    /// may be known.
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
