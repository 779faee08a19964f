//! The plan, as it comes over the report socket.

use core::cell::UnsafeCell;

use rt_protocol::wire::{CHUNK, LENGTH};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::net::{RecvFlags, recv};

/// Room for a plan of one message, which nearly all are.
#[repr(align(8))]
struct Room(UnsafeCell<[u8; CHUNK]>);

// SAFETY: init has a single thread while it receives its plan, and nothing writes here afterwards.
unsafe impl Sync for Room {}

static ROOM: Room = Room(UnsafeCell::new([0; CHUNK]));

/// Receives the plan's bytes; to be called once. None if the other side is gone.
pub fn receive(peer: &OwnedFd) -> Result<Option<&'static [u8]>, Errno> {
    // SAFETY: the only use of the room, see above.
    let room = unsafe { &mut *ROOM.0.get() };
    let first = message(peer, room)?;
    let Some((length, begin)) = room[..first].split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| Errno::NOMEM)?;
    if begin.len() == length {
        return Ok(Some(begin));
    }
    // SAFETY: new pages, which nothing else knows of and which are never unmapped.
    let whole = unsafe {
        let base =
            mmap_anonymous(core::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        core::slice::from_raw_parts_mut(base.cast::<u8>(), length)
    };
    whole.get_mut(..begin.len()).ok_or(Errno::PROTO)?.copy_from_slice(begin);
    let mut have = begin.len();
    while have < length {
        match message(peer, &mut whole[have..])? {
            0 => return Ok(None),
            n => have += n,
        }
    }
    Ok(Some(whole))
}

fn message(peer: &OwnedFd, space: &mut [u8]) -> Result<usize, Errno> {
    retry_on_intr(|| recv(peer, &mut *space, RecvFlags::empty())).map(|(n, _)| n)
}
