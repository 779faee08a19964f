//! `rt seccomp explain`: what a profile does, call by call, and by which rule.

use std::path::Path;

use rt_seccomp::{self, Arch, HostSeccomp, Profile, Program, Query, Syscall, Vocabulary, describe_return, disassemble};
use serde_json::Value;

use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, Rest, flag, text, word};

/// Arguments of `seccomp`.
pub const GRAMMAR: Grammar = Grammar {
    name: "seccomp",
    about: "Explain seccomp profiles",
    options: &[&[
        text("arch", "ARCH", "Architecture, such as SCMP_ARCH_X86 [default: this machine's]"),
        flag("disassemble", "Print the compiled program"),
    ]],
    words: &[
        word("explain", "explain", "Print what would happen to a system call, and by which rule").one_of(&["explain"]),
        word("profile", "PROFILE", "A JSON file: /linux/seccomp of a config.json, or a whole config.json"),
        word("syscall", "SYSCALL", "A system call's name or number; without one, the whole profile is summed up")
            .optional(),
    ],
    rest: Some(Rest {
        name: "args",
        values: &["ARG"],
        least: 0,
        foreign: false,
        dashes: false,
        help: "Its arguments, up to six, decimal or 0x hexadecimal; those left out are 0",
    }),
};

/// `rt seccomp`.
pub fn run(_: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let file = arguments.value("profile").unwrap_or_default();
    let profile = read(Path::new(file))?;
    let host = HostSeccomp::default();
    let wrong = |e: rt_seccomp::Error| Failure::usage(format!("{}: {}: {e}", file.to_string_lossy(), e.pointer()));
    let program = rt_seccomp::compile(&profile, &host).map_err(wrong)?;
    let mut text = String::new();
    match arguments.text("syscall") {
        Some(call) => {
            let query = query(arguments, call)?;
            let answer = rt_seccomp::explain(&profile, &program, &host, &query).map_err(wrong)?;
            let answer = answer.ok_or_else(|| Failure::usage("the compiled program is not valid".to_owned()))?;
            let name = Syscall::from_number(query.arch, query.number)
                .map_or_else(|| query.number.to_string(), |s| s.name().to_owned());
            text += &format!("{name} on {}: {}\n", query.arch.word(), describe_return(answer.returns));
            text += &format!("by {}\n", answer.reason);
            let kernel = if answer.cacheable { "; the kernel answers it without running the filter" } else { "" };
            text += &format!("after {} instructions{kernel}\n", answer.steps);
        }
        None if !arguments.flag("disassemble") => text += &summary(&profile, &program, &host).map_err(wrong)?,
        None => {}
    }
    if arguments.flag("disassemble") {
        text += &disassemble(&program.filter);
    }
    print(&text)?;
    Ok(0)
}

/// The profile itself, or the one inside a config.
fn read(file: &Path) -> Result<Profile, Failure> {
    let document = rt_runtime::read_document(file).map_err(|e| Failure::usage(e.to_string()))?;
    let whole: Value = document.parse().map_err(|e| Failure::usage(e.to_string()))?;
    let inner = whole.pointer("/linux/seccomp").cloned().unwrap_or(whole);
    serde_json::from_value(inner).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))
}

fn query(arguments: &Arguments, call: &str) -> Result<Query, Failure> {
    let arch = match arguments.text("arch") {
        None => Arch::native(),
        Some(word) => {
            let known = || Arch::ALL.iter().map(Vocabulary::word).collect::<Vec<_>>().join(", ");
            Arch::from_word(word).ok_or_else(|| Failure::usage(format!("--arch: {word:?} is none of {}", known())))?
        }
    };
    let number = match call.parse::<u32>() {
        Ok(number) => number,
        Err(_) => {
            let found = Syscall::from_name(call).and_then(|s| s.number(arch));
            found.ok_or_else(|| Failure::usage(format!("{call:?} is no system call of {}", arch.word())))?
        }
    };
    let mut args = [0; 6];
    let given = arguments.texts("args");
    if given.len() > args.len() {
        return Err(Failure::usage(format!("a system call has no more than {} arguments", args.len())));
    }
    for (place, text) in args.iter_mut().zip(&given) {
        *place = argument(text).ok_or_else(|| Failure::usage(format!("{text:?} is no number")))?;
    }
    Ok(Query { arch, number, args })
}

fn argument(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|n| n as u64)),
    }
}

/// The size of the program, what is skipped, and how many calls of each architecture get which
/// answer.
fn summary(profile: &Profile, program: &Program, host: &HostSeccomp) -> Result<String, rt_seccomp::Error> {
    let mut text = format!("{} instructions\n", program.filter.len());
    for warning in rt_seccomp::check(profile, host)? {
        text += &format!("warning: {warning}\n");
    }
    let mut counts: Vec<(String, usize)> = Vec::new();
    for call in Syscall::all() {
        let Some(number) = call.number(Arch::native()) else { continue };
        let query = Query { arch: Arch::native(), number, args: [0; 6] };
        let Some(answer) = rt_seccomp::explain(profile, program, host, &query)? else { continue };
        let answer = describe_return(answer.returns);
        match counts.iter_mut().find(|(a, _)| *a == answer) {
            Some((_, n)) => *n += 1,
            None => counts.push((answer, 1)),
        }
    }
    text += &format!("on {}, with all arguments 0:\n", Arch::native().word());
    text.extend(counts.into_iter().map(|(answer, n)| format!("  {n:4} calls: {answer}\n")));
    Ok(text)
}
