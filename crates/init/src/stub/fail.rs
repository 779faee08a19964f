//! A failure inside an op: which step, which errno, and what the kernel or a hook said about it.

use rt_protocol::report::{MAX_DETAIL, Step};
use rustix::io::Errno;

/// Text for the report, cut at [`MAX_DETAIL`].
#[derive(Clone, Copy)]
pub struct Detail {
    bytes: [u8; MAX_DETAIL],
    len: usize,
}

impl Detail {
    /// The first bytes of `text`.
    pub fn new(text: &[u8]) -> Detail {
        let mut bytes = [0; MAX_DETAIL];
        let len = text.len().min(MAX_DETAIL);
        bytes[..len].copy_from_slice(&text[..len]);
        Detail { bytes, len }
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Why an op failed.
pub struct Fail {
    /// The step in the op.
    pub step: Step,
    /// The errno, or for hooks the exit status or signal.
    pub errno: u32,
    /// More words, if there are any.
    pub detail: Option<Detail>,
}

impl Fail {
    /// A failure of `step`.
    pub fn new(step: Step, errno: Errno) -> Fail {
        Fail { step, errno: errno.raw_os_error() as u32, detail: None }
    }

    /// Adds words.
    pub fn with_detail(mut self, text: &[u8]) -> Fail {
        self.detail = Some(Detail::new(text));
        self
    }
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Fail {
        Fail::new(Step::Only, errno)
    }
}

/// Names the step of a system call that failed.
pub trait At<T> {
    /// Turns the errno into a [`Fail`] of `step`.
    fn at(self, step: Step) -> Result<T, Fail>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Fail> {
        self.map_err(|errno| Fail::new(step, errno))
    }
}
