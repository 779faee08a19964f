//! Whether an image has all the memory that it speaks of. CRIU waits for ever for pages that a file
//! lacks because it was cut short.

use std::path::Path;

use prost::Message;
use rustix::fs::stat;
use rustix::io::Errno;

use super::error::CheckpointError;

/// The head of a pagemap image (criu, images/pagemap.proto).
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, required, tag = "1")]
    pages_id: u32,
}

/// Consecutive pages of memory.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(uint32, required, tag = "2")]
    short_number: u32,
    #[prost(bool, optional, tag = "3")]
    in_parent: Option<bool>,
    #[prost(uint32, optional, tag = "4")]
    flags: Option<u32>,
    #[prost(uint64, optional, tag = "5")]
    number: Option<u64>,
}

/// The pages are in the file of this image (PE_PRESENT).
const PRESENT: u32 = 4;

/// A process of the image (criu, images/pstree.proto).
#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(uint32, required, tag = "1")]
    pid: u32,
}

/// Compares the sizes of the files of pages with what the maps of the image's processes say. Maps of
/// other processes are left from an earlier image in the same directory.
pub fn check(image: &Path) -> Result<(), CheckpointError> {
    let page = rustix::param::page_size() as u64;
    let damaged = |path: &Path, message| CheckpointError::Damaged { path: path.to_owned(), message };
    let load = |path: &Path| match rt_sys::file::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        // A process that has ended and was not waited for has no memory.
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(CheckpointError::Image { path: path.to_owned(), errno }),
    };
    let no_image = "is cut short, or is no image of CRIU's";
    let tree = image.join("pstree.img");
    let bytes = load(&tree)?.unwrap_or_default();
    let processes: Option<Vec<Process>> = messages(&bytes).map(|message| Process::decode(message?).ok()).collect();
    for process in processes.ok_or_else(|| damaged(&tree, no_image))? {
        let path = image.join(format!("pagemap-{}.img", process.pid));
        let Some(bytes) = load(&path)? else { continue };
        let (id, pages) = read(&bytes).ok_or_else(|| damaged(&path, no_image))?;
        let file = image.join(format!("pages-{id}.img"));
        let size = stat(&file).map_or(0, |stat| stat.st_size.unsigned_abs());
        if size < pages.saturating_mul(page) {
            return Err(damaged(&file, "lacks pages that the image speaks of: it was cut short"));
        }
    }
    Ok(())
}

/// The messages of an image: two magic numbers, then each after its length. None for one that is
/// cut, after which nothing comes.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = bytes.get(8..);
    std::iter::from_fn(move || {
        let Some(now) = rest else {
            rest = Some(&[]);
            return Some(None);
        };
        if now.is_empty() {
            return None;
        }
        let message = now
            .split_first_chunk::<4>()
            .and_then(|(length, after)| after.split_at_checked(u32::from_le_bytes(*length) as usize));
        rest = Some(message.map_or(&[], |(_, after)| after));
        Some(message.map(|(message, _)| message))
    })
}

/// The number of the file with the pages, and how many pages it must have.
fn read(bytes: &[u8]) -> Option<(u32, u64)> {
    let mut messages = messages(bytes);
    let head = Head::decode(messages.next()??).ok()?;
    let mut pages = 0_u64;
    for message in messages {
        let entry = Entry::decode(message?).ok()?;
        let present = entry.flags.map_or(entry.in_parent != Some(true), |flags| flags & PRESENT != 0);
        if present {
            pages = pages.checked_add(entry.number.unwrap_or(entry.short_number.into()))?;
        }
    }
    Some((head.pages_id, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entries: &[Entry]) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        let mut put = |message: Vec<u8>| {
            bytes.extend((message.len() as u32).to_le_bytes());
            bytes.extend(message);
        };
        put(Head { pages_id: 3 }.encode_to_vec());
        entries.iter().for_each(|entry| put(entry.encode_to_vec()));
        bytes
    }

    #[test]
    fn pages_of_this_image_are_counted() {
        let entry = |flags, number| Entry { short_number: 2, flags, number, in_parent: None };
        let entries = [entry(Some(4), None), entry(Some(1), None), entry(Some(4), Some(1 << 33)), entry(None, None)];
        let bytes = image(&entries);
        assert_eq!(read(&bytes), Some((3, 2 + (1 << 33) + 2)));
        // Cut anywhere it is no image, or one of fewer entries.
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_none_or(|(_, pages)| pages < 4 + (1 << 33)), "{end}");
        }
    }
}
