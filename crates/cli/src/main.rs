//! The binary: a bump allocator, the C library's entry, and the command.
#![no_main]

use rt_cli::startup::allocator::Bump;

#[global_allocator]
static ALLOCATOR: Bump = Bump::new();

/// The C library's entry. Rust's own would cost a sixth of the start-up of a small command: it
/// installs handlers and reads /proc for a guard page that a single-threaded program does not need.
///
/// # Safety
/// Called by the C library with its argument vector.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
    use std::os::unix::ffi::OsStringExt;
    let arguments = (0..argc as usize).map(|i| {
        // SAFETY: the C library passes argc pointers to strings.
        let text = unsafe { std::ffi::CStr::from_ptr(*argv.add(i)) };
        std::ffi::OsString::from_vec(text.to_bytes().to_vec())
    });
    // Nothing is registered to run at exit, and nothing is buffered.
    _exit(rt_cli::run(arguments.collect()))
}

unsafe extern "C" {
    /// Ends the process with all its threads (`_exit(2)`).
    safe fn _exit(code: i32) -> !;
}
