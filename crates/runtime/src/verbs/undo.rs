//! What a failed command takes back.

use scopeguard::ScopeGuard;

use crate::launch::Launched;

/// Something that is taken back if it is dropped, and stays with `ScopeGuard::into_inner`.
pub type Undo<T> = ScopeGuard<T, fn(T)>;

/// Kills a process that was launched and waits for its end.
pub fn end(launched: Launched) {
    let _ = launched.abort();
}
