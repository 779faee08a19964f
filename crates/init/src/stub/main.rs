//! The init stub: the program that runs inside the container until the user's program does.
//!
//! No C library, no allocator, no knowledge of configs: it receives the plan and executes it op by
//! op.
//!
//! The compiler puts nearly all of it into one function, whose frame is touched page by page when
//! it begins. Functions with large buffers that few containers need are kept out of it: each page
//! is a fault of every start, and memory of every container that waits.
#![no_std]
#![no_main]

mod attributes;
mod copy;
mod credentials;
mod fail;
mod files;
mod hook;
mod listener;
mod mounts;
mod plan;
mod proc;
mod program;
mod rootfs;
mod run;
mod start;
mod temporary;
mod terminal;
mod timeline;

use core::ffi::{CStr, c_char};

use rustix::fd::{FromRawFd, OwnedFd};

// The kernel enters with the stack pointer at argc; a C-like entry wants it as an argument, on an
// aligned stack.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "and sp, x0, #-16",
    "bl {main}",
    "udf 0",
    main = sym main,
);

/// Arguments: the stub's name, and the descriptor of the report socket, over which the plan comes,
/// as text.
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc and then argc string pointers here (execve(2), the initial
    // stack).
    let argument = |n: usize| unsafe {
        if n >= *stack {
            return None;
        }
        let text = CStr::from_ptr(*stack.add(1 + n) as *const c_char);
        core::str::from_utf8(text.to_bytes()).ok()?.parse::<i32>().ok()
    };
    let Some(socket) = argument(1) else {
        rt_sys::exec::exit(255);
    };
    // SAFETY: `rt` opened this descriptor for init, and nothing else here uses its number.
    run::run(unsafe { OwnedFd::from_raw_fd(socket) })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The lints of this crate exclude panics. If one happens nevertheless, the parent sees the
    // socket close.
    rt_sys::exec::exit(254);
}
