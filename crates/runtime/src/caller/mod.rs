//! Between this process and its caller: what is inherited from it, its terminal, and its sockets.

pub(crate) mod inherited;
pub(crate) mod notify;
pub(crate) mod signals;
pub(crate) mod sockets;
mod standard_streams;
pub(crate) mod terminal;

/// What has to be done before anything else.
pub fn begin() {
    standard_streams::open_missing();
    signals::survive_file_size_limit();
}
