//! Pressure stall information of cgroup v2.

use serde::Serialize;

use crate::dir::Dir;
use crate::error::Error;

/// Time that tasks lost waiting for a resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some task waited.
    pub some: PsiData,
    /// All tasks waited.
    pub full: PsiData,
}

/// Shares of time in percent, over three windows, and the total in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PsiData {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last 5 minutes.
    pub avg300: f64,
    /// Since the cgroup was made.
    pub total: u64,
}

/// Reads a `*.pressure` file; `None` where the kernel does not keep count.
pub(crate) fn read(dir: &Dir, file: &str) -> Result<Option<Psi>, Error> {
    let Some(text) = dir.read_if_any(file)? else {
        return Ok(None);
    };
    let mut psi = Psi::default();
    for line in text.lines() {
        let data = parse(line).ok_or_else(|| dir.malformed(file, line))?;
        match line.split(' ').next() {
            Some("some") => psi.some = data,
            Some("full") => psi.full = data,
            _ => return Err(dir.malformed(file, line)),
        }
    }
    Ok(Some(psi))
}

/// Parses `some avg10=0.12 avg60=0.34 avg300=0.56 total=789`; keys to come are ignored.
fn parse(line: &str) -> Option<PsiData> {
    let mut data = PsiData::default();
    for field in line.split(' ').skip(1) {
        let (key, value) = field.split_once('=')?;
        match key {
            "avg10" => data.avg10 = value.parse().ok()?,
            "avg60" => data.avg60 = value.parse().ok()?,
            "avg300" => data.avg300 = value.parse().ok()?,
            "total" => data.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let data = parse("some avg10=1.71 avg60=2.36 avg300=2.57 total=230548833").unwrap();
        assert_eq!(data, PsiData { avg10: 1.71, avg60: 2.36, avg300: 2.57, total: 230_548_833 });
        assert_eq!(parse("some avg10=x"), None);
    }
}
