//! The shim's log: lines in the fifo `log` of the bundle, which containerd copies into its own log.

use std::fmt::Display;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::SystemTime;

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    fifo: File,
    id: String,
    debug: bool,
}

/// Opens the log of the working directory. Without containerd at its other end nothing is lost: lines
/// wait in the fifo, and when it is full they are dropped, so that the shim never waits for its log.
pub fn open(id: &str, debug: bool) {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    if let Ok(fifo) = File::options().read(true).write(true).custom_flags(flags).open("log") {
        let _ = LOG.set(Log { fifo, id: id.to_owned(), debug });
    }
}

/// Something that went wrong, and that nobody else will report.
pub fn error(message: impl Display) {
    line("error", message);
}

/// Something odd that has no consequence for now.
pub fn warn(message: impl Display) {
    line("warning", message);
}

/// For `-debug`.
pub fn debug(message: impl Display) {
    if LOG.get().is_some_and(|log| log.debug) {
        line("debug", message);
    }
}

fn line(level: &str, message: impl Display) {
    let Some(log) = LOG.get() else { return };
    let now = humantime::format_rfc3339_nanos(SystemTime::now());
    let text = format!(
        "time=\"{now}\" level={level} msg={:?} id={} runtime=io.containerd.rt.v1\n",
        message.to_string(),
        log.id
    );
    // One write of less than PIPE_BUF is never torn.
    let _ = rustix::io::write(&log.fifo, &text.as_bytes()[..text.len().min(4096)]);
}

/// The present time, for messages.
pub fn timestamp() -> containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp {
    SystemTime::now().into()
}
