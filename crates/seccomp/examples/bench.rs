//! What the seccomp compiler costs, next to libseccomp: `cargo run --release -p rt-seccomp
//! --example bench [PROFILE...]`.
//!
//! Per profile and compiler: instructions, compile time (libseccomp: building and exporting),
//! instructions run per native call (mean and worst, over the numbers in use), calls that the
//! kernel answers from its bitmap, and the time to attach, in a child that sets no_new_privs first.
//! Times are the best and the median of many; on a busy machine only ratios count.

use std::time::{Duration, Instant};

use rt_seccomp::{Arch, Call, HostSeccomp, Options, Profile, Syscall, compile, compile_with, run};
use seccompiler::sock_filter;

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/oracle/mod.rs"]
mod oracle;

fn main() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        paths = ["docker", "podman"].map(|engine| format!("{fixtures}/{engine}-default-x86_64.json")).into();
    }
    let mut oracle = oracle::Oracle::start();
    println!("{:44} {:>6} {:>19} {:>11} {:>9} {:>19}", "", "insns", "compile µs", "insns/call", "bitmap", "attach µs");
    println!(
        "{:44} {:>6} {:>9} {:>9} {:>6} {:>4} {:>9} {:>9} {:>9}",
        "", "", "best", "median", "mean", "max", "", "best", "median"
    );
    for path in paths {
        let text = std::fs::read(&path).expect("the profile can be read");
        let profile: Profile = serde_json::from_slice(&text).expect("the profile is one");
        let name = path.rsplit('/').next().unwrap_or(&path).trim_end_matches(".json");
        let host = HostSeccomp::default();

        let parse = Times::of(400, || serde_json::from_slice::<Profile>(&text));
        println!("{name}: parse {:.1} µs best, {:.1} median", micros(parse.best), micros(parse.median));
        let cold = Instant::now();
        let program = compile(&profile, &host).expect("the profile compiles");
        let cold = cold.elapsed();
        let times = Times::of(2000, || compile(&profile, &host));
        report(&format!("  rt (first {:.0} µs)", micros(cold)), &program.filter, Some(times));
        let plain = Options { enosys: false };
        let times = Times::of(2000, || compile_with(&profile, &host, plain));
        let program = compile_with(&profile, &host, plain).expect("the profile compiles");
        report("  rt, without the ENOSYS ranges", &program.filter, Some(times));
        let Some(oracle) = &mut oracle else { continue };
        for (label, optimize) in [("  libseccomp, linear", 1), ("  libseccomp, binary tree", 2)] {
            let best = oracle.time(&profile, optimize, 20).unsigned_abs();
            let filter = oracle.build(&profile, optimize).expect("libseccomp takes the profile");
            report(label, &filter, Some(Times { best: Duration::from_nanos(best), median: Duration::ZERO }));
        }
    }
}

struct Times {
    best: Duration,
    median: Duration,
}

impl Times {
    fn of<T>(runs: usize, mut work: impl FnMut() -> T) -> Self {
        let time = |_| {
            let from = Instant::now();
            let result = std::hint::black_box(work());
            let took = from.elapsed();
            drop(result);
            took
        };
        Self::from((0..runs).map(time).collect())
    }

    fn from(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { best: times[0], median: times[times.len() / 2] }
    }
}

fn report(label: &str, filter: &[sock_filter], compile: Option<Times>) {
    let number = |call: Syscall| call.number(Arch::native());
    let outcomes: Vec<_> = Syscall::all()
        .filter_map(number)
        .filter_map(|number| run(filter, &Call::new(Arch::native(), number, [0; 6])))
        .collect();
    let mean = outcomes.iter().map(|outcome| outcome.steps).sum::<usize>() as f64 / outcomes.len() as f64;
    let worst = outcomes.iter().map(|outcome| outcome.steps).max().unwrap_or_default();
    let cacheable = outcomes.iter().filter(|outcome| outcome.cacheable).count();
    let compile = compile.unwrap_or(Times { best: Duration::ZERO, median: Duration::ZERO });
    let attach = attach::time(filter, 40);
    println!(
        "{label:44} {:6} {:9.1} {:9.1} {mean:6.1} {worst:4} {cacheable:5}/{} {:9.1} {:9.1}",
        filter.len(),
        micros(compile.best),
        micros(compile.median),
        outcomes.len(),
        micros(attach.best),
        micros(attach.median),
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Attaching, the one thing here that calls the kernel.
mod attach {
    use std::io::{Read, Write};

    use nix::unistd::ForkResult;
    use rt_seccomp::{Flag, Program};

    use super::*;

    /// Attaches `filter` in as many children; each reports how long it took.
    pub fn time(filter: &[sock_filter], children: usize) -> Times {
        // What rt-sys takes is the form of the state directory without its header.
        let program = Program { filter: filter.to_vec(), flags: Flag::SpecAllow.bit(), notify: false }.to_bytes();
        let instructions = &program[program.len() - 8 * filter.len()..];
        Times::from((0..children).map(|_| child(instructions)).collect())
    }

    fn child(instructions: &[u8]) -> Duration {
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        // SAFETY: this process has one thread; the child makes a few system calls and exits.
        match unsafe { nix::unistd::fork() }.expect("fork") {
            ForkResult::Child => {
                let _ = rustix::thread::set_no_new_privs(true);
                let from = Instant::now();
                let attached = rt_sys::seccomp::attach(instructions, Flag::SpecAllow.bit());
                let took = if attached.is_ok() { from.elapsed().as_nanos() as u64 } else { u64::MAX };
                let _ = writer.write_all(&took.to_ne_bytes());
                std::process::exit(0);
            }
            ForkResult::Parent { child } => {
                drop(writer);
                let mut took = [0; 8];
                reader.read_exact(&mut took).expect("the child answers");
                nix::sys::wait::waitpid(child, None).expect("the child is there");
                assert_ne!(u64::from_ne_bytes(took), u64::MAX, "the kernel takes the program");
                Duration::from_nanos(u64::from_ne_bytes(took))
            }
        }
    }
}
