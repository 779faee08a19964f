//! The same commands to Debian's runc and to rt, on the same container: exit code, output and error
//! have to be the same. What differs stands here with its reason, and a difference that is listed
//! but not seen fails, too.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use rt_tests::{Bundle, done, need, need_host};
use serde_json::Value;

/// What to expect of a step.
enum Expect {
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
fn life() -> Vec<(&'static str, Expect)> {
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

/// What a command said.
#[derive(Debug, PartialEq)]
struct Said {
    code: i32,
    out: String,
    err: Vec<String>,
}

struct Side<'a> {
    program: &'a Path,
    root: &'a Path,
    bundle: &'a Path,
    id: String,
}

impl Side<'_> {
    /// Through files: a pipe would be held open by runc's container.
    fn run(&self, line: &str) -> Said {
        let (out, err) = (self.root.join(".out"), self.root.join(".err"));
        let script = format!("exec \"$0\" --root \"$1\" {}", line.replace("ID", &self.id));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(self.program).arg(self.root.join("state")).current_dir(self.bundle);
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let status = command.status().unwrap();
        let text = |path| self.anonymous(&fs::read_to_string(path).unwrap());
        let err = text(&err).lines().map(message).collect();
        Said { code: status.code().unwrap_or(-1), out: text(&out), err }
    }

    /// Without what is each one's own: the id, the paths, numbers of processes, times, the width of
    /// columns.
    fn anonymous(&self, text: &str) -> String {
        let text = text.replace(&self.id, "ID").replace(self.bundle.to_str().unwrap(), "BUNDLE");
        let text = stamps_removed(&text.replace("runc", "rt"));
        // Each follows a version of the specification.
        let text = text.replace("1.0.2-dev", "1.3.0");
        let line = |line: &str| {
            let words = line.split_inclusive([' ', '"', ',', '[', ']', '\t', ':', ')']).map(|word| {
                let core = word.trim_end_matches([' ', '"', ',', '[', ']', '\t', ')']);
                let number = core.len() > 2 && core.bytes().all(|b| b.is_ascii_digit());
                if number { word.replace(core, "N") } else { word.to_owned() }
            });
            let mut words: Vec<String> = words.collect::<String>().split_whitespace().map(clock).collect();
            // A line of ps(1): how much of a processor, and for how long, is each one's own, too.
            if words.len() > 6 && words[4] == "HH:MM" {
                words[3] = "C".to_owned();
                words[6] = "TIME".to_owned();
            }
            words.join(" ")
        };
        text.lines().map(|l| line(l) + "\n").collect()
    }
}

/// RFC 3339 stamps stand between spaces or quotes.
fn stamps_removed(text: &str) -> String {
    let is_stamp = |part: &str| part.starts_with("20") && part.contains('T') && part.ends_with('Z');
    let parts = text.split_inclusive([' ', '"']).map(|part| {
        let core = part.trim_end_matches([' ', '"']);
        if is_stamp(core) { part.replace(core, "TIME") } else { part.to_owned() }
    });
    parts.collect()
}

/// A word of ps(1) that is hours and minutes.
fn clock(word: &str) -> String {
    let two = |p: &str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit());
    let is_clock = word.split_once(':').is_some_and(|(hours, minutes)| two(hours) && two(minutes));
    if is_clock { "HH:MM".to_owned() } else { word.to_owned() }
}

/// The message of a line of the log; rt has no other form on standard error than the message
/// itself.
fn message(line: &str) -> String {
    let text = line.split_once(" msg=\"").and_then(|(_, text)| text.strip_suffix('"')).unwrap_or(line);
    // rt names the container that is there already, or is not; engines match what stands before.
    let named = ["container with given ID already exists", "container does not exist"];
    let text = text.strip_suffix(": ID").filter(|text| named.iter().any(|words| text.ends_with(words))).unwrap_or(text);
    text.replace("\\\"", "\"").replace("\\n", "")
}

/// Keys of runc's that are not in rt's, or are of another kind.
fn missing(runc: &Value, rt: &Value, at: &str, found: &mut Vec<String>) {
    match (runc, rt) {
        (Value::Object(runc), Value::Object(rt)) => {
            for (key, value) in runc {
                match rt.get(key) {
                    Some(ours) => missing(value, ours, &format!("{at}/{key}"), found),
                    None => found.push(format!("{at}/{key}")),
                }
            }
        }
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => {}
        _ => found.push(format!("{at}: {runc} {rt}")),
    }
}

/// What is wrong with a step, if anything.
fn verdict(expect: &Expect, runc: &Said, rt: &Said) -> Option<String> {
    let same = (runc.code == rt.code, output_agrees(&runc.out, &rt.out), runc.err == rt.err);
    let listed = |wanted: (bool, bool, bool), why: &str| {
        (same != wanted).then(|| format!("differs in another way than is listed ({why}), or not at all"))
    };
    match expect {
        Same => (same != (true, true, true)).then(|| "differs".to_owned()),
        OtherWords(why) => listed((true, true, false), why),
        OtherOutput(why) => {
            let right = same.0 && !same.1 && rt.err.is_empty() == runc.err.is_empty();
            (!right).then(|| format!("differs in another way than is listed ({why}), or not at all"))
        }
        Other(why) => (same == (true, true, true)).then(|| format!("does not differ any more ({why})")),
        SameKeys => {
            let parse = |text: &str| serde_json::from_str::<Value>(&text.replace("[N", "[0").replace("N", "0")).ok();
            let (Some(a), Some(b)) = (parse(&runc.out), parse(&rt.out)) else { return Some("is no JSON".to_owned()) };
            let mut found = Vec::new();
            missing(&a, &b, "", &mut found);
            (!found.is_empty() || runc.code != rt.code).then(|| format!("lacks {found:?}"))
        }
        Misuse => {
            let told = |said: &Said| said.out.starts_with("Incorrect Usage") && said.code == 1;
            (!told(runc) || !told(rt) || rt.err.len() != 1).then(|| "is not told as misuse".to_owned())
        }
    }
}

/// The state of a stopped container has keys that runc's has not, which callers ignore; all else is
/// the same text.
fn output_agrees(runc: &str, rt: &str) -> bool {
    let without_extras = |text: &str| {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        let documents = if value.is_array() { value.as_array_mut() } else { None };
        for document in documents.into_iter().flatten() {
            document.as_object_mut().map(|d| d.remove("exit"));
        }
        if let Some(document) = value.as_object_mut() {
            document.remove("exit");
        }
        value.to_string()
    };
    let readable = |text: &str| text.replace(":N", ":0").replace("[N", "[0").replace(" N,", " 0,");
    runc == rt || without_extras(&readable(runc)) == without_extras(&readable(rt))
}

const RUNC: &str = "/usr/sbin/runc";

#[test]
fn a_life_as_runc_tells_it() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let rt = rt_tests::rt();
    let root = tempfile::Builder::new().prefix("rt-golden-").tempdir().unwrap();
    let both = [(Path::new(RUNC), "runc"), (rt.as_path(), "rt")].map(|(program, name)| {
        let root = root.path().join(name);
        fs::create_dir(&root).unwrap();
        let id = format!("rt-test-golden-{}-{}", std::process::id(), if name == "rt" { "b" } else { "a" });
        let side = Side { program, root: &root, bundle: bundle.path(), id };
        let said: Vec<Said> = life()
            .iter()
            .map(|(line, _)| {
                let said = side.run(line);
                if line.starts_with("kill ID KILL") {
                    rt_tests::eventually("the end", || side.run("state ID").out.contains("stopped"));
                }
                said
            })
            .collect();
        side.run("delete --force ID");
        said
    });
    let mut wrong = String::new();
    for (((line, expect), runc), rt) in life().iter().zip(&both[0]).zip(&both[1]) {
        if let Some(what) = verdict(expect, runc, rt) {
            wrong += &format!("\n{line}: {what}\n  runc {runc:?}\n  rt   {rt:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every command of runc's help, and every option in the help of each, is one that rt takes.
#[test]
fn every_option_of_runc_is_known() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    let help = |words: &[&str]| {
        let mut command = Command::new(RUNC);
        command.args(words).arg("--help");
        done(command).ok().to_owned()
    };
    let section = |text: &str, title: &str| -> Vec<String> {
        let from = text.lines().skip_while(|l| !l.starts_with(title)).skip(1);
        from.take_while(|l| !l.trim().is_empty()).map(str::to_owned).collect()
    };
    let mut seen = 0;
    let mut unknown = Vec::new();
    let listed = section(&help(&[]), "COMMANDS:");
    let names = listed.iter().filter_map(|l| l.split([',', ' ']).find(|w| !w.is_empty())).map(str::to_owned);
    for name in names.filter(|name| name != "init") {
        let words: Vec<&str> = [name.as_str()].into_iter().filter(|name| *name != "help").collect();
        let options = section(&help(&words), "OPTIONS:");
        for line in options {
            let is_option = |word: &&str| word.starts_with('-') && word.ends_with(|c: char| c.is_ascii_lowercase());
            for word in line.split([' ', ',']).filter(is_option).take(2) {
                let takes_value = line.contains(" value");
                let mut command = Command::new(rt_tests::rt());
                if name != "help" {
                    command.arg(&name);
                }
                // A wrong id or value is another mistake than an unknown option.
                command.arg(word).args(takes_value.then_some("table")).arg("no/such/id").stdin(Stdio::null());
                let said = done(command);
                seen += 1;
                if said.err.contains("unexpected argument") || said.code == 2 {
                    unknown.push(format!("{name} {word}: {}", said.err.trim()));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} options were found in the help of runc");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// What runc can do by its own word, rt can; the order of keys is not looked at.
#[test]
fn features_cover_those_of_runc() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    let features = |program: &Path| -> Value {
        let mut command = Command::new(program);
        command.arg("features");
        serde_json::from_str(done(command).ok()).unwrap()
    };
    let (runc, rt) = (features(Path::new(RUNC)), features(&rt_tests::rt()));
    for list in ["/hooks", "/mountOptions", "/linux/namespaces", "/linux/capabilities", "/linux/seccomp/actions"] {
        let of = |all: &Value| -> Vec<String> {
            let items = all.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
            items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let ours = of(&rt);
        assert!(!of(&runc).is_empty(), "{list}");
        // The kernel ignores the flag that runc 1.1 made of these; since 1.2 they are the
        // filesystem's own, as in rt.
        let gone = ["acl", "noacl"];
        let lacking = of(&runc).into_iter().filter(|item| !ours.contains(item) && !gone.contains(&item.as_str()));
        let lacking: Vec<String> = lacking.collect();
        assert!(lacking.is_empty(), "{list} lacks {lacking:?}");
    }
    for flag in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/seccomp/enabled",
        "/linux/apparmor/enabled",
    ] {
        assert_eq!(rt.pointer(flag), runc.pointer(flag), "{flag}");
    }
}

/// The template to start from is runc's.
#[test]
fn spec_writes_what_runc_writes() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    for options in [&[][..], &["--rootless"]] {
        let template = |program: &Path| -> Value {
            let dir = tempfile::tempdir().unwrap();
            let mut command = Command::new(program);
            command.arg("spec").args(options).current_dir(dir.path());
            done(command).ok();
            serde_json::from_str(&fs::read_to_string(dir.path().join("config.json")).unwrap()).unwrap()
        };
        let (mut runc, mut rt) = (template(Path::new(RUNC)), template(&rt_tests::rt()));
        // Each says which version of the specification it follows.
        for (document, name) in [(&mut runc, "runc"), (&mut rt, "rt")] {
            assert!(document["ociVersion"].take().as_str().is_some_and(|v| v.starts_with("1.")));
            assert_eq!(document["hostname"].take(), name);
        }
        // Ambient needs inheritable, which is empty: these have no effect.
        runc["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
        assert_eq!(rt, runc, "{options:?}");
    }
}
