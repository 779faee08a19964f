//! The same commands to Debian's runc and to rt, on the same container: exit code, output and error
//! have to be the same. What differs stands here with its reason, and a difference that is listed
//! but not seen fails, too.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use rt_tests::{Bundle, need, need_criu, need_host};
use serde_json::Value;

#[path = "golden/steps.rs"]
mod steps;

use steps::Expect::{self, Misuse, Other, OtherOutput, OtherWords, Same, SameKeys};

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
    /// In front of PATH.
    tools: &'a Path,
    id: String,
}

impl Side<'_> {
    /// Through files: a pipe would be held open by runc's container.
    fn run(&self, line: &str) -> Said {
        let (out, err) = (self.root.join(".out"), self.root.join(".err"));
        let script = format!("exec \"$0\" --root \"$1\" {}", self.filled(line));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(self.program).arg(self.root.join("state")).current_dir(self.bundle);
        command.env("PATH", format!("{}:{}", self.tools.display(), std::env::var("PATH").unwrap()));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let status = command.status().unwrap();
        let text = |path| self.anonymous(&fs::read_to_string(path).unwrap());
        let err = text(&err).lines().map(message).collect();
        Said { code: status.code().unwrap_or(-1), out: text(&out), err }
    }

    /// The step with its names in place.
    fn filled(&self, line: &str) -> String {
        let beside = |name: &str| self.root.join(name).to_str().unwrap().to_owned();
        line.replace("PIDFILE", &beside("pid")).replace("ID", &self.id).replace("IMAGE", &beside("image"))
    }

    /// Without what is each one's own: the id, the paths, numbers of processes, times, the width of
    /// columns.
    fn anonymous(&self, text: &str) -> String {
        let text = text.replace(&self.id, "ID").replace(self.bundle.to_str().unwrap(), "BUNDLE");
        let text = text.replace(self.root.to_str().unwrap(), "ROOT");
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
                    // Both leave it out when it is zero; the pages of a program belong to whoever read them first.
                    None if at == "/data/memory" && key == "cache" => {}
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

fn pause() -> bool {
    std::thread::sleep(std::time::Duration::from_millis(10));
    false
}

/// Both take the same steps; fails with all that is not as expected.
fn compare(bundle: &Bundle, tools: &Path, steps: &[(&'static str, Expect)]) {
    bundle.write();
    let rt = rt_tests::rt();
    let root = tempfile::Builder::new().prefix("rt-golden-").tempdir().unwrap();
    let both = [(Path::new(RUNC), "runc"), (rt.as_path(), "rt")].map(|(program, name)| {
        let root = root.path().join(name);
        fs::create_dir(&root).unwrap();
        let id = format!("rt-test-golden-{}-{}", std::process::id(), if name == "rt" { "b" } else { "a" });
        let side = Side { program, root: &root, bundle: bundle.path(), tools, id };
        let mut said = Vec::new();
        for (line, _) in steps {
            said.push(side.run(line));
            if line.starts_with("kill ID KILL") {
                // A container that does not end is found by the next step.
                let ends = (0..500).any(|_| side.run("state ID").out.contains("stopped") || pause());
                assert!(ends || said.len() > 1);
            }
        }
        side.run("delete --force ID");
        said
    });
    let mut wrong = String::new();
    for (((line, expect), runc), rt) in steps.iter().zip(&both[0]).zip(&both[1]) {
        if let Some(what) = verdict(expect, runc, rt) {
            wrong += &format!("\n{line}: {what}\n  runc {runc:?}\n  rt   {rt:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_life_as_runc_tells_it() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    compare(&Bundle::new(&["sleep", "1000"]), Path::new("/nosuch"), &steps::life());
}

#[test]
fn saved_and_restored_as_runc_tells_it() {
    let criu = need_criu!();
    need!(Path::new(RUNC).exists(), "needs runc");
    let script = "echo 7 > /dev/shm/n; trap 'exit 3' USR1; sleep 1000 & wait";
    compare(&Bundle::shell(script), criu.parent().unwrap(), &steps::saved());
}
