//! The log contract (docs/contracts.md, part 1): a command that fails writes exactly one line, the
//! error; engines parse the file.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rt_runtime::launch::timeline::TARGET;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::output::Failure;
use crate::output::Trace;

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and how to log.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file of `--log`, open; None means standard error.
    pub file: Option<Arc<File>>,
    /// `--log-format`.
    pub format: Format,
    /// The most detailed level that is written.
    pub level: Level,
}

/// Warnings are collected until the end of the command: a warning before an error would be a second
/// line in the file.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Log {
    /// Opens the log file, which exists after every command. A file that cannot be opened is an
    /// error before the command does anything.
    pub fn open(path: Option<&Path>, format: Format, level: Level) -> Result<Log, Failure> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            file.map(Arc::new).map_err(|e| Failure::from(e).prefixed(&format!("open {}: ", path.display())))
        };
        Ok(Log { file: path.map(open).transpose()?, format, level })
    }

    /// Collects warnings. Events of more detailed levels are written at once if the level asks for
    /// them; `trace` gets the spans.
    pub fn install(&self, trace: Option<Arc<Trace>>) {
        // A second call, which only tests make, changes nothing.
        let _ = tracing::subscriber::set_global_default(Collector { log: self.clone(), trace });
    }

    /// Writes the error of a failed command to the log, and once to standard error.
    pub fn failed(&self, failure: &Failure) {
        let warnings = WARNINGS.lock().map(|mut w| std::mem::take(&mut *w)).unwrap_or_default();
        let line = Line {
            level: "error",
            msg: &failure.message,
            time: rt_runtime::store::now(),
            code: failure.code,
            errno: failure.errno,
            field: failure.field.clone(),
            hint: failure.hint,
            warnings,
        };
        if self.file.is_some() || self.format == Format::Json {
            self.write(&line);
        }
        if self.file.is_some() || self.format == Format::Text {
            let mut text = format!("{}\n", failure.message);
            if let Some(hint) = failure.hint.filter(|_| std::io::stderr().is_terminal()) {
                let _ = writeln!(text, "hint: {hint}");
            }
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    /// Writes the warnings of a command that has succeeded.
    pub fn succeeded(&self) {
        let warnings = WARNINGS.lock().map(|mut w| std::mem::take(&mut *w)).unwrap_or_default();
        for text in &warnings {
            self.event("warning", text);
        }
    }

    fn event(&self, level: &str, msg: &str) {
        self.write(&Line {
            level,
            msg,
            time: rt_runtime::store::now(),
            code: None,
            errno: None,
            field: None,
            hint: None,
            warnings: Vec::new(),
        });
    }

    fn write(&self, line: &Line<'_>) {
        let mut text = match self.format {
            Format::Json => serde_json::to_string(line).unwrap_or_default(),
            Format::Text => format!("time={:?} level={} msg={:?}", line.time, line.level, line.msg),
        };
        text.push('\n');
        // Ignore errors here: the exit code still reaches the caller.
        let _ = match &self.file {
            Some(file) => (&**file).write_all(text.as_bytes()),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

struct Collector {
    log: Log,
    trace: Option<Arc<Trace>>,
}

/// The message of an event, with its other fields behind it.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() || metadata.target() == TARGET {
            return self.trace.is_some();
        }
        *metadata.level() <= self.log.level
    }

    /// A message of a level that is not logged costs one comparison.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.trace.is_some() { LevelFilter::TRACE } else { LevelFilter::from_level(self.log.level) })
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == TARGET {
            return self.trace.iter().for_each(|trace| trace.event(event));
        }
        let mut message = Message::default();
        event.record(&mut message);
        match *event.metadata().level() {
            Level::ERROR | Level::WARN => {
                if let Ok(mut warnings) = WARNINGS.lock() {
                    warnings.push(message.0);
                }
            }
            Level::INFO => self.log.event("info", &message.0),
            _ => self.log.event("debug", &message.0),
        }
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.trace.as_ref().map_or(span::Id::from_u64(1), |trace| trace.span(attributes))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, id: &span::Id) {
        self.trace.iter().for_each(|trace| trace.enter(id));
    }

    fn exit(&self, id: &span::Id) {
        self.trace.iter().for_each(|trace| trace.exit(id));
    }
}
