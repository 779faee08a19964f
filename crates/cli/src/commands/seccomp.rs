//! `rt seccomp explain`: what a profile does, call by call, and by which rule.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgMatches, Command, value_parser};
use rt_runtime::seccomp::{
    self, Arch, HostSeccomp, Profile, Program, Query, Syscall, Vocabulary, describe_return, disassemble,
};
use rt_runtime::spec::Document;
use serde_json::Value;

use super::flag;
use crate::cli::{Failure, print};

/// Arguments of `seccomp`.
pub fn arguments(command: Command) -> Command {
    let explain = Command::new("explain")
        .about("Print what would happen to a system call, and by which rule")
        .arg(
            Arg::new("profile")
                .value_name("PROFILE")
                .required(true)
                .value_parser(value_parser!(OsString))
                .help("A JSON file: /linux/seccomp of a config.json, or a whole config.json"),
        )
        .arg(
            Arg::new("syscall")
                .value_name("SYSCALL")
                .help("A system call's name or number; without one, the whole profile is summed up"),
        )
        .arg(
            Arg::new("args")
                .value_name("ARG")
                .num_args(0..=6)
                .help("Its arguments, decimal or 0x hexadecimal; those left out are 0"),
        )
        .arg(
            Arg::new("arch")
                .long("arch")
                .value_name("ARCH")
                .help("Architecture, such as SCMP_ARCH_X86 [default: this machine's]"),
        )
        .arg(flag("disassemble", "Print the compiled program"));
    command.subcommand_required(true).subcommand(explain)
}

/// `rt seccomp`.
pub fn run(matches: &ArgMatches) -> Result<i32, Failure> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(0) };
    let file = matches.get_one::<OsString>("profile").cloned().unwrap_or_default();
    let profile = read(Path::new(&file))?;
    let host = HostSeccomp::default();
    let wrong = |e: seccomp::Error| Failure::usage(format!("{}: {}: {e}", file.to_string_lossy(), e.pointer()));
    let program = seccomp::compile(&profile, &host).map_err(wrong)?;
    let mut text = String::new();
    match matches.get_one::<String>("syscall") {
        Some(call) => {
            let query = query(matches, call)?;
            let answer = seccomp::explain(&profile, &program, &host, &query).map_err(wrong)?;
            let answer = answer.ok_or_else(|| Failure::usage("the compiled program is not valid".to_owned()))?;
            let name = Syscall::from_number(query.arch, query.number)
                .map_or_else(|| query.number.to_string(), |s| s.name().to_owned());
            text += &format!("{name} on {}: {}\n", query.arch.word(), describe_return(answer.returns));
            text += &format!("by {}\n", answer.reason);
            let kernel = if answer.cacheable { "; the kernel answers it without running the filter" } else { "" };
            text += &format!("after {} instructions{kernel}\n", answer.steps);
        }
        None if !matches.get_flag("disassemble") => text += &summary(&profile, &program, &host).map_err(wrong)?,
        None => {}
    }
    if matches.get_flag("disassemble") {
        text += &disassemble(&program.filter);
    }
    print(&text)?;
    Ok(0)
}

/// The profile itself, or the one inside a config.
fn read(file: &Path) -> Result<Profile, Failure> {
    let document = Document::read(file).map_err(|e| Failure::usage(e.to_string()))?;
    let whole: Value = document.parse().map_err(|e| Failure::usage(e.to_string()))?;
    let inner = whole.pointer("/linux/seccomp").cloned().unwrap_or(whole);
    serde_json::from_value(inner).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))
}

fn query(matches: &ArgMatches, call: &str) -> Result<Query, Failure> {
    let arch = match matches.get_one::<String>("arch") {
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
    for (place, text) in args.iter_mut().zip(matches.get_many::<String>("args").unwrap_or_default()) {
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

/// The size of the program, what is skipped, and how many calls of each architecture get which answer.
fn summary(profile: &Profile, program: &Program, host: &HostSeccomp) -> Result<String, seccomp::Error> {
    let mut text = format!("{} instructions\n", program.filter.len());
    for warning in seccomp::check(profile, host)? {
        text += &format!("warning: {warning}\n");
    }
    let mut counts: Vec<(String, usize)> = Vec::new();
    for call in Syscall::all() {
        let Some(number) = call.number(Arch::native()) else { continue };
        let query = Query { arch: Arch::native(), number, args: [0; 6] };
        let Some(answer) = seccomp::explain(profile, program, host, &query)? else { continue };
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
