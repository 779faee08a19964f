//! System calls by name: a hash table folded at compile time out of the rows of `syscalls.rs`.
//!
//! No pointers and nothing built at start: names in one string, offsets and numbers in `u16`. A
//! profile names 400 calls, and a process that lives for milliseconds should neither relocate 500
//! string slices nor search 9 levels for each.

use super::syscalls::{ARM, NO, ROWS};
use super::vocabulary::{Arch, Vocabulary};

/// A system call known by name on at least one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall(u16);

/// A row's numbers, in the order of the rows of `syscalls.rs`.
#[derive(Clone, Copy)]
enum Column {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    S390x,
    S390,
    Ppc64,
    Ppc,
    Loongarch64,
    MipsO32,
    MipsN64,
    MipsN32,
}

impl Column {
    fn of(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64,
            Arch::X86 => Self::X86,
            Arch::X32 => Self::X32,
            Arch::Aarch64 => Self::Aarch64,
            Arch::Arm => Self::Arm,
            Arch::Riscv64 => Self::Riscv64,
            Arch::S390x => Self::S390x,
            Arch::S390 => Self::S390,
            Arch::Ppc64 | Arch::Ppc64le => Self::Ppc64,
            Arch::Ppc => Self::Ppc,
            Arch::Loongarch64 => Self::Loongarch64,
            Arch::Mips | Arch::Mipsel => Self::MipsO32,
            Arch::Mips64 | Arch::Mipsel64 => Self::MipsN64,
            Arch::Mips64N32 | Arch::Mipsel64N32 => Self::MipsN32,
        }
    }
}

/// The lowest number of an architecture's table.
pub(super) fn base(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => X32_BIT,
        Arch::Mips | Arch::Mipsel => 4000,
        Arch::Mips64 | Arch::Mipsel64 => 5000,
        Arch::Mips64N32 | Arch::Mipsel64N32 => 6000,
        _ => 0,
    }
}

/// Marks a system call of the x32 ABI.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// Where Arm's private system calls begin.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

impl Syscall {
    /// Looks a name up.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes()) as usize % SLOTS;
        loop {
            match INDEX[slot] {
                NO => return None,
                row if name_of(row) == name => return Some(Self(row)),
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        name_of(self.0)
    }

    /// The number on `arch`, if the call exists there.
    pub fn number(self, arch: Arch) -> Option<u32> {
        match NUMBERS[self.0 as usize][Column::of(arch) as usize] {
            NO => None,
            number if number >= ARM => Some(ARM_PRIVATE + u32::from(number - ARM)),
            number => Some(base(arch) + u32::from(number)),
        }
    }

    /// The call that carries this one on architectures that multiplex, and the selector it has
    /// there.
    pub(super) fn multiplexer(self) -> Option<(Self, u8)> {
        match SELECTORS[self.0 as usize] {
            0 => None,
            selector if selector > THROUGH_IPC => Some((Self(IPC), selector - THROUGH_IPC)),
            selector => Some((Self(SOCKETCALL), selector)),
        }
    }

    /// The system call with this number; a search through all names, for people's eyes only.
    pub fn from_number(arch: Arch, number: u32) -> Option<Self> {
        Self::all().find(|call| call.number(arch) == Some(number))
    }

    /// Every system call, sorted by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROWS.len() as u16).map(Self)
    }
}

impl Vocabulary for Syscall {
    fn from_word(word: &str) -> Option<Self> {
        Self::from_name(word)
    }
    fn word(&self) -> &'static str {
        self.name()
    }
}

const SLOTS: usize = 1024;
static NAMES: [u8; name_bytes()] = names();
static OFFSETS: [u16; ROWS.len() + 1] = offsets();
static NUMBERS: [[u16; 14]; ROWS.len()] = numbers();
static INDEX: [u16; SLOTS] = index();
static SELECTORS: [u8; ROWS.len()] = selectors();
const SOCKETCALL: u16 = row("socketcall");
const IPC: u16 = row("ipc");
/// Added to the selectors of ipc(2).
const THROUGH_IPC: u8 = 100;

fn name_of(row: u16) -> &'static str {
    let name = &NAMES[OFFSETS[row as usize] as usize..OFFSETS[row as usize + 1] as usize];
    std::str::from_utf8(name).unwrap_or_default()
}

/// FNV-1a; any hash that spreads 500 names over 1024 slots would do.
const fn hash(name: &[u8]) -> u32 {
    let (mut hash, mut i) = (0x811c_9dc5u32, 0);
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash ^ (hash >> 15)
}

const fn name_bytes() -> usize {
    offsets()[ROWS.len()] as usize
}

const fn offsets() -> [u16; ROWS.len() + 1] {
    let (mut offsets, mut row) = ([0; ROWS.len() + 1], 0);
    while row < ROWS.len() {
        offsets[row + 1] = offsets[row] + ROWS[row].0.len() as u16;
        row += 1;
    }
    offsets
}

const fn names() -> [u8; name_bytes()] {
    let (mut names, mut at, mut row) = ([0; name_bytes()], 0, 0);
    while row < ROWS.len() {
        let (name, mut i) = (ROWS[row].0.as_bytes(), 0);
        while i < name.len() {
            names[at] = name[i];
            at += 1;
            i += 1;
        }
        row += 1;
    }
    names
}

const fn numbers() -> [[u16; 14]; ROWS.len()] {
    let (mut numbers, mut row) = ([[NO; 14]; ROWS.len()], 0);
    while row < ROWS.len() {
        numbers[row] = ROWS[row].1;
        row += 1;
    }
    numbers
}

const fn index() -> [u16; SLOTS] {
    let (mut index, mut row) = ([NO; SLOTS], 0);
    while row < ROWS.len() {
        let mut slot = hash(ROWS[row].0.as_bytes()) as usize % SLOTS;
        while index[slot] != NO {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = row as u16;
        row += 1;
    }
    index
}

/// The first argument of socketcall(2) (linux/net.h) and ipc(2) (linux/ipc.h) for each name that
/// they carry.
const fn selectors() -> [u8; ROWS.len()] {
    const SOCKET: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u8); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    let (mut selectors, mut i) = ([0; ROWS.len()], 0);
    while i < SOCKET.len() {
        selectors[row(SOCKET[i]) as usize] = i as u8 + 1;
        i += 1;
    }
    i = 0;
    while i < IPC.len() {
        selectors[row(IPC[i].0) as usize] = THROUGH_IPC + IPC[i].1;
        i += 1;
    }
    selectors
}

/// A row by name; a compile error for a name that is not there.
const fn row(name: &str) -> u16 {
    let mut row = 0;
    while !equal(ROWS[row].0.as_bytes(), name.as_bytes()) {
        row += 1;
    }
    row as u16
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row can be found, and what is not there is not found.
    #[test]
    fn every_name_is_found_and_no_other() {
        for call in Syscall::all() {
            assert_eq!(Syscall::from_name(call.name()), Some(call));
            assert_eq!(Syscall::from_name(&format!("{}_", call.name())), None);
        }
        assert_eq!(Syscall::from_name(""), None);
    }

    /// Numbers from the manual pages and the kernel's tables, one or more for each encoding.
    #[test]
    fn numbers_are_the_kernels() {
        for (name, arch, number) in [
            ("read", Arch::X86_64, Some(0)),
            ("read", Arch::X86, Some(3)),
            ("read", Arch::X32, Some(0x4000_0000)),
            ("rt_sigaction", Arch::X32, Some(0x4000_0000 + 512)),
            ("socket", Arch::X86, Some(359)),
            ("accept", Arch::X86, None),
            ("openat2", Arch::Aarch64, Some(437)),
            ("open", Arch::Aarch64, None),
            ("set_tls", Arch::Arm, Some(983_045)),
            ("riscv_flush_icache", Arch::Riscv64, Some(259)),
            ("s390_runtime_instr", Arch::S390x, Some(342)),
            ("read", Arch::Mips, Some(4003)),
            ("read", Arch::Mipsel64, Some(5000)),
            ("read", Arch::Mips64N32, Some(6000)),
            ("clone3", Arch::Loongarch64, Some(435)),
            ("swapcontext", Arch::Ppc64le, Some(249)),
        ] {
            assert_eq!(Syscall::from_name(name).unwrap().number(arch), number, "{name} on {arch:?}");
        }
    }

    /// What the compiler's dense tables rely on.
    #[test]
    fn numbers_fit_the_dense_table() {
        for call in Syscall::all() {
            for &arch in Arch::ALL {
                if let Some(number) = call.number(arch).filter(|&n| n < ARM_PRIVATE || arch == Arch::X32) {
                    assert!(number - base(arch) < 600, "{} on {arch:?}", call.name());
                }
            }
        }
    }

    /// The tables are in a binary that counts its pages.
    #[test]
    fn the_tables_are_small() {
        let bytes = size_of_val(&NAMES) + size_of_val(&OFFSETS) + size_of_val(&NUMBERS) + size_of_val(&INDEX);
        assert!(bytes < 32 * 1024, "{bytes}");
    }
}
