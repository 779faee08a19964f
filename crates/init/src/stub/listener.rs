//! Handing the seccomp listener to its agent (runtime-spec, config-linux.md "Seccomp",
//! listenerPath).
//!
//! Once the filter is attached the calling thread may not be allowed to send anything, so a second
//! thread, which the filter does not cover, waits for the descriptor's number and sends it.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, Ordering};

use rt_protocol::report::Step;
use rt_sys::clone::spawn_thread;
use rt_sys::seccomp::{NEW_LISTENER, TSYNC, attach};
use rt_sys::socket::send_fd;
use rustix::event::{Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::fail::{At, Fail};

const WAITING: i32 = -1;

struct Shared<'a> {
    socket: &'a OwnedFd,
    message: &'a [u8],
    /// The listener's number, or an errno below -1.
    listener: AtomicI32,
    /// 0 while working, 1 when sent, an errno below 0.
    done: AtomicI32,
}

/// Attaches `program` and sends the listener over `socket` with the state message, given in parts.
#[inline(never)] // For its frame, see `main.rs`.
pub fn attach_with_listener(program: &[u8], flags: u32, socket: OwnedFd, parts: [&[u8]; 3]) -> Result<(), Fail> {
    let mut message = [0; 16384];
    let mut len = 0;
    for part in parts {
        message.get_mut(len..len + part.len()).ok_or(Errno::MSGSIZE).at(Step::Send)?.copy_from_slice(part);
        len += part.len();
    }
    let shared = Shared {
        socket: &socket,
        message: message.get(..len).unwrap_or_default(),
        listener: AtomicI32::new(WAITING),
        done: AtomicI32::new(0),
    };
    let mut stack = [MaybeUninit::uninit(); 16384];
    // SAFETY: `stack` and `shared` stay until `done` is set, after which the thread touches neither
    // but to exit; this function's caller executes another program or exits, so the frame is not
    // reused before that.
    unsafe { spawn_thread(&mut stack, send, (&raw const shared).cast_mut().cast()) }?;
    // Only one thread is to be filtered: the thread that becomes the program.
    let attached = attach(program, (flags & !TSYNC) | NEW_LISTENER);
    let number = match &attached {
        Ok(Some(fd)) => fd.as_raw_fd(),
        Ok(None) => -2,
        Err(e) => -e.raw_os_error() - 2,
    };
    shared.listener.store(number, Ordering::Release);
    // From here on this thread makes no system call that the filter could turn into a notification,
    // because no agent reads notifications yet.
    let done = loop {
        match shared.done.load(Ordering::Acquire) {
            0 => core::hint::spin_loop(),
            done => break done,
        }
    };
    // The descriptors are close-on-exec; closing them here would be two more filtered calls.
    attached.map(core::mem::forget)?;
    core::mem::forget(socket);
    if done < 0 { Err(Fail::new(Step::Send, Errno::from_raw_os_error(-done))) } else { Ok(()) }
}

unsafe extern "C" fn send(arg: *mut c_void) -> ! {
    // SAFETY: the spawner keeps `Shared` alive until `done` is set.
    let shared = unsafe { &*arg.cast::<Shared<'_>>() };
    let pause = Timespec { tv_sec: 0, tv_nsec: 50_000 };
    let number = loop {
        match shared.listener.load(Ordering::Acquire) {
            WAITING => drop(poll(&mut [], Some(&pause))),
            number => break number,
        }
    };
    let result = if number < 0 {
        1
    } else {
        // SAFETY: the number of the listener, open in the shared descriptor table until exec.
        let listener = unsafe { BorrowedFd::borrow_raw(number) };
        match send_fd(shared.socket.as_fd(), listener, shared.message) {
            Ok(()) => 1,
            Err(e) => -e.raw_os_error(),
        }
    };
    shared.done.store(result, Ordering::Release);
    rt_sys::exec::exit(0)
}
