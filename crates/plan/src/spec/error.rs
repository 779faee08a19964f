//! What is wrong with a config, and where: every error carries a JSON pointer (RFC 6901).

use std::fmt;
use std::path::PathBuf;

/// A place in config.json, formatted only when it is printed: each `{}` in the template takes the
/// next number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    template: &'static str,
    numbers: [u32; 2],
}

impl Pointer {
    /// A pointer without numbers.
    pub const fn new(template: &'static str) -> Self {
        Pointer { template, numbers: [0, 0] }
    }

    /// A pointer into a list.
    pub const fn index(template: &'static str, n: usize) -> Self {
        Pointer { template, numbers: [n as u32, 0] }
    }

    /// A pointer into a list in a list.
    pub const fn index2(template: &'static str, n: usize, m: usize) -> Self {
        Pointer { template, numbers: [n as u32, m as u32] }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.numbers.iter();
        for (i, part) in self.template.split("{}").enumerate() {
            if i > 0 {
                write!(f, "{}", numbers.next().unwrap_or(&0))?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub pointer: String,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.fault)
    }
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Fault {
    #[error("must be set")]
    Missing,
    #[error("must not be empty")]
    Empty,
    #[error("unknown value {value:?}; known are {known}")]
    Unknown { value: String, known: &'static str },
    #[error("{value:?} {why}")]
    Value { value: String, why: &'static str },
    #[error("{0}")]
    Rule(&'static str),
    #[error("contains a NUL character")]
    Nul,
    #[error("appears twice")]
    Duplicate,
    #[error(
        "no specification knows this key, so it has no effect{}",
        .meant.map(|key| format!("; did you mean {key:?}?")).unwrap_or_default()
    )]
    Key { meant: Option<&'static str> },
    #[error("{0}")]
    Seccomp(String),
    #[error("{0}")]
    Resources(String),
}

/// Why a config could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file is no JSON, or a field has another type than the specification says.
    #[error("{path}: {pointer}: {message}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The field.
        pointer: String,
        /// The parser's words, with line and column.
        message: String,
    },
    /// The file is a config, but not a valid one.
    #[error("{}", join(.0))]
    Invalid(Vec<Problem>),
}

fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

impl SpecError {
    /// The field that the (first) error is about.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            SpecError::Json { pointer, .. } => Some(pointer),
            SpecError::Invalid(problems) => problems.first().map(|p| p.pointer.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users search their config by this text.
    #[test]
    fn pointers_read_as_rfc_6901() {
        assert_eq!(Pointer::new("/root/path").to_string(), "/root/path");
        assert_eq!(Pointer::index2("/mounts/{}/options/{}", 3, 1).to_string(), "/mounts/3/options/1");
    }
}
