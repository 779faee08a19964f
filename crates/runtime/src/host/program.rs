//! What a program file needs before the kernel can execute it: an interpreter, a loader, a
//! processor.

use std::fmt::Write as _;

/// What the first bytes of a program file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `#!`, and the interpreter's path as it stands there.
    Script {
        /// The path, with a carriage return at its end if the line ends in one.
        interpreter: String,
    },
    /// An ELF program for the processor with this number (`e_machine`, elf(5)).
    Elf {
        /// The number.
        machine: u16,
        /// Where the loader's path lies in the file, and how long it is; None for a static program.
        loader: Option<(u64, u64)>,
    },
    /// Neither.
    Unknown {
        /// The file has no bytes.
        empty: bool,
    },
}

/// Processors by `e_machine`; the first is the one this binary runs on.
#[cfg(target_arch = "x86_64")]
const OWN: &[u16] = &[62, 3];
#[cfg(target_arch = "aarch64")]
const OWN: &[u16] = &[183, 40];

const MACHINES: [(u16, &str); 9] = [
    (3, "i386"),
    (8, "mips"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

fn machine_name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("processor {machine}"), |(_, name)| (*name).to_owned())
}

impl Format {
    /// Reads the first bytes of a file; a few hundred are enough.
    pub fn of(head: &[u8]) -> Format {
        if let Some(rest) = head.strip_prefix(b"#!") {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = line.trim_ascii_start();
            let path = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).next().unwrap_or_default();
            return Format::Script { interpreter: String::from_utf8_lossy(path).into_owned() };
        }
        elf(head).unwrap_or(Format::Unknown { empty: head.is_empty() })
    }

    /// The sentence for a program of another processor.
    pub fn foreign(&self, path: &str) -> Option<String> {
        match self {
            Format::Elf { machine, .. } if !OWN.contains(machine) => {
                let own = OWN.first().copied().map(machine_name).unwrap_or_default();
                Some(format!("{path} is a program for {}, and this machine is {own}", machine_name(*machine)))
            }
            _ => None,
        }
    }

    /// Why the kernel refuses to execute the file at `path`, as far as the file says; `loader` is
    /// the path of its loader. Of scripts and programs with a loader this is about files that are
    /// missing, which the kernel reports as if the program were.
    pub fn complaint(&self, path: &str, loader: Option<&str>) -> Option<String> {
        let missing = |what: &str, file: &str| format!("{what} {file:?} of {path} does not exist in the container");
        if let Some(sentence) = self.foreign(path) {
            return Some(sentence);
        }
        Some(match self {
            Format::Script { interpreter } if interpreter.ends_with('\r') => {
                let line = "the first line ends in a carriage return: save the file with Unix line ends";
                format!("{}; {line}", missing("the interpreter", interpreter))
            }
            Format::Script { interpreter } if interpreter.is_empty() => {
                format!("{path} has no interpreter behind its #!")
            }
            Format::Script { interpreter } => missing("the interpreter", interpreter),
            Format::Elf { .. } => missing("the loader", loader?),
            Format::Unknown { empty: true } => format!("{path} is empty"),
            Format::Unknown { .. } => {
                format!("{path} is neither an ELF program nor a script that begins with #!")
            }
        })
    }
}

/// The header of a little-endian ELF file of 32 or 64 bits, and its PT_INTERP.
fn elf(head: &[u8]) -> Option<Format> {
    const PT_INTERP: u64 = 3;
    head.strip_prefix(b"\x7fELF")?;
    let wide = *head.get(4)? == 2;
    // A processor of the other byte order: its number is all that counts.
    if *head.get(5)? != 1 {
        let machine = u16::from_be_bytes(head.get(18..20)?.try_into().ok()?);
        return Some(Format::Elf { machine, loader: None });
    }
    let number = |at: u64, bytes: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = head.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    let machine = number(18, 2)? as u16;
    let (offset, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    let header = |i: u64| {
        let at = |field: u64| offset.checked_add(i * size)?.checked_add(field);
        let (place, length) = if wide { (at(8)?, at(32)?) } else { (at(4)?, at(16)?) };
        let bytes = if wide { 8 } else { 4 };
        (number(at(0)?, 4)? == PT_INTERP).then_some((number(place, bytes)?, number(length, bytes)?))
    };
    Some(Format::Elf { machine, loader: (0..count.min(64)).find_map(header) })
}

/// The sentence for a program that was found and could not be executed, from what init read of it:
/// its path, the path of its loader, its first bytes, with a NUL after each of the first two.
pub fn explain(read: &[u8]) -> Option<String> {
    let mut parts = read.splitn(3, |byte| *byte == 0);
    let (path, loader, head) = (parts.next()?, parts.next()?, parts.next()?);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (path, loader) = (text(path), text(loader));
    let mut sentence = Format::of(head).complaint(&path, Some(loader.as_str()).filter(|loader| !loader.is_empty()))?;
    let _ = write!(sentence, ": exec {path}");
    Some(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_their_line_ends() {
        let script = |text: &str| Format::of(text.as_bytes());
        assert_eq!(script("#! /bin/sh -e\nx"), Format::Script { interpreter: "/bin/sh".into() });
        assert_eq!(script("#!/bin/sh\r\nx"), Format::Script { interpreter: "/bin/sh\r".into() });
        assert!(script("#!/bin/sh\r\n").complaint("/x", None).unwrap().contains("Unix line ends"));
        assert_eq!(script("echo"), Format::Unknown { empty: false });
        assert_eq!(script(""), Format::Unknown { empty: true });
    }

    /// This test is itself an ELF program.
    #[test]
    fn programs_and_their_processors() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let Format::Elf { machine, .. } = Format::of(&own[..512]) else { panic!() };
        assert_eq!(Some(&machine), OWN.first());
        let mut foreign = own[..512].to_vec();
        foreign[18] = 22;
        let complaint = Format::of(&foreign).complaint("/x", None).unwrap();
        assert!(complaint.starts_with("/x is a program for s390x"), "{complaint}");
    }

    /// Whatever a file holds, reading it must not panic.
    #[test]
    fn cut_headers_are_no_programs() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for end in 0..256 {
            let _ = Format::of(&own[..end]);
        }
        let mut bent = own[..256].to_vec();
        bent[28..64].fill(0xff);
        assert!(matches!(Format::of(&bent), Format::Elf { loader: None, .. }));
        assert_eq!(
            explain(b"/x\0\0#!/bin/none\n"),
            Some(r#"the interpreter "/bin/none" of /x does not exist in the container: exec /x"#.into())
        );
        assert_eq!(explain(b"/x"), None);
    }
}
