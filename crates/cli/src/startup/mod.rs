//! Everything that makes a short command start quickly, in one place, with its numbers.
//!
//! A command of rt lives for one or two milliseconds, and page faults are a good part of what it
//! costs. Each of these was measured with `hack/bench` beside a build without it;
//! docs/benchmarks.md has the history.
//!
//! | what | where | why |
//! |---|---|---|
//! | the C library's entry calls `main` at once | `main.rs` | Rust's own entry installs signal handlers and reads /proc/self/maps for a guard page: a sixth of the time of `state` |
//! | a bump allocator | `allocator.rs` | memory is given out from one room in .bss: few pages are touched, and no system call is made for it |
//! | functions side by side | `startup.order`, `build.rs` | the kernel maps 64 KiB around each page of the program that is touched; peak memory of `run` fell from 2,240 to 1,216 KB, page faults from 125 to 97 |
//! | no tables for unwinding | `build.rs` | a panic ends the program; without symbols a backtrace would say nothing |
//! | fixed addresses | `.cargo/config.toml` | relocating itself would cost every command 13 page faults (docs/security.md, "Hardening of rt itself") |
//! | clap is built for unusual command lines only | `parse/mod.rs` | building the definition costs 140 µs of every command; the quick reader reads the same table |
//! | what a command still holds at its end is left to the kernel | `runtime/src/verbs/mod.rs` | the end of the process closes and frees everything at once |
//!
//! `tests/host/tests/budget.rs` holds the counts (system calls, page faults, bytes), and
//! `hack/order --check` fails when more than 5 % of the names in `startup.order` match no function
//! of the build.

pub mod allocator;
