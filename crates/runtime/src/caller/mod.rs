//! Between this process and its caller: what is inherited from it, its terminal, and its sockets.

pub(crate) mod inherited;
pub(crate) mod notify;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod terminal;
