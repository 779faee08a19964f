//! What the parent says to init besides the plan: messages of one byte, some with a descriptor or
//! with init's pid.
//!
//! ```text
//! rt                                            child, later init
//! │                                             │
//! ├─ clone3 ───────────────────────────────────▶│ with a user namespace it waits
//! ├─ MapsWritten ──────────────────────────────▶│ executes the stub
//! ├─ the plan, in chunks ──────────────────────▶│ executes op after op
//! │◀──────────────────────────── report `Tree` ─┤ a bind mount whose source init may not open
//! ├─ Tree + descriptor, or why there is none ──▶│
//! ├─ Network + descriptor ─────────────────────▶│ op `JoinNetwork`
//! │◀─────────────────────────── report `Hooks` ─┤ op `AwaitHooks`
//! ├─ Release + init's pid ─────────────────────▶│
//! │◀─────────────────────────── report `Ready` ─┤ op `Ready`
//! ├─ Release + init's pid ─────────────────────▶│ op `AwaitStart`: listens at start.sock
//! rt start                                      │
//! ├─ connects, Start ──────────────────────────▶│ executes the program, which closes the connection;
//! │◀────────────────────────── report `Failed` ─┤ or reports why it could not
//! ```

/// The first byte of a message of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Greeting {
    /// The id maps of the child's user namespace are written.
    MapsWritten = b'm',
    /// Init may go on. Its pid in the parent's namespace follows, in decimal.
    Release = b'g',
    /// The network namespace comes with this message.
    Network = b'n',
    /// The source of the bind mount comes with this message.
    Tree = b't',
    /// Init may execute the program.
    Start = b's',
}

impl Greeting {
    /// The message without anything that follows.
    pub const fn bytes(self) -> [u8; 1] {
        [self as u8]
    }

    /// Whether `message` is this greeting.
    pub fn begins(self, message: &[u8]) -> bool {
        message.first() == Some(&(self as u8))
    }
}
