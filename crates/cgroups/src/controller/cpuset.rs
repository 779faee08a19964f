//! `cpuset`: processors and memory nodes.

use rt_resources::convert::ranges;
use rt_resources::model::Cpu;

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::stats::Cpuset;

/// The two lists without which a cgroup of v1 takes no tasks.
const LISTS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// True when there is something to set.
pub(crate) fn wanted(limits: &Cpu) -> bool {
    limits.cpus.is_some() || limits.mems.is_some()
}

/// Sets both lists; the files are the same on v1 and v2.
pub(crate) fn set(knobs: Knobs<'_>, limits: &Cpu) -> Result<(), Error> {
    for (field, file, list) in [("/cpu/cpus", "cpuset.cpus", &limits.cpus), ("/cpu/mems", "cpuset.mems", &limits.mems)]
    {
        if let Some(list) = list {
            knobs.set(field, file, list)?;
        }
    }
    Ok(())
}

/// Gives a directory of v1, made just now, its parent's lists: it has none, and no task can enter
/// it so.
pub(crate) fn inherit(dir: &Dir) -> Result<(), Error> {
    let parent = dir.path().parent().unwrap_or(dir.path());
    let [cpus, mems] = complete(&Dir::new(parent))?;
    dir.write(LISTS[0], &cpus)?;
    dir.write(LISTS[1], &mems)
}

/// Fills the lists of a directory of v1 that are empty from its parent's, and returns them. The
/// root's never are.
pub(crate) fn complete(dir: &Dir) -> Result<[String; 2], Error> {
    let read = |file| Ok::<_, Error>(dir.read(file)?.trim().to_owned());
    let mut lists = [read(LISTS[0])?, read(LISTS[1])?];
    if lists.iter().any(String::is_empty) {
        let parent = dir.path().parent().unwrap_or(dir.path());
        for (at, above) in complete(&Dir::new(parent))?.into_iter().enumerate() {
            if lists[at].is_empty() {
                dir.write(LISTS[at], &above)?;
                lists[at] = above;
            }
        }
    }
    Ok(lists)
}

/// Reads what is set on v1.
pub(crate) fn read_v1(dir: &Dir) -> Result<Cpuset, Error> {
    let flag = |file: &str| Ok::<_, Error>(dir.read_number(file)?.unwrap_or_default());
    Ok(Cpuset {
        cpus: list(dir, "cpuset.cpus")?,
        cpu_exclusive: flag("cpuset.cpu_exclusive")?,
        mems: list(dir, "cpuset.mems")?,
        mem_hardwall: flag("cpuset.mem_hardwall")?,
        mem_exclusive: flag("cpuset.mem_exclusive")?,
        memory_migrate: flag("cpuset.memory_migrate")?,
        memory_spread_page: flag("cpuset.memory_spread_page")?,
        memory_spread_slab: flag("cpuset.memory_spread_slab")?,
        memory_pressure: flag("cpuset.memory_pressure")?,
        sched_load_balance: flag("cpuset.sched_load_balance")?,
        sched_relax_domain_level: relax_domain_level(dir)?,
    })
}

/// This is the only file of the controller whose number may be negative.
fn relax_domain_level(dir: &Dir) -> Result<i64, Error> {
    let file = "cpuset.sched_relax_domain_level";
    let Some(text) = dir.read_if_any(file)? else {
        return Ok(0);
    };
    text.trim().parse().map_err(|_| dir.malformed(file, text.trim()))
}

fn list(dir: &Dir, file: &str) -> Result<Vec<u16>, Error> {
    let Some(text) = dir.read_if_any(file)? else {
        return Ok(Vec::new());
    };
    numbers(text.trim()).ok_or_else(|| dir.malformed(file, text.trim()))
}

/// Spells out a list like `0-2,7`.
fn numbers(list: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for (first, last) in ranges(list)? {
        numbers.extend(u16::try_from(first).ok()?..=u16::try_from(last).ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn lists_are_spelt_out() {
        assert_eq!(numbers("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(numbers(""), Some(vec![]));
        assert_eq!(numbers("0-x"), None);
    }
}
