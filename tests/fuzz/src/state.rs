//! What lies in the state directory: a crash, a full disk or another version may have left anything
//! there.

use std::path::PathBuf;

use rt_cgroups::Location;
use rt_runtime::store::{State, StateDocument, Status};
use rt_seccomp::Program;
use serde_json::Value;

/// Reads bytes as state.json, as the record of the cgroup, and as a seccomp program. True if they
/// were one of these.
pub fn run(data: &[u8]) -> bool {
    let mut understood = state(data);
    if let Ok(location) = serde_json::from_slice::<Location>(data) {
        let text = serde_json::to_string(&location).unwrap_or_else(|e| panic!("a location that cannot be kept: {e}"));
        assert_eq!(serde_json::from_str::<Location>(&text).ok(), Some(location));
        understood = true;
    }
    if let Ok(program) = Program::from_bytes(data) {
        assert_eq!(program.to_bytes(), data, "a program that is not what was kept");
        understood = true;
    }
    understood
}

fn state(data: &[u8]) -> bool {
    // The state borrows from bytes that live as long as the program; they are given back by hand,
    // for the next million.
    let leaked: *mut [u8] = Box::into_raw(data.to_vec().into_boxed_slice());
    // SAFETY: just made, and freed below, after everything that borrows from it is gone.
    let bytes: &'static [u8] = unsafe { &*leaked };
    let parsed = serde_json::from_slice::<State>(bytes);
    let understood = parsed.is_ok();
    if let Ok(state) = parsed {
        let kept = serde_json::to_vec(&state).unwrap_or_else(|e| panic!("a state that cannot be kept: {e}"));
        let copy: *mut [u8] = Box::into_raw(kept.into_boxed_slice());
        // SAFETY: as above.
        let again = serde_json::from_slice::<State>(unsafe { &*copy });
        let again = again.unwrap_or_else(|e| panic!("a state that was kept and cannot be read: {e}"));
        let value = |state: &State| serde_json::to_value(state).unwrap_or(Value::Null);
        assert_eq!(value(&again), value(&state));
        let document = StateDocument::new(&state, Status::Stopped, None);
        assert_eq!(document.pid, 0, "a stopped container has no pid");
        assert_eq!(PathBuf::from(document.bundle).is_absolute(), state.bundle.is_absolute());
        drop(again);
        // SAFETY: made by `into_raw`; `again` was the only thing that borrowed from it.
        drop(unsafe { Box::from_raw(copy) });
    }
    // SAFETY: made by `into_raw`; `state` was the only thing that borrowed from it.
    drop(unsafe { Box::from_raw(leaked) });
    understood
}
