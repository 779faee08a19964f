//! Runs a command under ptrace, and at its n-th system call kills the process or makes the call
//! fail.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::registers;
use crate::world::{PATIENCE, text};

/// Whose calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The runtime's own, in all its threads.
    Runtime,
    /// Those of the processes that it makes, from their first to the one that executes the
    /// container's program.
    Init,
    /// Those of the first process that it makes, which stays as a server.
    Server,
}

/// What happens at the n-th call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The process is killed before the call.
    Kill,
    /// The call is not made, and fails with this.
    Fail(Errno),
}

/// What became of the command.
#[derive(Debug, Default)]
pub struct Traced {
    /// Its exit code; 128 and the signal if it was killed.
    pub code: i32,
    /// Its standard error.
    pub err: String,
    /// The exit code of what came after it, where there was that, and its standard error.
    pub then: Option<(i32, String)>,
    /// Calls that were counted.
    pub calls: u32,
    /// The number of the call at which the strike fell.
    pub struck: Option<u64>,
    /// It did not end, and was killed for it.
    pub hung: bool,
}

#[derive(Clone, Copy)]
struct Tracee {
    whose: Whose,
    /// Programs it has executed since it was made.
    programs: u32,
    /// The result that its current call gets.
    result: Option<Errno>,
}

/// Runs `command`, strikes at call `at`, and when it has ended runs `then`, untraced, while what
/// the command left goes on.
pub fn trace(mut command: Command, whose: Whose, at: u32, strike: Strike, then: Option<Command>) -> Traced {
    let mut err = tempfile::tempfile().expect("a temporary file");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err.try_clone().expect("a descriptor"));
    // SAFETY: ptrace(2) is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let main = Pid::from_raw(command.spawn().expect("the runtime starts").id() as i32);
    let mut tracer = Tracer {
        whose,
        at,
        strike,
        main,
        tracees: HashMap::from([(main, Tracee { whose: Whose::Runtime, programs: 0, result: None })]),
        server: None,
        then: None,
        traced: Traced::default(),
    };
    let alarm = Alarm::set(main);
    tracer.follow(then);
    tracer.traced.hung = alarm.stop();
    tracer.traced.err = text(&mut err);
    tracer.traced
}

struct Tracer {
    whose: Whose,
    at: u32,
    strike: Strike,
    main: Pid,
    tracees: HashMap<Pid, Tracee>,
    /// The first process that the command has made, where that is the aim.
    server: Option<Pid>,
    /// What came after the command, while it runs, and where its errors go.
    then: Option<(Pid, File)>,
    traced: Traced,
}

impl Tracer {
    /// Until nothing is left to wait for.
    fn follow(&mut self, mut then: Option<Command>) {
        while !self.tracees.is_empty() || self.then.is_some() {
            let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) else { break };
            match status {
                WaitStatus::Exited(pid, code) => self.ended(pid, code, &mut then),
                WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32, &mut then),
                WaitStatus::PtraceSyscall(pid) => self.call(pid),
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => self.executed(pid),
                WaitStatus::PtraceEvent(pid, _, _) => self.made(pid),
                WaitStatus::Stopped(pid, signal) => self.stopped(pid, signal),
                _ => {}
            }
        }
    }

    #[expect(clippy::zombie_processes, reason = "it is waited for by its pid, among all others")]
    fn ended(&mut self, pid: Pid, code: i32, then: &mut Option<Command>) {
        self.tracees.remove(&pid);
        if pid == self.main {
            self.traced.code = code;
            if let Some(mut command) = then.take().filter(|_| code == 0) {
                let err = tempfile::tempfile().expect("a temporary file");
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err.try_clone().expect("a descriptor"));
                let child = command.spawn().expect("the runtime starts");
                self.then = Some((Pid::from_raw(child.id() as i32), err));
            }
        } else if let Some((_, mut err)) = self.then.take_if(|(then, _)| *then == pid) {
            self.traced.then = Some((code, text(&mut err)));
        }
    }

    /// What a tracee has made reports by a stop of its own, maybe before this.
    fn made(&mut self, pid: Pid) {
        if let Ok(child) = ptrace::getevent(pid) {
            self.adopt(Pid::from_raw(child as i32));
        }
        let _ = ptrace::syscall(pid, None);
    }

    /// Threads of the runtime are the runtime; everything else that comes from it is init's, or the
    /// server and what that makes.
    fn adopt(&mut self, pid: Pid) {
        let thread = std::fs::exists(format!("/proc/{}/task/{pid}", self.main)).unwrap_or(false);
        let is_server = || self.whose == Whose::Server && self.server.is_none_or(|server| server == pid);
        let whose = match thread {
            true => Whose::Runtime,
            false if is_server() => Whose::Server,
            false => Whose::Init,
        };
        if whose == Whose::Server {
            self.server = Some(pid);
        }
        self.tracees.entry(pid).or_insert(Tracee { whose, programs: 0, result: None });
    }

    fn executed(&mut self, pid: Pid) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        tracee.programs += 1;
        // The stub is the first program, the container's is the second.
        if tracee.whose == Whose::Init && tracee.programs == 2 {
            self.release(pid);
        } else {
            let _ = ptrace::syscall(pid, None);
        }
    }

    fn release(&mut self, pid: Pid) {
        let _ = ptrace::detach(pid, None);
        self.tracees.remove(&pid);
    }

    fn stopped(&mut self, pid: Pid, signal: Signal) {
        if pid == self.main && signal == Signal::SIGTRAP && self.tracees[&pid].programs == 0 {
            // Its own exec; from here on there are better words for that.
            let mut options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
            options |= Options::PTRACE_O_TRACECLONE;
            if self.whose != Whose::Runtime {
                options |= Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
            }
            let _ = ptrace::setoptions(pid, options);
            if let Some(tracee) = self.tracees.get_mut(&pid) {
                tracee.programs = 1;
            }
            let _ = ptrace::syscall(pid, None);
            return;
        }
        let first = !self.tracees.contains_key(&pid);
        self.adopt(pid);
        if signal == Signal::SIGSTOP {
            // How a new tracee begins. A process that is no thread is followed only where it is the
            // aim.
            if self.whose != Whose::Init && self.tracees[&pid].whose == Whose::Init {
                self.release(pid);
            } else {
                let _ = ptrace::syscall(pid, None);
            }
        } else if !first {
            let _ = ptrace::syscall(pid, signal);
        }
    }

    fn call(&mut self, pid: Pid) {
        if let Ok(Some(number)) = registers::entered_call(pid) {
            self.entered(pid, number);
        } else if let Some(errno) = self.tracees.get_mut(&pid).and_then(|tracee| tracee.result.take()) {
            let _ = registers::set_result(pid, -(errno as i64));
        }
        let _ = ptrace::syscall(pid, None);
    }

    fn entered(&mut self, pid: Pid, number: u64) {
        let Some(tracee) = self.tracees.get_mut(&pid).filter(|t| t.whose == self.whose) else { return };
        self.traced.calls += 1;
        if self.traced.calls != self.at {
            return;
        }
        self.traced.struck = Some(number);
        match self.strike {
            // A group-directed signal ends all threads.
            Strike::Kill => {
                let _ = kill(if tracee.whose == Whose::Runtime { self.main } else { pid }, Signal::SIGKILL);
            }
            Strike::Fail(errno) => {
                // A failed close has closed all the same, and nothing that rt writes to reports a
                // write that late.
                if number == libc::SYS_close as u64 {
                    return;
                }
                let _ = registers::leave_out_call(pid);
                tracee.result = Some(errno);
            }
        }
    }
}

/// Kills a command, and all that descends from it, when it takes too long.
struct Alarm {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: std::thread::JoinHandle<bool>,
}

impl Alarm {
    fn set(main: Pid) -> Alarm {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let (flag, change) = &*theirs;
            let guard = flag.lock().unwrap_or_else(|e| e.into_inner());
            let waited = change.wait_timeout_while(guard, PATIENCE, |stopped| !*stopped);
            let late = waited.is_ok_and(|(_, timeout)| timeout.timed_out());
            if late {
                let _ = kill(main, Signal::SIGKILL);
                for pid in crate::world::children() {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
            late
        });
        Alarm { stopped, thread }
    }

    /// True if it went off.
    fn stop(self) -> bool {
        *self.stopped.0.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.stopped.1.notify_all();
        self.thread.join().unwrap_or(true)
    }
}
