//! bpf(2), as far as a cgroup device filter needs it: load, attach, detach, query, and fds of
//! programs by id.
//!
//! Every call passes one attribute of [`ATTR_LEN`] bytes. A kernel that knows fewer bytes accepts
//! the zeroes behind them; a kernel that knows more reads zeroes. Passing less is not safe: Linux
//! 6.17 to 7.1 write `query.revision` whatever length was passed, so a short query attribute has
//! its neighbour on the stack overwritten.

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::raw::{nr, syscall3};

/// Length of the attribute passed with every command, beyond what any field used here needs.
const ATTR_LEN: usize = 192;

const BPF_PROG_LOAD: usize = 5;
const BPF_PROG_ATTACH: usize = 8;
const BPF_PROG_DETACH: usize = 9;
const BPF_PROG_GET_FD_BY_ID: usize = 13;
const BPF_OBJ_GET_INFO_BY_FD: usize = 15;
const BPF_PROG_QUERY: usize = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// Length of a program's name in the kernel, the terminating NUL included.
pub const NAME_LEN: usize = 16;

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Operation code: class, size or operation, source.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub regs: u8,
    /// Jump distance or memory offset.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LEN],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Attach {
    target_fd: u32,
    prog_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_prog_fd: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    fd: u32,
    len: u32,
    info: u64,
}

/// `union bpf_attr`.
#[repr(C)]
union Attr {
    bytes: [u64; ATTR_LEN / 8],
    load: Load,
    attach: Attach,
    query: Query,
    prog_id: u32,
    info: Info,
}

impl Attr {
    /// All zeroes, which the kernel demands of every byte that a command does not use.
    fn zeroed() -> Attr {
        Attr { bytes: [0; ATTR_LEN / 8] }
    }
}

/// The system call.
///
/// # Safety
/// The attribute must be filled for `cmd`, and every address in it valid for what the command reads
/// or writes there.
unsafe fn bpf(cmd: usize, attr: &mut Attr) -> Result<usize, Errno> {
    // SAFETY: the attribute is ours for the length passed; the caller vouches for its contents.
    unsafe { syscall3(nr::BPF, cmd, core::ptr::from_mut(attr) as usize, ATTR_LEN) }
}

/// Takes ownership of a file descriptor that the kernel returned just now.
fn owned(fd: usize) -> OwnedFd {
    // SAFETY: bpf(2) returned this descriptor to us and nothing else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Loads a cgroup device program (Linux 4.15). The descriptor is close-on-exec.
///
/// `name` shows up in `bpftool`; it may have letters, digits, `_` and `.`, and is cut to 15 bytes.
pub fn load_device_program(insns: &[Insn], license: &CStr, name: &CStr) -> Result<OwnedFd, Errno> {
    let mut prog_name = [0; NAME_LEN];
    for (to, from) in prog_name[..NAME_LEN - 1].iter_mut().zip(name.to_bytes()) {
        *to = *from;
    }
    let mut attr = Attr::zeroed();
    attr.load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: instructions and licence outlive the call, and their lengths are theirs.
    unsafe { bpf(BPF_PROG_LOAD, &mut attr) }.map(owned)
}

/// Attaches a device program to a cgroup, beside those that are there or, with `replace`, in the
/// place of that one (Linux 5.6; older kernels answer EINVAL).
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attr::zeroed();
    attr.attach = Attach {
        target_fd: raw(cgroup),
        prog_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_prog_fd: replace.map_or(0, raw),
    };
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches a device program from a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = Attr::zeroed();
    attr.attach = Attach {
        target_fd: raw(cgroup),
        prog_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_prog_fd: 0,
    };
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// Writes the ids of the device programs attached directly to a cgroup into `ids` and returns how
/// many there are.
///
/// More programs than `ids` has room for are an ENOSPC.
pub fn query_device_programs(cgroup: BorrowedFd<'_>, ids: &mut [u32]) -> Result<usize, Errno> {
    let mut attr = Attr::zeroed();
    attr.query = Query {
        target_fd: raw(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
    };
    // SAFETY: the kernel writes at most `ids.len()` ids at the address of `ids`.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    // SAFETY: a query attribute was written above, and the kernel keeps it one; any bytes are a
    // valid count.
    Ok(unsafe { attr.query.prog_cnt } as usize)
}

/// Opens the program with this id (needs CAP_SYS_ADMIN). The descriptor is close-on-exec.
pub fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = Attr::zeroed();
    attr.prog_id = id;
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }.map(owned)
}

/// The name that a program was loaded with, NUL-padded.
pub fn program_name(program: BorrowedFd<'_>) -> Result<[u8; NAME_LEN], Errno> {
    /// The head of `struct bpf_prog_info`, up to and including the name.
    #[repr(C)]
    struct ProgInfo {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        jited_len: u32,
        xlated_len: u32,
        jited_insns: u64,
        xlated_insns: u64,
        load_time: u64,
        uid: u32,
        nr_map_ids: u32,
        map_ids: u64,
        name: [u8; NAME_LEN],
    }
    // SAFETY: plain numbers; zero is a valid value of each, and makes the kernel leave the optional
    // buffers alone.
    let mut info: ProgInfo = unsafe { core::mem::zeroed() };
    let mut attr = Attr::zeroed();
    attr.info = Info {
        fd: raw(program),
        len: core::mem::size_of::<ProgInfo>() as u32,
        info: core::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the kernel writes at most `len` bytes at the address of `info`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info.name)
}
