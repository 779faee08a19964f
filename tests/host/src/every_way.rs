//! The same container in each of the ways in which init gets its mount namespace.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use crate::{Bundle, Container, Done, done, rt};

/// How init gets its mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the base, which the first start makes in the test's own mount namespace.
    Base,
    /// There can be no base, so from the runtime's.
    WithoutBase,
    /// A hook is there before pivot_root(2), so clone3(2) makes it.
    ForAHook,
}

impl Bundle {
    /// Runs the container once in each way, in a mount namespace of the test's own in which the
    /// commands `setup` are run before, and compares its exit code and what it prints; lines of
    /// mountinfo regardless of their order and of numbers that the kernel gives. The first run, whose
    /// result this returns, makes destinations in the rootfs, so another is compared.
    pub fn run_every_way(&self, setup: &str) -> Done {
        let container = Container::new();
        let first = self.run_one_way(&container, setup, Way::Base);
        let again = self.run_one_way(&container, setup, Way::Base);
        for way in [Way::WithoutBase, Way::ForAHook] {
            let other = self.run_one_way(&container, setup, way);
            assert_eq!(
                (again.code, comparable(&again.out)),
                (other.code, comparable(&other.out)),
                "{way:?}: {other:?}"
            );
            assert_eq!(again.err, other.err, "{way:?}");
        }
        first
    }

    fn run_one_way(&self, container: &Container, setup: &str, way: Way) -> Done {
        let mut config = self.config.clone();
        if way == Way::ForAHook && config["hooks"]["createContainer"].is_null() {
            config["hooks"]["createContainer"] = json!([{"path": "/bin/true"}]);
        }
        std::fs::write(self.path().join("config.json"), config.to_string()).unwrap();
        let without = if way == Way::WithoutBase { "mount -t tmpfs -o ro none /run; " } else { "" };
        let script = format!(
            "set -e; {setup}; {without}exec {} --root {} run --bundle {} {}",
            rt().display(),
            container.root().display(),
            self.path().display(),
            container.id,
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        done(command)
    }
}

/// The text with its lines of mountinfo sorted, and in them names instead of numbers.
fn comparable(text: &str) -> (Vec<String>, String) {
    let (mounts, others): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains(" - ") && line.starts_with(|c: char| c.is_ascii_digit()));
    let fields: Vec<Vec<&str>> = mounts.iter().map(|line| line.split(' ').collect()).collect();
    let places: BTreeMap<&str, &str> = fields.iter().map(|line| (line[0], line[4])).collect();
    let mut sorted = fields.clone();
    sorted.sort_by_key(|line| line[3..].join(" "));
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number = |of| {
        let next = numbers.len();
        *numbers.entry(of).or_insert(next)
    };
    let mut lines = Vec::new();
    for line in &sorted {
        let parent = places.get(line[1]).copied().unwrap_or("none");
        let rest: Vec<String> = line[3..]
            .iter()
            .map(|word| match word.split_once(':') {
                Some((kind @ ("shared" | "master" | "propagate_from"), group)) => format!("{kind}:{}", number(group)),
                _ => (*word).to_owned(),
            })
            .collect();
        lines.push(format!("on {parent}, device {}: {}", number(line[2]), rest.join(" ")));
    }
    lines.sort();
    (lines, others.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::comparable;

    /// A comparison that forgets too much would find two different containers the same.
    #[test]
    fn what_is_compared() {
        let one = "7 1 0:3 / / rw master:5 - ext4 a rw\n9 7 0:4 / /x rw shared:8 - tmpfs t rw\ntext";
        let numbered = "9 2 0:7 / /x rw shared:1 - tmpfs t rw\n2 1 0:6 / / rw master:2 - ext4 a rw\ntext";
        assert_eq!(comparable(one), comparable(numbered));
        for other in [
            one.replace("/x rw", "/x ro"),
            one.replace("shared:8", "master:8"),
            one.replace("shared:8", "shared:5"),
            one.replace("9 7 ", "9 9 "),
            one.replace("0:4", "0:3"),
            one.replace("text", "other"),
        ] {
            assert_ne!(comparable(one), comparable(&other), "{other}");
        }
    }
}
