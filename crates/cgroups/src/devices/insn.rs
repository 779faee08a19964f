//! The eBPF instructions that a device filter is made of.

use rt_sys::bpf::Insn;

/// Result of the program: 1 allows, 0 refuses.
pub(super) const R0: u8 = 0;
/// Argument: a pointer to `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`.
pub(super) const R1: u8 = 1;

/// The two instructions that end the program.
pub(super) const fn answer(allow: bool) -> [Insn; 2] {
    [move_immediate(R0, allow as i32), exit()]
}

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: dst | src << 4, off, imm }
}

/// `BPF_LDX | BPF_MEM | BPF_W`
pub(super) const fn load32(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x61, dst, src, off, 0)
}

/// `BPF_ALU | BPF_MOV | BPF_X`
pub(super) const fn move32(dst: u8, src: u8) -> Insn {
    insn(0xbc, dst, src, 0, 0)
}

/// `BPF_ALU | BPF_XOR | BPF_K`
pub(super) const fn xor32(dst: u8, number: u32) -> Insn {
    insn(0xa4, dst, 0, 0, number as i32)
}

/// `BPF_ALU | BPF_OR | BPF_X`
pub(super) const fn or32(dst: u8, src: u8) -> Insn {
    insn(0x4c, dst, src, 0, 0)
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`
pub(super) const fn move_immediate(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// `BPF_ALU | BPF_AND | BPF_K`
pub(super) const fn and32(dst: u8, imm: i32) -> Insn {
    insn(0x54, dst, 0, 0, imm)
}

/// `BPF_ALU | BPF_RSH | BPF_K`
pub(super) const fn shift_right32(dst: u8, imm: i32) -> Insn {
    insn(0x74, dst, 0, 0, imm)
}

/// `BPF_JMP | BPF_JA`
pub(super) const fn jump(off: i16) -> Insn {
    insn(0x05, 0, 0, off, 0)
}

/// `BPF_JMP32 | BPF_JEQ | BPF_K` (Linux 5.1)
pub(super) const fn jump_equal32(dst: u8, number: u32, off: i16) -> Insn {
    insn(0x16, dst, 0, off, number as i32)
}

/// `BPF_JMP32 | BPF_JNE | BPF_K` (Linux 5.1)
pub(super) const fn jump_not_equal32(dst: u8, number: u32, off: i16) -> Insn {
    insn(0x56, dst, 0, off, number as i32)
}

/// `BPF_JMP32 | BPF_JSET | BPF_K` (Linux 5.1)
pub(super) const fn jump_any_set32(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x46, dst, 0, off, imm)
}

/// `BPF_JMP | BPF_EXIT`
pub(super) const fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}
