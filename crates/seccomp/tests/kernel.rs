//! Our programs in the kernel: that it takes them, and answers as the interpreter of the other
//! tests does.

use std::io::{Read, Write};

use nix::libc;
use nix::unistd::ForkResult;
use rt_seccomp::{Action, Arch, Call, HostSeccomp, Named, Options, Profile, Rule, Syscall, compile, compile_with, run};

#[allow(dead_code, reason = "shared with other tests")]
mod oracle;
use oracle::fixture;
use oracle::random::{Random, Style};

/// A call, and the errno that the filter should answer it with.
struct Case {
    number: u32,
    args: [u64; 6],
    errno: i32,
}

/// Every number of x86_64 and x32, with arguments made for the rules, of profiles in which every
/// action is an errno of its own: so no call is ever executed, and the errno tells which rule the
/// kernel took.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_answers_as_the_interpreter_does() {
    let names: Vec<Syscall> = Syscall::all().collect();
    let host = HostSeccomp::default();
    let mut answers = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut profile = random.profile(&names, Style::Anything);
        profile.default_action = Named::Known(Action::Errno);
        profile.default_errno_ret = Some(999);
        for (i, rule) in profile.syscalls.iter_mut().enumerate() {
            (rule.action, rule.errno_ret) = (Named::Known(Action::Errno), Some(1000 + i as u32));
            rule.names.retain(|name| !ALLOWED.contains(&name.as_str()));
        }
        // How the child reports.
        profile.syscalls.push(Rule {
            names: ALLOWED.map(Named::new).into(),
            action: Named::Known(Action::Allow),
            ..Rule::default()
        });
        let Ok(program) = compile_with(&profile, &host, Options { enosys: false }) else {
            continue;
        };
        let rules: Vec<_> = profile.syscalls.iter().map(|rule| (0, rule.args.clone())).collect();
        let x32 = profile.architectures.contains(&Named::Known(Arch::X32));
        // uretprobe and uprobe: since 6.14 the kernel takes them past all filters, and kills who
        // has no business with them.
        let numbers = (0..600).filter(|number| ![335, 336].contains(number));
        let numbers = numbers.chain(if x32 { 0x4000_0000..0x4000_0000 + 600 } else { 0..0 });
        let cases =
            numbers.flat_map(|number| random.arguments(&rules).into_iter().take(20).map(move |args| (number, args)));
        let cases: Vec<Case> = cases
            .filter_map(|(number, args)| {
                let returns =
                    run(&program.filter, &Call::new(Arch::X86_64, number, args)).expect("a valid program").returns;
                (returns >> 16 == 5).then_some(Case { number, args, errno: (returns & 0xffff) as i32 })
            })
            .collect();
        answers += cases.len();
        if let Some(at) = ask(&program.to_bytes()[16..], &cases) {
            let Case { number, args, errno } = cases[at];
            panic!("{number:#x} {args:x?} is not {errno}: {}", serde_json::to_string(&profile).unwrap());
        }
    }
    println!("{answers} answers of the kernel are those of the interpreter");
    assert!(answers > 100_000);
}

/// What the child needs to report.
const ALLOWED: [&str; 2] = ["write", "exit_group"];

/// The profiles of the engines are loaded, and the program goes on.
#[test]
fn the_kernel_takes_real_profiles() {
    let allow = Rule { names: ALLOWED.map(Named::new).into(), action: Named::Known(Action::Allow), ..Rule::default() };
    let tiny = Profile { default_action: Named::Known(Action::Errno), syscalls: vec![allow], ..Profile::default() };
    for profile in [fixture("docker-default-x86_64.json"), fixture("podman-default-x86_64.json"), tiny] {
        let program = compile(&profile, &HostSeccomp::default()).expect("it compiles");
        assert_eq!(ask(&program.to_bytes()[16..], &[]), None);
    }
}

/// Makes the calls under the filter, in a child; the first one that is not answered as expected.
fn ask(instructions: &[u8], cases: &[Case]) -> Option<usize> {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the child allocates nothing, and leaves by a system call.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Child => {
            let attached = rustix::thread::set_no_new_privs(true).is_ok()
                && rt_sys::seccomp::attach(instructions, 0).is_ok_and(|listener| listener.is_none());
            let wrong = if attached { cases.iter().position(|case| !answered(case)) } else { Some(usize::MAX) };
            let _ = writer.write_all(&(wrong.map_or(0, |at| at.wrapping_add(1).max(1)) as u64).to_ne_bytes());
            // SAFETY: it does not return.
            unsafe { libc::syscall(libc::SYS_exit_group, i32::from(!attached)) };
            unreachable!("exit_group returned")
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut answer = [0; 8];
            let read = reader.read_exact(&mut answer);
            let status = nix::sys::wait::waitpid(child, None).expect("the child is there");
            assert!(read.is_ok() && matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{read:?} {status:?}");
            (u64::from_ne_bytes(answer) as usize).checked_sub(1)
        }
    }
}

fn answered(case: &Case) -> bool {
    let [a, b, c, d, e, f] = case.args;
    // SAFETY: the filter answers the call before the kernel looks at its arguments.
    let result = unsafe { libc::syscall(i64::from(case.number), a, b, c, d, e, f) };
    result == -1 && nix::errno::Errno::last_raw() == case.errno
}
