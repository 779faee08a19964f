//! CRIU's log, read for its reader: the line that says why, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why CRIU failed, as far as its log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// CRIU's own words, the cause first.
    pub lines: Vec<String>,
    /// The cause in terms of the container, if it is a known cause.
    pub cause: Option<String>,
    /// What to do about it.
    pub remedy: Option<&'static str>,
    /// The log.
    pub log: PathBuf,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cause) = &self.cause {
            write!(f, "{cause}: ")?;
        }
        match self.lines.first() {
            Some(first) => write!(f, "{first}")?,
            None => write!(f, "it gave no reason")?,
        }
        write!(f, " (log: {})", self.log.display())
    }
}

/// What CRIU's messages mean: a part of the message, the cause, the remedy. The first that matches
/// is taken.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "Connected TCP socket",
        "the container has established TCP connections",
        "give --tcp-established to keep them, with `restore` as well",
    ),
    (
        "in-flight",
        "the container has TCP connections that are being established",
        "give --tcp-skip-in-flight, or try again",
    ),
    (
        "external socket is used",
        "a unix socket is connected to a process outside of the container",
        "give --ext-unix-sk",
    ),
    (
        "External socket is used",
        "a unix socket is connected to a process outside of the container",
        "give --ext-unix-sk",
    ),
    ("Can't get 1:16 opt", "this criu is too old for this kernel", "install criu 4.2 or later"),
    ("shell job", "the container's session belongs to a terminal outside of it", "give --shell-job"),
    ("--shell-job", "the container's session belongs to a terminal outside of it", "give --shell-job"),
    ("file-locks", "a process holds file locks", "give --file-locks, with `restore` as well"),
    ("Some file locks are hold", "a process holds file locks", "give --file-locks, with `restore` as well"),
    ("link-remap", "a process has an open file that was removed, but has other names", "give --link-remap"),
    ("link remap", "a process has an open file that was removed, but has other names", "give --link-remap"),
    ("io_uring", "a process uses io_uring, which criu cannot save", "make the program do without io_uring"),
    ("[perf_event]", "a process has an open perf event, which criu cannot save", "close it, and try again"),
    ("[bpf", "a process has an open BPF program, map or link that criu cannot save", "close it, and try again"),
    ("[userfaultfd]", "a process uses userfaultfd, which criu cannot save", "make the program do without userfaultfd"),
    (
        "unreachable sharing",
        "a mount of the container propagates to or from the host",
        "give the mount the option rprivate",
    ),
    (
        "without peer",
        "a unix socket is connected to a process of another network namespace, which criu cannot save",
        "close it, and try again",
    ),
    (
        "Can't dump half of stream",
        "a process has a connection over a unix socket to a process outside of the container",
        "close it, and try again",
    ),
    ("iptables-restore", "criu closes the container's network with iptables, which is missing", "install iptables"),
    ("No space left on device", "the disk is full", "make room below --image-path and --work-path"),
    ("Unable to create a thread", "too few processes are allowed", "raise /linux/resources/pids/limit"),
    (
        "No mapping for",
        "the image has a mount from outside that the bundle's config does not have",
        "add the mount to /mounts of the bundle's config.json",
    ),
    (
        "Can't lookup mount=",
        "a process has a file open that the container cannot see, such as an inherited log file",
        "start the container with its standard streams on pipes or on /dev/null",
    ),
    ("is being traced by", "a debugger traces a process of the container", "detach the debugger, and try again"),
    (
        "Can't dump a file of that type",
        "a process has a file open of a kind that criu cannot save",
        "close it, and try again",
    ),
    ("Can't find a proper device", "a process has a device open that criu cannot save", "close it, and try again"),
    (
        "File exists",
        "a process of the container has a pid or a name that is in use on this host",
        "give the container a pid namespace",
    ),
    (
        "has bad size",
        "a file has changed since it was saved",
        "restore with the same rootfs, and with the standard streams on the same files",
    ),
    ("has bad mode", "a file has changed since it was saved", "restore with the same rootfs"),
    (
        "Can't open file",
        "a file that a process had open is not there any more",
        "restore with the same rootfs and binds",
    ),
    ("bytes while", "the image is damaged: one of its files is cut short", "copy the whole image again"),
    ("criu/apparmor", "the AppArmor profile of the container is not loaded here", "load it, or give --lsm-profile"),
    ("CPU capabilities", "this processor lacks what the saved programs use", "restore on a similar processor"),
    ("Operation not permitted", "criu lacks a right", "run rt as root, outside of user namespaces"),
];

/// Reads the log of one call of CRIU. `message` is what CRIU said itself, in case that there is
/// no log.
pub fn read(log: &Path, message: Option<&str>) -> Finding {
    let text = rt_sys::file::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut lines = errors(&text);
    if lines.is_empty() {
        lines.extend(message.map(str::to_owned));
    }
    let known = KNOWN.iter().find(|(part, ..)| lines.iter().any(|line| line.contains(part)));
    // The line that was understood comes first, else CRIU's first complaint.
    if let Some((part, ..)) = known
        && let Some(at) = lines.iter().position(|line| line.contains(part))
    {
        lines[..=at].rotate_right(1);
    }
    for line in &lines {
        tracing::debug!("criu: {line}");
    }
    Finding { lines, cause: known.map(|k| k.1.to_owned()), remedy: known.map(|k| k.2), log: log.to_owned() }
}

/// Complaints that are no failures: CRIU goes on after them.
const HARMLESS: &[&str] = &["rlimit: Can't setup RLIMIT_NOFILE for self"];

/// The messages of the lines that are errors: `(00.012345)    123: Error (criu/x.c:1): message`.
fn errors(text: &str) -> Vec<String> {
    let message = |line: &str| {
        let (_, after) = line.split_once("Error (")?;
        let (_, message) = after.split_once("): ")?;
        (!HARMLESS.iter().any(|part| message.contains(part))).then(|| message.trim().to_owned())
    };
    let mut all: Vec<String> = text.lines().filter_map(message).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("dump.log");
        let text = "(00.004712) Dumping\n\
            (00.010000)     12: Error (criu/files.c:9): Can't do: No such file or directory\n\
            (00.012345) Error (criu/sk-inet.c:188): inet: Connected TCP socket, consider using --tcp-established option.\n\
            (00.012400) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";
        std::fs::write(&log, text).unwrap();
        let finding = read(&log, None);
        assert_eq!(finding.lines.len(), 3);
        assert!(finding.lines[0].starts_with("inet: Connected TCP"), "{:?}", finding.lines);
        assert_eq!(finding.cause.as_deref(), Some("the container has established TCP connections"));
        assert!(finding.to_string().ends_with(&format!("(log: {})", log.display())));
    }

    #[test]
    fn complaints_that_are_no_failures_are_passed_over() {
        let text = "(00.01) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
            (00.02) Error (criu/x.c:1): x: It broke\n";
        assert_eq!(errors(text), ["x: It broke"]);
    }

    #[test]
    fn without_a_log_criu_s_own_words_count() {
        let finding = read(Path::new("/no/such/log"), Some("criu is old"));
        assert_eq!(finding.to_string(), "criu is old (log: /no/such/log)");
        assert_eq!(read(Path::new("/no/such/log"), None).to_string(), "it gave no reason (log: /no/such/log)");
    }
}
