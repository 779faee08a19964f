//! Durations as Go writes them, because callers of runc do.

use std::time::Duration;

use crate::output::Failure;

/// The value of an option that is a time above 0.
pub fn option(name: &str, text: &str) -> Result<Duration, Failure> {
    let why = || Failure::usage(format!("--{name}: {text:?} is no duration above 0; write 500ms, 5s or 1m"));
    parse(text).filter(|d| !d.is_zero()).ok_or_else(why)
}

/// Numbers with units, one after another (`1m30s`).
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match rest.get(..end)? {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = rest.get(end..)?;
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5ms"), Some(Duration::from_micros(1500)));
        for bad in ["5", "s", "5x", "-5s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(option("interval", "0s").is_err());
    }
}
