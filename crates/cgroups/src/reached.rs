//! Which limits a cgroup has reached: the answer to "why did this container die?".

use std::fmt;

use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::stats::finite;

/// A limit that was reached, as the kernel still knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// `memory` or `pids`.
    pub resource: &'static str,
    /// The limit now, in bytes or processes. None if the cgroup itself has no limit, and a cgroup
    /// above it was the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most that was ever in use, where the kernel keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// Processes killed for memory, or forks refused.
    pub count: u64,
}

/// All limits reached. As text, it goes behind a message: empty, or a colon and a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reached(pub Vec<Hit>);

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, hit) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { ": " } else { "; " })?;
            let unit = if hit.resource == "memory" { " bytes" } else { "" };
            match hit.limit {
                Some(limit) => write!(f, "it reached its {} limit of {limit}{unit}", hit.resource)?,
                None => write!(f, "it reached a {} limit of a cgroup above its own", hit.resource)?,
            }
            let what = if hit.resource == "memory" { "processes killed" } else { "forks refused" };
            match hit.peak {
                Some(peak) => write!(f, " (peak {peak}{unit}, {what}: {})", hit.count)?,
                None => write!(f, " ({what}: {})", hit.count)?,
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// The limits that the cgroup has reached since it was made. Files that cannot be read, because
    /// the cgroup is gone, count as limits that were not reached.
    pub fn reached(&self) -> Reached {
        let number = |dir: &Dir, file: &str| dir.read_number(file).ok().flatten();
        let mut hits = Vec::new();
        let kills = self.oom_kills().unwrap_or(0);
        if kills > 0 {
            let (limit, peak) = match (self.v1("memory"), self.unified_controller("memory")) {
                (Some(dir), _) => (number(dir, "memory.limit_in_bytes"), number(dir, "memory.max_usage_in_bytes")),
                (None, Some(dir)) => (number(dir, "memory.max"), number(dir, "memory.peak")),
                (None, None) => (None, None),
            };
            hits.push(Hit { resource: "memory", limit: limit.and_then(finite), peak, count: kills });
        }
        if let Some(dir) = self.v1("pids").or(self.unified_controller("pids")) {
            let events = dir.read_table("pids.events").unwrap_or_default();
            let refused = events.iter().find(|(key, _)| key == "max").map_or(0, |(_, count)| *count);
            if refused > 0 {
                let limit = number(dir, "pids.max").and_then(finite);
                hits.push(Hit { resource: "pids", limit, peak: number(dir, "pids.peak"), count: refused });
            }
        }
        Reached(hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person reads at 3 a.m. behind "cannot start a container that has stopped".
    #[test]
    fn the_text_says_which_limit_its_value_and_the_peak() {
        let memory = Hit { resource: "memory", limit: Some(4096), peak: Some(4000), count: 1 };
        let pids = Hit { resource: "pids", limit: None, peak: None, count: 3 };
        assert_eq!(
            Reached(vec![memory, pids]).to_string(),
            ": it reached its memory limit of 4096 bytes (peak 4000 bytes, processes killed: 1); \
             it reached a pids limit of a cgroup above its own (forks refused: 3)"
        );
        assert_eq!(Reached::default().to_string(), "");
    }

    /// The counters of version 2 as the kernel writes them; a cgroup that reached nothing says
    /// nothing.
    #[test]
    fn counters_become_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::at(&[(String::new(), dir.path().to_owned())], crate::cgroup::Access::Full);
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\n");
        write("pids.events", "max 0\n");
        assert_eq!(cgroup.reached(), Reached::default());
        write("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\n");
        write("memory.max", "max\n");
        write("memory.peak", "8192\n");
        write("pids.events", "max 5\n");
        write("pids.max", "20\n");
        assert_eq!(
            cgroup.reached().0,
            [
                Hit { resource: "memory", limit: None, peak: Some(8192), count: 2 },
                Hit { resource: "pids", limit: Some(20), peak: None, count: 5 }
            ]
        );
    }
}
