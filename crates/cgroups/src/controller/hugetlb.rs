//! `hugetlb`: huge pages in use and, where the kernel tells them apart (5.7), reserved.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rt_resources::check::is_page_size;
use rt_resources::model::HugepageLimit;

use crate::dir::Dir;
use crate::error::Error;
use crate::knobs::Knobs;
use crate::stats::Hugetlb;

/// Sets the limits; `file` is how the hierarchy calls the limit: `limit_in_bytes` or `max`.
///
/// Reserving is what fails visibly: a program that passes the limit of pages in use dies of SIGBUS.
pub(crate) fn set(knobs: Knobs<'_>, limits: &[HugepageLimit], file: &str) -> Result<(), Error> {
    for (index, HugepageLimit { page_size, limit }) in limits.iter().enumerate() {
        let field = format!("/hugepageLimits/{index}");
        if !is_page_size(page_size) {
            let why = "not a page size like \"2MB\"";
            return Err(Error::Invalid { pointer: format!("{field}/pageSize"), value: page_size.clone(), why });
        }
        knobs.set(&field, &format!("hugetlb.{page_size}.{file}"), limit)?;
        knobs.set_if_any(&field, &format!("hugetlb.{page_size}.rsvd.{file}"), limit)?;
    }
    Ok(())
}

/// Reads usage of v1.
pub(crate) fn read_v1(dir: &Dir) -> Result<BTreeMap<String, Hugetlb>, Error> {
    read(dir, |kind| {
        let Some(usage) = dir.read_number(&format!("{kind}usage_in_bytes"))? else {
            return Ok(None);
        };
        Ok(Some(Hugetlb {
            usage,
            max: dir.read_number(&format!("{kind}max_usage_in_bytes"))?.unwrap_or_default(),
            failcnt: dir.read_number(&format!("{kind}failcnt"))?.unwrap_or_default(),
        }))
    })
}

/// Reads usage of v2, which keeps no maximum.
pub(crate) fn read_v2(dir: &Dir) -> Result<BTreeMap<String, Hugetlb>, Error> {
    read(dir, |kind| {
        let Some(usage) = dir.read_number(&format!("{kind}current"))? else {
            return Ok(None);
        };
        // Reservations have no events of their own.
        let events = dir.read_table(&format!("{}events", kind.trim_end_matches("rsvd.")))?;
        let failcnt = events.into_iter().find(|(key, _)| key == "max").map_or(0, |(_, value)| value);
        Ok(Some(Hugetlb { usage, max: 0, failcnt }))
    })
}

/// Reads each page size: reservations if the kernel counts them, pages in use otherwise.
fn read(dir: &Dir, files: impl Fn(&str) -> Result<Option<Hugetlb>, Error>) -> Result<BTreeMap<String, Hugetlb>, Error> {
    let mut stats = BTreeMap::new();
    if !dir.exists()? {
        return Ok(stats);
    }
    for size in page_sizes() {
        for kind in [format!("hugetlb.{size}.rsvd."), format!("hugetlb.{size}.")] {
            if let Some(entry) = files(&kind)? {
                stats.insert(size.clone(), entry);
                break;
            }
        }
    }
    Ok(stats)
}

/// The sizes this kernel has, as the controller names them.
pub fn page_sizes() -> &'static [String] {
    static SIZES: OnceLock<Vec<String>> = OnceLock::new();
    SIZES.get_or_init(|| {
        let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
        entries.filter_map(|entry| size_name(entry.file_name().to_str()?)).collect()
    })
}

/// `hugepages-2048kB` is `2MB`.
fn size_name(directory: &str) -> Option<String> {
    let kib: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        0..1024 => format!("{kib}KB"),
        1024..1_048_576 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::size_name;

    #[test]
    fn sizes_have_the_controllers_names() {
        let names = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "hugepages-16777216kB", "x"];
        let expected = [Some("64KB"), Some("2MB"), Some("1GB"), Some("16GB"), None];
        for (directory, name) in names.into_iter().zip(expected) {
            assert_eq!(size_name(directory).as_deref(), name);
        }
    }
}
