//! libseccomp as an oracle: a small C program (`libseccomp.c`), compiled on demand, that builds
//! filters from lines.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rt_seccomp::{Arch, HostSeccomp, Profile, Vocabulary};
use seccompiler::sock_filter;

pub mod random;
pub mod reference;

/// The host whose filters the oracle, the reference and the profiles in `fixtures` are about, on
/// whichever architecture the tests run.
pub fn host() -> HostSeccomp {
    HostSeccomp { native: Arch::X86_64, ..HostSeccomp::default() }
}

/// A running oracle.
pub struct Oracle {
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
    /// Numbers already asked for.
    numbers: HashMap<(Arch, String), i32>,
}

/// What libseccomp made of a profile: a program, or the errno it refused it with.
pub type Built = Result<Vec<sock_filter>, i32>;

impl Oracle {
    /// Compiles and starts the oracle; `None`, with the reason on standard error, where libseccomp
    /// cannot be had.
    pub fn start() -> Option<Self> {
        // One binary per test, which may run at the same time.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("rt-seccomp-oracle-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let binary: PathBuf = std::env::temp_dir().join(name);
        let source = binary.with_extension("c");
        std::fs::write(&source, include_str!("libseccomp.c")).expect("a place for temporary files");
        let compiler = Command::new("gcc").args(["-O2", "-o"]).args([&binary, &source]).arg("-lseccomp").output();
        let _ = std::fs::remove_file(&source);
        match compiler {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                eprintln!("skipped: no oracle: gcc -lseccomp: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
            Err(error) => {
                eprintln!("skipped: no oracle: gcc: {error}");
                return None;
            }
        }
        let child = Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let _ = std::fs::remove_file(&binary);
        let mut child = child.expect("the oracle starts");
        let (requests, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Some(Self { child, requests, answers, numbers: HashMap::new() })
    }

    /// libseccomp's number for a name: negative where the architecture has none.
    pub fn resolve(&mut self, arch: Arch, name: &str) -> i32 {
        let key = (arch, name.to_owned());
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        self.send(&format!("resolve {} {name}\n", arch_name(arch)));
        let number = i32::from_ne_bytes(self.bytes());
        self.numbers.insert(key, number);
        number
    }

    /// Builds a profile the way runc does.
    pub fn build(&mut self, profile: &Profile, optimize: u32) -> Built {
        self.send(&format!("{}end\n", lower(profile, optimize)));
        match i32::from_ne_bytes(self.bytes()) {
            0 => {
                let mut program = vec![0; u32::from_ne_bytes(self.bytes()) as usize];
                self.answers.read_exact(&mut program).expect("the oracle answers");
                let insn = |&[c0, c1, jt, jf, k @ ..]: &[u8; 8]| sock_filter {
                    code: u16::from_ne_bytes([c0, c1]),
                    jt,
                    jf,
                    k: u32::from_ne_bytes(k),
                };
                Ok(program.as_chunks::<8>().0.iter().map(insn).collect())
            }
            errno => Err(-errno),
        }
    }

    /// The best time in nanoseconds of `builds` builds.
    pub fn time(&mut self, profile: &Profile, optimize: u32, builds: u32) -> i64 {
        self.send(&format!("{}time {builds:x}\n", lower(profile, optimize)));
        i64::from_ne_bytes(self.bytes())
    }

    fn send(&mut self, text: &str) {
        self.requests.write_all(text.as_bytes()).expect("the oracle listens");
        self.requests.flush().expect("the oracle listens");
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.answers.read_exact(&mut bytes).expect("the oracle answers");
        bytes
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `SCMP_ARCH_X86_64` is "x86_64" for libseccomp's resolver.
fn arch_name(arch: Arch) -> String {
    arch.word().trim_start_matches("SCMP_ARCH_").to_lowercase()
}

/// A profile as calls of libseccomp, in the order and with the special cases of runc: rules that
/// repeat the default action are skipped, conditions on one argument become rules of their own.
fn lower(profile: &Profile, optimize: u32) -> String {
    let action = |action: &rt_seccomp::Named<rt_seccomp::Action>, errno: Option<u32>| {
        action.known().expect("a known action").returns(errno.map(|errno| errno as u16))
    };
    let default = action(&profile.default_action, profile.default_errno_ret);
    let mut text = format!("profile {default:x} {optimize:x}\n");
    for arch in &profile.architectures {
        text += &format!("arch {}\n", arch_name(*arch.known().expect("a known architecture")));
    }
    for rule in &profile.syscalls {
        let returns = action(&rule.action, rule.errno_ret);
        if returns == default {
            continue;
        }
        let condition = |arg: &rt_seccomp::Arg| {
            let op = arg.op.as_str().trim_start_matches("SCMP_CMP_");
            format!(" {:x} {op} {:x} {:x}", arg.index, arg.value, arg.value_two)
        };
        let conditions: Vec<String> = rule.args.iter().map(condition).collect();
        let repeated = (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
        for name in &rule.names {
            let name = name.as_str();
            if repeated {
                for condition in &conditions {
                    text += &format!("rule {returns:x} {name} 1{condition}\n");
                }
            } else {
                text += &format!("rule {returns:x} {name} {:x}{}\n", conditions.len(), conditions.concat());
            }
        }
    }
    text
}

/// A profile of an engine.
pub fn fixture(name: &str) -> Profile {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("the fixture is there")).expect("a profile")
}
