//! The registers of a process that is stopped at a system call.

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The number of the call at whose entry `pid` is stopped; None at the exit of a call.
pub fn entered_call(pid: Pid) -> nix::Result<Option<u64>> {
    // linux/ptrace.h.
    const PTRACE_GET_SYSCALL_INFO: libc::c_int = 0x420e;
    const PTRACE_SYSCALL_INFO_ENTRY: u64 = 1;
    let mut info = [0_u64; 11];
    // SAFETY: the kernel writes no more than the size that it is given.
    let done = unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, pid.as_raw(), size_of_val(&info), &raw mut info) };
    Errno::result(done)?;
    // The first byte says which stop it is; in front of the number are 24 bytes.
    Ok((info[0].to_le() & 0xff == PTRACE_SYSCALL_INFO_ENTRY).then_some(info[3]))
}

/// At the entry of a call: it is not made.
#[cfg(target_arch = "x86_64")]
pub fn leave_out_call(pid: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers)
}

/// At the exit of a call: its result.
#[cfg(target_arch = "x86_64")]
pub fn set_result(pid: Pid, result: i64) -> nix::Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.rax = result as u64;
    ptrace::setregs(pid, registers)
}

/// At the entry of a call: it is not made.
#[cfg(target_arch = "aarch64")]
pub fn leave_out_call(pid: Pid) -> nix::Result<()> {
    // linux/elf.h; the number is no general register.
    const NT_ARM_SYSTEM_CALL: usize = 0x404;
    let mut number = -1_i32;
    let mut set = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<i32>() };
    // SAFETY: the kernel reads one number through `set`, as this register set has it.
    let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut set) };
    Errno::result(done).map(drop)
}

/// At the exit of a call: its result.
#[cfg(target_arch = "aarch64")]
pub fn set_result(pid: Pid, result: i64) -> nix::Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.regs[0] = result as u64;
    ptrace::setregs(pid, registers)
}
