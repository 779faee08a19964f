//! Standard output.

use rustix::io::Errno;

use super::Failure;

/// Writes to standard output, in one call if it takes all; the standard library's would write what follows the last newline by
/// itself. A reader that has gone away, or that never was, is no failure worth words.
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
