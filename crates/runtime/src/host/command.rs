//! Programs of the host that rt starts: hooks, the setuid helpers for id maps, ps.
//!
//! Not by the standard library's `Command`: it copies the page tables of rt for each program, and
//! aborts rt when the socket over which it learns whether execve(2) succeeded fails. The child here
//! shares rt's memory until it executes the program (vfork(2)).

use std::ffi::{CString, OsStr, c_char, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rt_sys::clone::{flags, spawn};
use rt_sys::exec::{execve, exit};
use rt_sys::process::set_signal_mask;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, CWD, Mode, OFlags, access, openat};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd, read, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::caller::signals::start_with_default_signals;

/// A program and what it gets. It starts with no signal ignored or blocked.
pub struct HostCommand {
    program: CString,
    argv: Vec<CString>,
    /// None is rt's own.
    env: Option<Vec<CString>>,
    directory: Option<CString>,
    stdin: Option<OwnedFd>,
}

/// A program that was started, with the reading ends of its outputs.
pub struct Running {
    /// The process.
    pub pidfd: OwnedFd,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

/// What a program that has ended has left.
pub struct Output {
    /// How it ended.
    pub status: WaitIdStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl HostCommand {
    /// The program at `path`, with rt's environment and the null device for input.
    pub fn new(path: &str) -> Result<HostCommand, Errno> {
        let program = text(path)?;
        Ok(HostCommand { argv: vec![program.clone()], program, env: None, directory: None, stdin: None })
    }

    /// The program of this name in one of the directories of PATH; ENOENT if there is none.
    pub fn find(name: &str) -> Result<HostCommand, Errno> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let mut candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
        let found = candidates.find(|file| access(file, Access::EXEC_OK).is_ok()).ok_or(Errno::NOENT)?;
        let mut command = HostCommand::new(&found.to_string_lossy())?;
        command.argv = vec![text(name)?];
        Ok(command)
    }

    /// Adds arguments.
    pub fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Result<HostCommand, Errno> {
        for arg in args {
            self.argv.push(text_of(arg.as_ref().as_bytes().to_vec())?);
        }
        Ok(self)
    }

    /// Replaces all arguments, the program's name among them.
    pub fn argv<'a>(mut self, argv: impl IntoIterator<Item = &'a str>) -> Result<HostCommand, Errno> {
        self.argv = argv.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Replaces the environment by these `NAME=VALUE`.
    pub fn env<'a>(mut self, env: impl IntoIterator<Item = &'a str>) -> Result<HostCommand, Errno> {
        self.env = Some(env.into_iter().map(text).collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: &Path) -> Result<HostCommand, Errno> {
        self.directory = Some(text_of(directory.as_os_str().to_owned().into_vec())?);
        Ok(self)
    }

    /// Sets standard input.
    pub fn stdin(mut self, stdin: OwnedFd) -> HostCommand {
        self.stdin = Some(stdin);
        self
    }

    /// Starts the program. The error is that of execve(2), or of what comes before it.
    pub fn start(mut self) -> Result<Running, Errno> {
        let stdin = match self.stdin.take() {
            Some(fd) => fd,
            None => openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
        };
        let (stdout, out) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, err) = pipe_with(PipeFlags::CLOEXEC)?;
        // None of them may lie where another one goes.
        let streams = [above_the_streams(stdin)?, above_the_streams(out)?, above_the_streams(err)?];
        let (_, pidfd) = self.spawn(&streams, &[])?;
        Ok(Running { pidfd, stdout, stderr })
    }

    /// Starts the program on rt's own standard streams, and returns its pid and its pidfd. It gets
    /// `fds` under their numbers.
    pub fn start_here(self, fds: &[BorrowedFd<'_>]) -> Result<(i32, OwnedFd), Errno> {
        let own = |fd: BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, 3);
        let streams = [own(rustix::stdio::stdin())?, own(rustix::stdio::stdout())?, own(rustix::stdio::stderr())?];
        self.spawn(&streams, fds)
    }

    /// Starts the program on these standard streams, and returns its pidfd.
    pub fn start_on(self, streams: [OwnedFd; 3]) -> Result<OwnedFd, Errno> {
        let [stdin, stdout, stderr] = streams;
        let streams = [above_the_streams(stdin)?, above_the_streams(stdout)?, above_the_streams(stderr)?];
        Ok(self.spawn(&streams, &[])?.1)
    }

    fn spawn(self, streams: &[OwnedFd; 3], fds: &[BorrowedFd<'_>]) -> Result<(i32, OwnedFd), Errno> {
        start_with_default_signals();
        let env = self.env.map_or_else(own_environment, Ok)?;
        let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
        let (argv, env_pointers) = (pointers(&self.argv), pointers(&env));
        let mut child = Child {
            program: &self.program,
            argv: argv.as_ptr(),
            env: env_pointers.as_ptr(),
            directory: self.directory.as_ref(),
            streams,
            fds,
            failed: None,
        };
        let mut stack = Box::new_uninit_slice(16 * 1024);
        let arg = (&raw mut child).cast::<c_void>();
        // SAFETY: with VFORK this thread waits until the child has executed the program or exited,
        // so that all that the child reads stays where it is; `run` makes system calls only.
        let (pid, pidfd) = unsafe { spawn(flags::VM | flags::VFORK, None, &mut stack, run, arg) }?;
        match child.failed {
            None => Ok((pid, pidfd)),
            Some(errno) => {
                let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
                Err(errno)
            }
        }
    }

    /// Runs the program to its end.
    pub fn output(self) -> Result<Output, Errno> {
        let running = self.start()?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut pipes = [Some((&running.stdout, &mut stdout)), Some((&running.stderr, &mut stderr))];
        while pipes.iter().any(Option::is_some) {
            let mut fds: Vec<_> = pipes.iter().flatten().map(|(fd, _)| PollFd::new(*fd, PollFlags::IN)).collect();
            retry_on_intr(|| poll(&mut fds, None))?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            for (pipe, _) in pipes.iter_mut().filter(|pipe| pipe.is_some()).zip(ready).filter(|(_, ready)| *ready) {
                let mut space = [0; 4096];
                let Some((fd, kept)) = pipe else { continue };
                match retry_on_intr(|| read(*fd, &mut space))? {
                    0 => *pipe = None,
                    n => kept.extend_from_slice(&space[..n]),
                }
            }
        }
        Ok(Output { status: running.wait()?, stdout, stderr })
    }
}

impl Running {
    /// Waits for the program's end.
    pub fn wait(&self) -> Result<WaitIdStatus, Errno> {
        let ended = retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        ended.ok_or(Errno::CHILD)
    }

    /// Kills the program and waits for its end.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.wait();
    }
}

/// How a program ended, as the end of a sentence; None for success.
pub fn failure(status: &WaitIdStatus) -> Option<String> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, signal) => Some(format!("killed by signal {}", signal.unwrap_or(0))),
    }
}

/// What the child reads, and its answer.
struct Child<'a> {
    program: &'a CString,
    argv: *const *const c_char,
    env: *const *const c_char,
    directory: Option<&'a CString>,
    streams: &'a [OwnedFd; 3],
    fds: &'a [BorrowedFd<'a>],
    failed: Option<Errno>,
}

unsafe extern "C" fn run(arg: *mut c_void) -> ! {
    // SAFETY: the parent passed this object and does not run until the child has executed the
    // program or exited.
    let child = unsafe { &mut *arg.cast::<Child<'_>>() };
    let Err(errno) = execute(child);
    child.failed = Some(errno);
    exit(127)
}

fn execute(child: &Child<'_>) -> Result<std::convert::Infallible, Errno> {
    set_signal_mask(0)?;
    let [stdin, stdout, stderr] = child.streams;
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    for fd in child.fds {
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    if let Some(directory) = child.directory {
        rustix::process::chdir(directory.as_c_str())?;
    }
    // SAFETY: both arrays end in NULL and hold strings that the parent keeps.
    Err(unsafe { execve(child.program, child.argv, child.env) })
}

fn above_the_streams(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fcntl_dupfd_cloexec(fd, 3) }
}

fn own_environment() -> Result<Vec<CString>, Errno> {
    std::env::vars_os().map(|(name, value)| text_of([name.as_bytes(), value.as_bytes()].join(&b'='))).collect()
}

fn text(text: &str) -> Result<CString, Errno> {
    text_of(text.as_bytes().to_vec())
}

fn text_of(bytes: Vec<u8>) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_its_arguments_environment_directory_and_input() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&writer, b"input").unwrap();
        drop(writer);
        let script = "echo $0 $1 $A; pwd; cat; echo err >&2; exit 3";
        let command = HostCommand::new("/bin/sh").unwrap().argv(["sh", "-c", script, "zero", "one"]).unwrap();
        let command = command.env(["A=b", "PATH=/usr/bin:/bin"]).unwrap().directory(Path::new("/usr")).unwrap();
        let output = command.stdin(reader).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "zero one b\n/usr\ninput");
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(failure(&output.status).as_deref(), Some("exit status 3"));
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        assert_eq!(HostCommand::new("/no/such").unwrap().output().err(), Some(Errno::NOENT));
        assert_eq!(HostCommand::new("/etc/passwd").unwrap().output().err(), Some(Errno::ACCESS));
        assert_eq!(HostCommand::find("no-such-program").err(), Some(Errno::NOENT));
        let elsewhere = HostCommand::find("true").unwrap().directory(Path::new("/no/such")).unwrap();
        assert_eq!(elsewhere.output().err(), Some(Errno::NOENT));
    }

    /// More than a pipe holds, on both at once.
    #[test]
    fn much_output_blocks_neither_side() {
        let script = "head -c 300000 /dev/zero & head -c 300000 /dev/zero >&2; wait";
        let command = HostCommand::find("sh").unwrap().args(["-c", script]).unwrap();
        let output = command.output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
        assert_eq!(failure(&output.status), None);
    }
}
