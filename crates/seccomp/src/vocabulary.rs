//! The words of a profile: architectures, operators and flags, and [`Named`], a word that may be
//! unknown.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A set of words that a profile may use.
pub trait Vocabulary: Sized {
    /// The value that `word` names.
    fn from_word(word: &str) -> Option<Self>;
    /// The word, as profiles spell it.
    fn word(&self) -> &'static str;
}

/// A word of a profile, resolved when it is read.
///
/// An unknown word is kept, not refused by the parser: an unknown system call is no error at all,
/// and for the rest [`compile`](super::compile) can say where in the profile it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named<T> {
    /// A word we know.
    Known(T),
    /// Anything else, as written.
    Unknown(Box<str>),
}

impl<T: Vocabulary> Named<T> {
    /// Looks `word` up.
    pub fn new(word: &str) -> Self {
        T::from_word(word).map_or_else(|| Self::Unknown(word.into()), Self::Known)
    }

    /// The word as the profile spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.word(),
            Self::Unknown(word) => word,
        }
    }

    /// The value, or the word that has none.
    pub fn known(&self) -> Result<&T, &str> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Unknown(word) => Err(word),
        }
    }
}

impl<T: Vocabulary> Default for Named<T> {
    /// The empty word: what an absent field holds.
    fn default() -> Self {
        Self::Unknown(Box::default())
    }
}

impl<T: Vocabulary> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Looked up in the parser's own buffer: a profile of 400 known names allocates for none of
        // them.
        struct Word<T>(PhantomData<T>);
        impl<T: Vocabulary> de::Visitor<'_> for Word<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, word: &str) -> Result<Named<T>, E> {
                Ok(Named::new(word))
            }
        }
        deserializer.deserialize_str(Word(PhantomData))
    }
}

/// Defines an enum and its words.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl Vocabulary for $name {
            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
            fn word(&self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}
pub(super) use vocabulary;

vocabulary! {
    /// A comparison of a system call's argument with a value.
    Op {
        /// Not equal.
        Ne = "SCMP_CMP_NE",
        /// Less than.
        Lt = "SCMP_CMP_LT",
        /// At most.
        Le = "SCMP_CMP_LE",
        /// Equal.
        Eq = "SCMP_CMP_EQ",
        /// At least.
        Ge = "SCMP_CMP_GE",
        /// Greater than.
        Gt = "SCMP_CMP_GT",
        /// Equal to `valueTwo` in the bits of `value`.
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
}

vocabulary! {
    /// A flag for seccomp(2).
    Flag {
        /// Accepted without effect, as in runc: the filter is attached by a process with one
        /// thread.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Log every action but allow.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leave speculative store bypass on.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// Once the agent has received a notification, only a fatal signal interrupts the wait for
        /// its answer.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

impl Flag {
    /// The bit in the flags of seccomp(2).
    pub fn bit(self) -> u32 {
        match self {
            Self::Tsync => 1,
            Self::Log => 1 << 1,
            Self::SpecAllow => 1 << 2,
            Self::WaitKillableRecv => 1 << 5,
        }
    }
}

vocabulary! {
    /// A system-call ABI.
    Arch {
        /// 64-bit x86.
        X86_64 = "SCMP_ARCH_X86_64",
        /// 32-bit x86.
        X86 = "SCMP_ARCH_X86",
        /// 64-bit x86 with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// 64-bit Arm.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// 32-bit Arm, EABI.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit RISC-V.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// 64-bit s390.
        S390x = "SCMP_ARCH_S390X",
        /// 31-bit s390.
        S390 = "SCMP_ARCH_S390",
        /// 64-bit little-endian PowerPC.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// 64-bit big-endian PowerPC.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// 32-bit PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// 64-bit LoongArch.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// 32-bit big-endian MIPS.
        Mips = "SCMP_ARCH_MIPS",
        /// 64-bit big-endian MIPS.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// 64-bit big-endian MIPS with 32-bit pointers.
        Mips64N32 = "SCMP_ARCH_MIPS64N32",
        /// 32-bit little-endian MIPS.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// 64-bit little-endian MIPS.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// 64-bit little-endian MIPS with 32-bit pointers.
        Mipsel64N32 = "SCMP_ARCH_MIPSEL64N32",
    }
}

impl Arch {
    /// What the kernel puts into `seccomp_data.arch` (linux/audit.h). x32 shares x86_64's and
    /// differs in the number's bit 30.
    pub fn audit(self) -> u32 {
        const BITS64: u32 = 0x8000_0000;
        const LITTLE: u32 = 0x4000_0000;
        const N32: u32 = 0x2000_0000;
        match self {
            Self::X86_64 | Self::X32 => 62 | BITS64 | LITTLE,
            Self::X86 => 3 | LITTLE,
            Self::Aarch64 => 183 | BITS64 | LITTLE,
            Self::Arm => 40 | LITTLE,
            Self::Riscv64 => 243 | BITS64 | LITTLE,
            Self::S390x => 22 | BITS64,
            Self::S390 => 22,
            Self::Ppc64le => 21 | BITS64 | LITTLE,
            Self::Ppc64 => 21 | BITS64,
            Self::Ppc => 20,
            Self::Loongarch64 => 258 | BITS64 | LITTLE,
            Self::Mips => 8,
            Self::Mips64 => 8 | BITS64,
            Self::Mips64N32 => 8 | BITS64 | N32,
            Self::Mipsel => 8 | LITTLE,
            Self::Mipsel64 => 8 | BITS64 | LITTLE,
            Self::Mipsel64N32 => 8 | BITS64 | N32 | LITTLE,
        }
    }

    /// Whether arguments are compared in full. Of an ABI with 32-bit pointers the low words count
    /// alone, as in libseccomp.
    pub fn compares_64_bits(self) -> bool {
        self.audit() & 0x8000_0000 != 0 && !matches!(self, Self::X32 | Self::Mips64N32 | Self::Mipsel64N32)
    }

    /// Whether the low word of an argument is the second one in memory.
    pub fn big_endian(self) -> bool {
        self.audit() & 0x4000_0000 == 0
    }

    /// Whether socketcall(2) and ipc(2) carry the socket and System V IPC calls.
    pub fn multiplexes(self) -> bool {
        use Arch::*;
        matches!(self, X86 | S390x | S390 | Ppc64le | Ppc64 | Ppc | Mips | Mipsel)
    }

    /// The architecture this program was built for.
    pub fn native() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else if cfg!(target_arch = "s390x") {
            Self::S390x
        } else if cfg!(target_arch = "powerpc64") {
            if cfg!(target_endian = "little") { Self::Ppc64le } else { Self::Ppc64 }
        } else if cfg!(target_arch = "loongarch64") {
            Self::Loongarch64
        } else if cfg!(target_arch = "arm") {
            Self::Arm
        } else if cfg!(target_arch = "x86") {
            Self::X86
        } else {
            Self::X86_64
        }
    }
}
