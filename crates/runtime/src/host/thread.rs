//! Work in a thread of its own, which may enter namespaces that this process does not.

use rustix::io::Errno;

/// Runs `work` in a thread that ends with it. Fails as `work` does, or with the kernel's reason for
/// making no thread.
pub fn apart<T: Send>(work: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Errno> {
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, work) {
        Ok(thread) => thread.join().unwrap_or(Err(Errno::AGAIN)),
        Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)),
    })
}
