//! What is fuzzed: for each parser of bytes that rt did not write, a function that takes any bytes
//! and panics when a promise is broken, and says whether the bytes had a meaning. `libfuzzer/`
//! feeds them with mutations (`hack/fuzz`), `tests/replay.rs` with the corpora.

pub mod config;
pub mod dbus;
pub mod plan;
pub mod seccomp;
pub mod state;
