//! A program for people to read.

use std::fmt::Write;

use seccompiler::sock_filter;

use super::action::describe_return;
use super::asm::{code, offset};
use super::table::Syscall;
use super::vocabulary::{Arch, Vocabulary};

/// One line per instruction: its index, what it does, and the next instruction if that is not the
/// next line.
///
/// A number is shown with the system call of the architecture that the code is for, where that is
/// known: it is the last architecture that was compared on the way down.
pub fn disassemble(filter: &[sock_filter]) -> String {
    let mut text = String::new();
    let archs = archs(filter);
    for (at, insn) in filter.iter().enumerate() {
        let line = instruction(insn, at, &archs[at]);
        let _ = writeln!(text, "{at:4}  {line}");
    }
    text
}

/// What the accumulator holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Number,
    Arch,
    Other,
}

/// What is known when an instruction is reached.
#[derive(Clone, Copy)]
struct Context {
    audit: Option<u32>,
    holds: Holds,
}

/// Follows all jumps once, from the start; the first way to an instruction decides what is said of
/// it.
fn archs(filter: &[sock_filter]) -> Vec<Context> {
    let nothing = Context { audit: None, holds: Holds::Other };
    let mut contexts: Vec<Option<Context>> = vec![None; filter.len()];
    if let Some(first) = contexts.first_mut() {
        *first = Some(nothing);
    }
    for (at, insn) in filter.iter().enumerate() {
        let Some(context) = contexts[at] else {
            continue;
        };
        let mut flow = |distance: usize, context: Context| {
            if let Some(slot) = contexts.get_mut(at + 1 + distance) {
                slot.get_or_insert(context);
            }
        };
        let (jt, jf) = (usize::from(insn.jt), usize::from(insn.jf));
        match insn.code {
            code::RETURN => {}
            code::JUMP => flow(insn.k as usize, context),
            code::LOAD => {
                let holds = match insn.k {
                    offset::NUMBER => Holds::Number,
                    offset::ARCH => Holds::Arch,
                    _ => Holds::Other,
                };
                flow(0, Context { holds, ..context });
            }
            code::JEQ if context.holds == Holds::Arch => {
                flow(jt, Context { audit: Some(insn.k), ..context });
                flow(jf, context);
            }
            code::JEQ | code::JGT | code::JGE | code::JSET => {
                flow(jt, context);
                flow(jf, context);
            }
            _ => flow(0, Context { holds: Holds::Other, ..context }),
        }
    }
    contexts.into_iter().map(|context| context.unwrap_or(nothing)).collect()
}

fn instruction(insn: &sock_filter, at: usize, context: &Context) -> String {
    let k = insn.k;
    let compare = |sign: &str| {
        let (yes, no) = (at + 1 + usize::from(insn.jt), at + 1 + usize::from(insn.jf));
        let comment = comment(k, context).map(|name| format!("  ; {name}")).unwrap_or_default();
        let go = match (insn.jt, insn.jf) {
            (0, _) => format!("else {no}"),
            (_, 0) => format!("goto {yes}"),
            _ => format!("goto {yes} else {no}"),
        };
        format!("if {sign:2} {k:#x} {go}{comment}")
    };
    match insn.code {
        code::LOAD => format!("load {}", word(k)),
        code::AND => format!("and {k:#x}"),
        code::JUMP => format!("goto {}", at + 1 + k as usize),
        code::JEQ => compare("=="),
        code::JGT => compare(">"),
        code::JGE => compare(">="),
        code::JSET => compare("&"),
        code::RETURN => format!("return {}", describe_return(k)),
        other => format!("{other:#04x} {} {} {k:#x}", insn.jt, insn.jf),
    }
}

/// A word of `struct seccomp_data`. Which half of an argument it is depends on the machine's byte
/// order.
fn word(at: u32) -> String {
    match at {
        offset::NUMBER => "number".into(),
        offset::ARCH => "arch".into(),
        8 | 12 => "instruction pointer".into(),
        _ => {
            let low = (at % 8 == 4) == cfg!(target_endian = "big");
            format!("arg{}.{}", (at - offset::ARGS) / 8, if low { "low" } else { "high" })
        }
    }
}

fn comment(k: u32, context: &Context) -> Option<String> {
    let arch = |audit: u32| {
        Arch::ALL
            .iter()
            .copied()
            .find(|arch| arch.audit() == audit && (*arch != Arch::X32 || k & super::table::X32_BIT != 0))
    };
    match context.holds {
        Holds::Arch => arch(k).map(|arch| arch.word().to_owned()),
        Holds::Number => {
            let audit = context.audit?;
            let x32 = audit == Arch::X32.audit() && k & super::table::X32_BIT != 0;
            let name = Syscall::from_number(if x32 { Arch::X32 } else { arch(audit)? }, k)?.name();
            Some(if x32 { format!("x32 {name}") } else { name.to_owned() })
        }
        Holds::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostSeccomp, Profile, compile};

    /// A listing in full: what `rt seccomp explain --disassemble` shows.
    #[test]
    fn a_listing_reads_top_down() {
        let profile: Profile = serde_json::from_str(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}"#,
        )
        .unwrap();
        let host = HostSeccomp { native: Arch::X86_64, ..HostSeccomp::default() };
        let listing = disassemble(&compile(&profile, &host).unwrap().filter);
        assert_eq!(listing, EXPECTED, "\n{listing}");
    }

    const EXPECTED: &str = "   0  load arch
   1  if == 0xc000003e else 17  ; SCMP_ARCH_X86_64
   2  load number
   3  if >= 0x40000000 goto 13  ; x32 read
   4  if >= 0x87 goto 7  ; personality
   5  if == 0x0 else 18  ; read
   6  return SCMP_ACT_ALLOW
   7  if >= 0x88 goto 15  ; ustat
   8  load arg0.high
   9  if == 0x0 else 18
  10  load arg0.low
  11  if == 0x8 else 18
  12  return SCMP_ACT_TRAP
  13  if >= 0xc0000000 goto 16
  14  if >= 0x80000000 else 17
  15  return SCMP_ACT_ERRNO(38)
  16  if >= 0xffffffff goto 18
  17  return SCMP_ACT_KILL_THREAD
  18  return SCMP_ACT_ERRNO(1)
";
}
