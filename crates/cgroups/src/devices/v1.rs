//! The device filter on cgroup v1: writes to `devices.allow` and `devices.deny`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::filter::{Exceptions, Filter};
use super::rule::{Access, Devices, Node};
use crate::dir::{Dir, write_value};
use crate::error::Error;

/// What stands for everything in both files.
const EVERYTHING: &str = "a";

/// Makes a cgroup allow exactly what the filter allows.
///
/// In a cgroup that was made just now there is no process whose access could be interrupted, so the
/// list may be written anew without a look at what the cgroup has inherited. In a cgroup in use
/// only the difference is written, and new exceptions are added before old exceptions are removed:
/// what is allowed before and after is allowed throughout.
pub(crate) fn apply(dir: &Dir, filter: &Filter, fresh: bool) -> Result<(), Error> {
    let target = filter.exceptions()?;
    let mut files = Files { dir, allow: None, deny: None };
    let current = if fresh { None } else { read(dir)? };
    let allowing = !fresh && current.is_none();
    match current {
        Some(current) if !current.default_allow && !target.default_allow => {
            let add = difference(&target, &current);
            let remove = difference(&current, &target);
            add.iter().try_for_each(|rule| files.write(true, rule))?;
            remove.iter().try_for_each(|rule| files.write(false, rule))
        }
        _ => {
            match files.write(target.default_allow, EVERYTHING) {
                // The kernel does not reset a cgroup that has children. A cgroup that allows by
                // default may stay so: it has exceptions that the kernel does not list, so it
                // allows less than asked for, never more.
                Err(error) if error.errno() == Some(Errno::INVAL) && target.default_allow && allowing => {}
                result => result?,
            }
            target
                .exceptions
                .iter()
                .try_for_each(|(devices, access)| files.write(!target.default_allow, &line(devices, access)))
        }
    }
}

/// The two control files, each opened when first needed: a usual container has a dozen rules of one
/// kind.
struct Files<'a> {
    dir: &'a Dir,
    allow: Option<OwnedFd>,
    deny: Option<OwnedFd>,
}

impl Files<'_> {
    fn write(&mut self, allow: bool, rule: &str) -> Result<(), Error> {
        let (file, slot) = if allow { ("devices.allow", &mut self.allow) } else { ("devices.deny", &mut self.deny) };
        let fd = match slot {
            Some(fd) => fd,
            None => slot.insert(self.dir.open(file, OFlags::WRONLY)?),
        };
        write_value(fd.as_fd(), rule).map_err(|errno| Error::Write {
            pointer: Some("/devices".to_owned()),
            path: self.dir.path().join(file),
            value: rule.to_owned(),
            errno,
        })
    }
}

/// Exceptions of `of` that `from` lacks, as lines to write.
fn difference(of: &Exceptions, from: &Exceptions) -> Vec<String> {
    of.exceptions
        .iter()
        .filter_map(|(devices, access)| {
            let rest = access.without(from.exceptions.of(devices));
            (!rest.is_empty()).then(|| line(devices, rest))
        })
        .collect()
}

fn line(devices: &Devices, access: Access) -> String {
    format!("{devices} {access}")
}

/// Reads `devices.list`. When everything is allowed by default the kernel does not list the
/// exceptions: `None`.
fn read(dir: &Dir) -> Result<Option<Exceptions>, Error> {
    let text = dir.read("devices.list")?;
    let mut current = Exceptions { default_allow: false, exceptions: Default::default() };
    for line in text.lines() {
        if line.starts_with('a') {
            return Ok(None);
        }
        let (devices, access) = parse(line).ok_or_else(|| dir.malformed("devices.list", line))?;
        current.exceptions.add(devices, access);
    }
    Ok(Some(current))
}

/// Parses a line like `c 1:* rwm`.
fn parse(line: &str) -> Option<(Devices, Access)> {
    let mut fields = line.split_whitespace();
    let node = match fields.next()? {
        "b" => Node::Block,
        "c" => Node::Char,
        _ => return None,
    };
    let (major, minor) = fields.next()?.split_once(':')?;
    let number = |text: &str| {
        if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
    };
    let devices = Devices { node, major: number(major)?, minor: number(minor)? };
    Some((devices, Access::parse(fields.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_reads_back_as_it_is_written() {
        for text in ["c 1:3 rwm", "b *:* m", "c 136:* rw"] {
            let (devices, access) = parse(text).unwrap();
            assert_eq!(line(&devices, access), text);
        }
        for text in ["", "a *:* rwm", "c 1 rwm", "c 1:3", "c 1:3 x"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    /// Dropping a wildcard must not take away the devices that stay allowed on their own.
    #[test]
    fn only_the_difference_is_written() {
        let set = |lines: &[&str]| {
            let mut set = Exceptions { default_allow: false, exceptions: Default::default() };
            for line in lines {
                let (devices, access) = parse(line).unwrap();
                set.exceptions.add(devices, access);
            }
            set
        };
        let (old, new) = (set(&["c 1:3 rwm", "c 5:* rwm", "c 9:9 r"]), set(&["c 1:3 rwm", "c 5:1 rw", "c 9:9 rw"]));
        assert_eq!(difference(&new, &old), ["c 5:1 rw", "c 9:9 w"]);
        assert_eq!(difference(&old, &new), ["c 5:* rwm"]);
    }
}
