//! `--trace`: what a command, and init, spent their time on, as a file that Perfetto and
//! chrome://tracing open: a JSON array of events, to which every command appends its own.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rt_sys::process::monotonic_nanos;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, span};

/// The collection of one command.
pub struct Trace {
    file: PathBuf,
    begin: u64,
    bars: Mutex<Vec<Bar>>,
}

/// Something that took a while, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Default)]
struct Bar {
    what: String,
    field: String,
    /// The trace is about another process than this one.
    pid: Option<u64>,
    begin: u64,
    end: u64,
}

impl Visit for Bar {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "what" => value.clone_into(&mut self.what),
            "field" => value.clone_into(&mut self.field),
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "pid" {
            self.pid = u64::try_from(value).ok();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "begin" => self.begin = value,
            "end" => self.end = value,
            _ => {}
        }
    }
}

impl Trace {
    /// Begins now.
    pub fn new(file: PathBuf) -> Trace {
        Trace { file, begin: monotonic_nanos(), bars: Mutex::new(Vec::with_capacity(32)) }
    }

    /// A bar of init's: an event of the timeline's target.
    pub fn event(&self, event: &Event<'_>) {
        let mut bar = Bar::default();
        event.record(&mut bar);
        self.add(bar);
    }

    fn add(&self, bar: Bar) -> u64 {
        let Ok(mut bars) = self.bars.lock() else { return 1 };
        bars.push(bar);
        bars.len() as u64
    }

    /// A bar of this process, by the span that it will be.
    pub fn span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let bar = Bar { what: attributes.metadata().name().to_owned(), ..Bar::default() };
        span::Id::from_u64(self.add(bar))
    }

    /// It begins.
    pub fn enter(&self, id: &span::Id) {
        self.change(id, |bar| bar.begin = monotonic_nanos());
    }

    /// It ends.
    pub fn exit(&self, id: &span::Id) {
        self.change(id, |bar| bar.end = monotonic_nanos());
    }

    fn change(&self, id: &span::Id, change: impl FnOnce(&mut Bar)) {
        if let Ok(mut bars) = self.bars.lock()
            && let Some(bar) = bars.get_mut(id.into_u64() as usize - 1)
        {
            change(bar);
        }
    }

    /// Appends all to the file, under the name of the command.
    pub fn write(&self, command: &str) -> std::io::Result<()> {
        let own = u64::from(std::process::id());
        let whole = Bar { what: format!("rt {command}"), begin: self.begin, end: monotonic_nanos(), ..Bar::default() };
        let mut lines = vec![name(own, &whole.what), event(own, &whole)];
        let bars = self.bars.lock().map(|mut bars| std::mem::take(&mut *bars)).unwrap_or_default();
        let other = bars.iter().find_map(|bar| bar.pid);
        lines.extend(other.map(|pid| name(pid, "init")));
        lines.extend(bars.iter().filter(|bar| bar.end != 0).map(|bar| event(bar.pid.unwrap_or(own), bar)));
        let events: Vec<String> = lines.iter().map(Value::to_string).collect();
        append(&self.file, &events.join(",\n"))
    }
}

/// Adds events before the end of the array. Other commands may do so at the same time.
fn append(path: &Path, events: &str) -> std::io::Result<()> {
    const END: &str = "\n]\n";
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let length = file.metadata()?.len();
    let end = length.saturating_sub(END.len() as u64);
    let (at, before) = match tail(&file, end, length)?.as_str() {
        "" => (0, "[\n"),
        END => (end, ",\n"),
        _ => return Err(Error::new(ErrorKind::InvalidData, "this file is there already, and is no trace")),
    };
    file.write_all_at(format!("{before}{events}{END}").as_bytes(), at)
}

fn tail(file: &File, from: u64, to: u64) -> std::io::Result<String> {
    let mut bytes = vec![0; (to - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn name(pid: u64, name: &str) -> Value {
    json!({"name": "process_name", "ph": "M", "pid": pid, "tid": pid, "args": {"name": name}})
}

fn event(pid: u64, bar: &Bar) -> Value {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let mut event = json!({
        "name": bar.what, "cat": "rt", "ph": "X", "pid": pid, "tid": pid,
        "ts": micros(bar.begin), "dur": micros(bar.end.saturating_sub(bar.begin)),
    });
    if !bar.field.is_empty() {
        event["args"] = json!({"field": bar.field});
    }
    event
}
