//! The steps, and what is expected of each.

/// What to expect of a step.
pub enum Expect {
    /// The same exit code, the same output, the same error.
    Same,
    /// The same exit code and output; rt's error is another, for this reason.
    OtherWords(&'static str),
    /// The same exit code and error; rt prints something else.
    OtherOutput(&'static str),
    /// Another exit code, and maybe all else, too.
    Other(&'static str),
    /// Statistics: each of runc's keys is there, with a value of the same kind.
    SameKeys,
    /// A wrong command line: both say so and print their help; the sentence is each one's own.
    Misuse,
}

use Expect::{Misuse, Other, OtherOutput, OtherWords, Same, SameKeys};

/// Newer runc, which contracts.md follows.
const SINCE: &str = "Debian's runc is 1.1; this is how 1.2 and later say it";
/// runc's since 1.2: a `--root` that was given and is not there is an error.
const ROOT: &str = "Debian's runc is 1.1; since 1.2 a --root that does not exist is an error";
const NAMES_FIELD: &str = "names the field or the option, and what may stand there";

/// The life of one container. ID is its id.
pub fn life() -> Vec<(&'static str, Expect)> {
    vec![
        ("list", Other(ROOT)),
        ("list --quiet", Other(ROOT)),
        ("list --format json", Other(ROOT)),
        ("state ID", Same),
        ("start ID", Same),
        ("kill ID", Same),
        ("pause ID", Same),
        ("resume ID", Same),
        ("ps ID", Same),
        ("exec ID true", Same),
        ("update --pids-limit 5 ID", Same),
        ("events --stats ID", Same),
        ("delete ID", Same),
        ("delete --force ID", Same),
        // Created.
        ("create ID", Same),
        ("create ID", Same),
        ("state ID", Same),
        ("list", Same),
        ("list -f json", Same),
        ("list -q", Same),
        ("ps ID", OtherOutput("the program that waits in the container has its own name")),
        ("ps -f json ID", Same),
        ("exec ID echo early", Same),
        ("pause ID", Same),
        ("state ID", Same),
        ("resume ID", Same),
        ("resume ID", Same),
        ("checkpoint ID", Same),
        // Running.
        ("start ID", Same),
        ("start ID", Same),
        ("state ID", Same),
        ("delete ID", Same),
        ("ps ID", Same),
        ("ps ID -o pid,comm", Same),
        ("ps --format json ID", Same),
        ("exec ID id", Same),
        ("exec --user 1:2 ID id", Same),
        ("exec --user 1000 ID id", Same),
        ("exec -e A=b ID sh -c 'echo $A $HOME $PATH'", Same),
        ("exec --cwd /bin ID pwd", Same),
        ("exec ID sh -c 'exit 3'", Same),
        ("exec ID sh -c 'kill -9 $$'", Same),
        ("exec ID sh -c 'cat /proc/self/limits; grep -v ^Speculation /proc/self/status | grep Cap'", Same),
        ("exec ID sh -c 'echo to stderr >&2'", Same),
        ("exec ID nosuch", OtherWords("without the stages of runc's own making in front")),
        ("exec ID /bin", OtherWords(SINCE)),
        ("exec ID", OtherWords(SINCE)),
        ("exec --cwd /nosuch ID true", OtherWords(NAMES_FIELD)),
        ("exec --user nobody ID true", OtherWords(NAMES_FIELD)),
        ("exec --cap CAP_NOSUCH ID true", OtherWords(NAMES_FIELD)),
        ("exec --cap CAP_SYS_TIME ID sh -c 'grep Cap /proc/self/status'", Same),
        ("exec --detach --tty ID true", Same),
        ("exec --process /nosuch ID", Same),
        ("kill ID 0", Same),
        ("kill ID NOSUCH", Same),
        ("kill ID 99", OtherWords("says that there is no such signal")),
        ("kill ID usr1", Same),
        ("update ID", Same),
        ("update --pids-limit 20 ID", Same),
        ("update --memory abc ID", OtherWords(NAMES_FIELD)),
        ("update --resources /nosuch ID", Same),
        ("events --stats ID", SameKeys),
        ("events --interval 0s ID", OtherWords(NAMES_FIELD)),
        // Paused.
        ("pause ID", Same),
        ("pause ID", OtherWords("says that it is paused already, where runc takes it for stopped")),
        ("state ID", Same),
        ("list", Same),
        ("exec ID true", Same),
        ("delete ID", Same),
        ("resume ID", Same),
        // Stopped.
        ("kill ID KILL", Same),
        ("kill ID KILL", Same),
        ("kill --all ID KILL", Same),
        ("state ID", Same),
        ("list -f json", Same),
        ("exec ID true", Same),
        ("start ID", Same),
        ("pause ID", Same),
        ("resume ID", Same),
        ("ps ID", Same),
        ("ps -f json ID", OtherOutput("an empty list; runc's null is no list")),
        ("events --stats ID", Same),
        ("checkpoint ID", Same),
        ("delete ID", Same),
        ("delete ID", Same),
        ("checkpoint ID", Same),
        // Command lines.
        ("create a/b", Same),
        ("create ''", OtherWords(SINCE)),
        ("spec", Same),
        ("create --bundle /nosuch ID", OtherWords("names the file that is missing, not the directory")),
        ("create --console-socket /nosuch ID", Same),
        ("create --pid-file /nosuch/pid ID", OtherWords("names the file as it was asked for")),
        ("nosuch", OtherOutput("runc says nothing on standard output here")),
        ("state", Misuse),
        ("state a b", Misuse),
        ("state --nosuch ID", Misuse),
        ("kill", Misuse),
        ("exec", Misuse),
        ("--nosuch list", Misuse),
        ("update --pids-limit x ID", Other("an option of each its own form; runc prints its help")),
        ("list --format xml", OtherOutput("prints the help")),
        ("--log /nosuch/log list", Same),
        ("--root / list", Other("refused, as runc does since 1.2")),
        ("--log-format xml list", OtherOutput("prints the help")),
        ("--criu /usr/sbin/criu list", Same),
    ]
}

/// A container that is saved and restored. IMAGE is a directory that is not there at first.
pub fn saved() -> Vec<(&'static str, Expect)> {
    vec![
        ("restore --image-path IMAGE ID", OtherWords(NAMES_FIELD)),
        ("run -d ID > /dev/null 2>&1", Same),
        ("restore --image-path IMAGE ID", Same),
        // It runs on.
        ("checkpoint --image-path IMAGE --leave-running ID", Same),
        ("state ID", Same),
        ("checkpoint --image-path IMAGE --manage-cgroups-mode nosuch ID", OtherOutput("prints the help")),
        ("checkpoint --image-path IMAGE --empty-ns nosuch ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --page-server nosuch ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --page-server 127.0.0.1 ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --page-server 127.0.0.1:x ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --parent-path ../nosuch ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --parent-path /nosuch ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE/nosuch/deep --leave-running ID", Same),
        ("checkpoint --image-path IMAGE/pstree.img --leave-running ID", OtherWords(NAMES_FIELD)),
        ("checkpoint --image-path IMAGE --leave-running --status-fd 99 ID", Other(SINCE)),
        ("checkpoint", Misuse),
        ("restore", Misuse),
        ("state ID", Same),
        // It ends.
        ("checkpoint --image-path IMAGE ID", Same),
        ("state ID", Same),
        ("list -q", Same),
        ("restore -d --image-path IMAGE/nosuch/none ID", OtherWords(NAMES_FIELD)),
        ("restore -d --image-path IMAGE --bundle /nosuch ID", OtherWords("names the file that is missing")),
        ("restore -d --image-path IMAGE --console-socket /nosuch ID", Same),
        ("restore -d --image-path IMAGE a/b", Same),
        // It goes on.
        ("restore -d --image-path IMAGE --pid-file PIDFILE ID > /dev/null 2>&1", Same),
        ("restore -d --image-path IMAGE ID", Same),
        ("state ID", Same),
        ("list", Same),
        ("ps ID -o pid,comm", Same),
        ("exec ID sh -c 'echo $HOME; cat /dev/shm/n; cat /proc/1/cmdline'", Same),
        ("update --pids-limit 20 ID", Same),
        ("events --stats ID", SameKeys),
        // Saved while it is paused, and restored in the foreground, to its end.
        ("pause ID", Same),
        ("checkpoint --image-path IMAGE ID", Same),
        ("state ID", Same),
        ("resume ID", Same),
        ("checkpoint --image-path IMAGE/second ID", Same),
        (
            "restore --image-path IMAGE/second ID > /dev/null 2>&1 & sleep 1; \"$0\" --root \"$1\" kill ID USR1; wait $!",
            Same,
        ),
        ("state ID", Same),
        ("list -q", Same),
    ]
}
