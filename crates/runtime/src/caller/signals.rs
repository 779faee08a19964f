//! What this process has inherited from its caller and must not hand down to the processes it
//! starts.

use std::sync::OnceLock;

use rt_sys::signal::{handle_by_nothing, is_ignored};

/// Sees to it that no process which is started from here on begins with an ignored signal, and that
/// each can be waited for.
///
/// execve(2) keeps ignored signals ignored, and CLONE_CLEAR_SIGHAND does so, too; with SIGCHLD
/// ignored, the kernel reaps children by itself and wait(2) fails. Done once, before the first
/// process is started; a caller that ignores nothing costs one look.
pub fn start_with_default_signals() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // One look at /proc shows all ignored signals; where /proc is hidden, each signal is asked
        // for.
        let ignored = ignored_signals();
        let is_ignored = |signal| ignored.map_or_else(|| is_ignored(signal), |mask| mask >> (signal - 1) & 1 == 1);
        for signal in (1..=64).filter(|signal| is_ignored(*signal)) {
            // Of the 64 signals only SIGKILL and SIGSTOP are refused, and these cannot be ignored.
            let _ = handle_by_nothing(signal);
        }
    });
}

/// Makes a write beyond the caller's limit on the size of files (RLIMIT_FSIZE, getrlimit(2)) an error,
/// where it would end this process in the middle of its work. A program that is executed has the
/// default action again.
pub fn survive_file_size_limit() {
    const SIGXFSZ: u32 = 25;
    let _ = handle_by_nothing(SIGXFSZ);
}

/// Bit n-1 is signal n (`SigIgn` of proc_pid_status(5)); None if /proc does not say.
fn ignored_signals() -> Option<u64> {
    let status = rt_sys::file::read_record(c"/proc/self/status").ok()?;
    ignored_in(&status)
}

fn ignored_in(status: &[u8]) -> Option<u64> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigIgn:"))?;
    u64::from_str_radix(std::str::from_utf8(line).ok()?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read_as_the_kernel_writes_it() {
        assert_eq!(ignored_in(b"SigBlk:\t0000000000000001\nSigIgn:\t8000000000001000\n"), Some(1 << 63 | 1 << 12));
        assert_eq!(ignored_in(b"Name:\trt\n"), None);
    }
}
