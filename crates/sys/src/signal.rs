//! Dispositions of signals (rt_sigaction(2)).

use rustix::io::Errno;
use rustix::process::Signal;

use crate::raw::{nr, syscall5};

/// `struct sigaction` as the kernel takes it (asm/signal.h).
#[repr(C)]
#[derive(Default)]
struct Action {
    handler: usize,
    flags: usize,
    #[cfg(target_arch = "x86_64")]
    restorer: usize,
    mask: u64,
}

const SA_RESTART: usize = 0x1000_0000;

// x86-64 has no return from a handler of its own: the process brings the call of rt_sigreturn(2),
// which is number 15.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".local rt_sys_signal_return", "rt_sys_signal_return:", "mov eax, 15", "syscall", "ud2",);

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    fn rt_sys_signal_return();
}

extern "C" fn nothing(_signal: i32) {}

/// The signal of a number, those of real time included (1 to 64).
pub fn signal(number: u32) -> Option<Signal> {
    let raw = i32::try_from(number).ok().filter(|raw| (1..=64).contains(raw))?;
    // SAFETY: the number is a signal's. Those that a C library keeps for itself, which the function
    // warns of, are only ever sent to other processes, and by the kernel's calls.
    Some(unsafe { Signal::from_raw_unchecked(raw) })
}

/// Handles `signal` (1 to 64) by doing nothing. To this process that is the same as ignoring it:
/// interrupted calls go on. But an ignored signal stays ignored over execve(2), and a handled one
/// has its default action again (signal(7)).
pub fn handle_by_nothing(signal: u32) -> Result<(), Errno> {
    let action = Action { handler: nothing as *const () as usize, ..action() };
    // SAFETY: `action` is a live sigaction with a handler that touches nothing and, where the
    // architecture needs that, a restorer; no old action is asked for, and a signal set has 8
    // bytes.
    unsafe { syscall5(nr::RT_SIGACTION, signal as usize, &raw const action as usize, 0, size_of::<u64>(), 0) }.map(drop)
}

/// Whether this process ignores `signal` (1 to 64).
pub fn is_ignored(signal: u32) -> bool {
    const SIG_IGN: usize = 1;
    let mut action = Action::default();
    // SAFETY: no new action is given; `action` is live and of the kernel's form, and a signal set
    // has 8 bytes.
    let asked =
        unsafe { syscall5(nr::RT_SIGACTION, signal as usize, 0, &raw mut action as usize, size_of::<u64>(), 0) };
    asked.is_ok() && action.handler == SIG_IGN
}

#[cfg(target_arch = "x86_64")]
fn action() -> Action {
    const SA_RESTORER: usize = 0x0400_0000;
    Action {
        flags: SA_RESTART | SA_RESTORER,
        restorer: rt_sys_signal_return as *const () as usize,
        ..Action::default()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn action() -> Action {
    Action { flags: SA_RESTART, ..Action::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    extern crate std;

    /// A signal that arrives nevertheless must change nothing, the first real-time signal included.
    #[test]
    fn a_signal_handled_by_nothing_is_not_ignored_and_harms_nobody() {
        for signal in [13, 34] {
            handle_by_nothing(signal).unwrap();
            assert_eq!(ignored() & 1 << (signal - 1), 0);
            assert!(!is_ignored(signal));
        }
        let pid = rustix::process::getpid();
        rustix::process::kill_process(pid, rustix::process::Signal::PIPE).unwrap();
        assert_eq!(handle_by_nothing(9), Err(Errno::INVAL));
    }
}
