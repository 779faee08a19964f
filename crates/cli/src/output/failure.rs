//! Why a command failed, ready for the log.

use crate::parse::Arguments;

/// Why a command failed, with all that the log says about it.
#[derive(Debug)]
pub struct Failure {
    /// The sentence, ending in the errno text.
    pub message: String,
    /// The exit code.
    pub exit: i32,
    /// A stable name.
    pub code: Option<&'static str>,
    /// The field of the config.
    pub field: Option<String>,
    /// The errno.
    pub errno: Option<i32>,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl Failure {
    /// A failure of the command line itself.
    pub fn usage(message: String) -> Failure {
        Failure { message, exit: 1, code: Some("invalid-argument"), field: None, errno: None, hint: None }
    }

    /// Puts `prefix` before the message.
    pub fn prefixed(mut self, prefix: &str) -> Failure {
        self.message.insert_str(0, prefix);
        self
    }

    /// Puts the id behind a message about a container that is there or not, whose words engines
    /// match and do not name it.
    pub fn naming(mut self, inside: &Arguments) -> Failure {
        if matches!(self.code, Some("container-exists" | "no-such-container")) {
            let word = inside.all("id").chain(inside.all("args")).next();
            self.message.extend(word.map(|id| format!(": {}", id.to_string_lossy())));
        }
        self
    }

    /// The exit code, instead of 1.
    pub fn exiting(mut self, exit: i32) -> Failure {
        self.exit = exit;
        self
    }
}

impl From<rt_runtime::Error> for Failure {
    fn from(e: rt_runtime::Error) -> Failure {
        Failure {
            message: e.to_string(),
            exit: 1,
            code: Some(e.code()),
            field: e.field(),
            errno: e.errno().map(|e| e.raw_os_error()),
            hint: e.hint(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        let errno = rustix::io::Errno::from_io_error(&e);
        Failure {
            message: errno.map_or_else(|| e.to_string(), |e| rt_sys::errno::text(e).to_owned()),
            exit: 1,
            code: Some("system"),
            field: None,
            errno: errno.map(|e| e.raw_os_error()),
            hint: None,
        }
    }
}
