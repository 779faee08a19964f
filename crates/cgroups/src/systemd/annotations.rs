//! `org.systemd.property.NAME` annotations: properties of the unit that the engine's user wants, in
//! GVariant's text form (`true`, `5`, `uint64 5`, `'text'`, `['a', 'b']`).

use std::collections::BTreeMap;

use super::message::Value;
use crate::error::Error;

const PREFIX: &str = "org.systemd.property.";

/// What decides which process is in the unit, and where its cgroup is, and who decides it. systemd takes
/// the last value of a property, so that an annotation would lead away from the cgroup that is limited.
const PLACES: [(&str, &str); 2] = [
    ("Slice", "cannot be asked for: the slice is the first part of /linux/cgroupsPath"),
    ("PIDs", "cannot be asked for: the unit has the container's processes"),
];

/// The properties that annotations ask for, by name.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<(String, Value)>, Error> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let wrong = |why| Error::Annotation { key: key.clone(), value: text.clone(), why };
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(wrong("is no name of a property"));
        }
        if let Some((_, why)) = PLACES.iter().find(|(place, _)| *place == name) {
            return Err(wrong(why));
        }
        let value =
            parse(text.trim()).ok_or_else(|| wrong("is no value; write true, 5, uint64 5, 'text' or ['a', 'b']"))?;
        // systemd.exec(5) has seconds where the bus has microseconds.
        all.push(match (name.strip_suffix("Sec"), number(&value)) {
            (Some(stem), Some(seconds)) if !name.ends_with("USec") => {
                let micros = seconds.checked_mul(1_000_000).ok_or_else(|| wrong("is too long"))?;
                (format!("{stem}USec"), Value::Number(micros))
            }
            (Some(_), None) if !name.ends_with("USec") => return Err(wrong("is no number of seconds")),
            _ => (name.to_owned(), value),
        });
    }
    Ok(all)
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => Some(*n),
        Value::Word(n) => Some(u64::from(*n)),
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::Long(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Value> {
    if let Some((kind, rest)) = text.split_once(' ') {
        let rest = rest.trim();
        match kind {
            "uint64" => return rest.parse().ok().map(Value::Number),
            "uint32" => return rest.parse().ok().map(Value::Word),
            "int64" => return rest.parse().ok().map(Value::Long),
            "int32" => return rest.parse().ok().map(Value::Int),
            "@as" => return texts(rest),
            _ => {}
        }
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if text.starts_with('[') => texts(text),
        _ => quoted(text).map(Value::Text).or_else(|| text.parse().ok().map(Value::Int)),
    }
}

fn texts(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let parts = inner.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts.map(quoted).collect::<Option<Vec<_>>>().map(Value::Texts)
}

fn quoted(text: &str) -> Option<String> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = inner('\'').or_else(|| inner('"')).filter(|_| text.len() >= 2)?;
    (!inner.contains(['\'', '"', '\\'])).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Option<(String, Value)> {
        let annotations = [(format!("{PREFIX}{name}"), value.to_owned())].into();
        properties(&annotations).ok().and_then(|mut all| all.pop())
    }

    #[test]
    fn values_as_engines_write_them() {
        assert_eq!(
            of("CollectMode", "'inactive-or-failed'"),
            Some(("CollectMode".into(), Value::Text("inactive-or-failed".into())))
        );
        assert_eq!(of("TimeoutStopSec", "uint64 5"), Some(("TimeoutStopUSec".into(), Value::Number(5_000_000))));
        assert_eq!(of("TimeoutStopUSec", "uint64 5"), Some(("TimeoutStopUSec".into(), Value::Number(5))));
        assert_eq!(of("MemoryAccounting", "true"), Some(("MemoryAccounting".into(), Value::Bool(true))));
        assert_eq!(
            of("Before", "['a.service', 'b']"),
            Some(("Before".into(), Value::Texts(vec!["a.service".into(), "b".into()])))
        );
        for (name, value) in
            [("X", "true"), ("Bad1Name", "true"), ("Name", "nonsense"), ("TimeoutStopSec", "'x'"), ("Name", "'a")]
        {
            assert_eq!(of(name, value), None, "{name} {value}");
        }
        for (name, value) in [("Slice", "'user.slice'"), ("PIDs", "1")] {
            assert_eq!(of(name, value), None, "{name} {value}");
        }
    }
}
