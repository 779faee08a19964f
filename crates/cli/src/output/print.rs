//! Standard output.

use rustix::io::Errno;

use super::Failure;

/// Writes to standard output, with a single call if the kernel takes all of it; the standard
/// library would write the text after the last newline by a second call. If the reader has gone
/// away, or standard output was never open, that is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::BADF) => break,
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
    Ok(())
}
