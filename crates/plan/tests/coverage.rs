//! docs/spec-coverage.md names a test for every field of config.json. This keeps it from rotting:
//! every field that the model reads has a row, every row is about a field, and every test that a
//! row names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rt_plan::spec::{Document, unknown_keys};

/// The sources that define what is read of config.json.
const MODELS: [&str; 3] =
    ["crates/plan/src/spec/model.rs", "crates/seccomp/src/model.rs", "crates/resources/src/model.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Name in JSON and type of each field, per struct.
type Structs = BTreeMap<String, Vec<(String, String)>>;

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + &part[..1].to_uppercase() + &part[1..])
}

/// Reads the definitions, written as rustfmt writes them: one attribute or field a line.
fn structs() -> Structs {
    let mut found = Structs::new();
    for model in MODELS {
        let (mut current, mut renamed): (Option<String>, Option<String>) = (None, None);
        for line in read(model).lines() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("pub struct ") {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                found.insert(name.clone(), Vec::new());
                current = Some(name);
            } else if line == "}" {
                current = None;
            } else if line.starts_with("#[serde(") || line.starts_with("rename = ") {
                let name = line.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
                renamed = name.map(|(name, _)| name.to_owned()).or(renamed);
            } else if let (Some(owner), Some(field)) = (&current, line.strip_prefix("pub "))
                && let Some((name, kind)) = field.trim_end_matches(',').split_once(": ")
            {
                let name = renamed.take().unwrap_or_else(|| camel(name));
                found.get_mut(owner).unwrap().push((name, kind.to_owned()));
            }
        }
    }
    found
}

/// The pointers of all fields that hold a value; `*` is any index or key.
fn fields() -> BTreeSet<String> {
    fn walk(structs: &Structs, owner: &str, at: &str, out: &mut BTreeSet<String>) {
        for (name, kind) in &structs[owner] {
            let inner = structs.keys().find(|s| kind.split(|c: char| !c.is_alphanumeric()).any(|word| word == *s));
            let at = format!("{at}/{name}");
            match inner {
                Some(inner) => {
                    let many = ["List<", "Vec<", "BTreeMap<"].iter().any(|list| kind.contains(list));
                    walk(structs, inner, &if many { at + "/*" } else { at }, out);
                }
                None => drop(out.insert(at)),
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(&structs(), "Spec", "", &mut out);
    out
}

/// `/a/{b,c}/d` is `/a/b/d` and `/a/c/d`.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    choices.split(',').flat_map(|choice| expand(&format!("{before}{choice}{after}"))).collect()
}

/// One row: the words in backquotes of its first and of its second column, and the third as it is.
struct Row {
    subjects: Vec<String>,
    tests: Vec<String>,
    kernel: String,
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the table under a heading.
fn rows(heading: &str) -> Vec<Row> {
    let text = read("docs/spec-coverage.md");
    let section = text.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_else(|| panic!("no {heading:?}"));
    let rows = section.lines().filter(|l| l.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "three columns: {line}");
        Row { subjects: quoted(cells[0]), tests: quoted(cells[1]), kernel: cells[2].trim().to_owned() }
    });
    rows.collect()
}

/// The names of all tests: functions after `#[test]`, by file stem, and the shell functions of the
/// VM's groups.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root().join("crates"), root().join("tests/host/tests"), root().join("hack/vm/tests")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = match path.extension().and_then(|e| e.to_str()) {
                Some("rs" | "sh") => fs::read_to_string(&path).unwrap(),
                _ => continue,
            };
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line.strip_prefix("fn ").filter(|_| is_test).and_then(|l| l.split_once('('));
                if let Some((name, _)) = function {
                    found.insert(format!("{stem}::{name}"));
                }
                if let Some((name, _)) = line.strip_prefix("test_").and_then(|l| l.split_once("()")) {
                    found.insert(format!("vm {stem}/{}", name.replace('_', "-")));
                }
                is_test = line == "#[test]" || (is_test && (line.starts_with("#[") || line.starts_with("///")));
            }
        }
    }
    found
}

#[track_caller]
fn agree(what: &str, wanted: &BTreeSet<String>, listed: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(listed).collect();
    let unknown: Vec<_> = listed.difference(wanted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{what} without a row: {missing:#?}\nrows about nothing: {unknown:#?}"
    );
}

/// A field that is read and has no test is a field that nobody knows to work.
#[test]
fn every_field_has_a_row() {
    let mut listed = BTreeSet::new();
    for row in rows("Fields") {
        for field in row.subjects.iter().flat_map(|s| expand(s)) {
            assert!(listed.insert(field.clone()), "{field} has two rows");
        }
    }
    agree("fields", &fields(), &listed);
}

#[test]
fn every_mount_option_has_a_row() {
    let listed = rows("Mount options").iter().flat_map(|r| r.subjects.clone()).collect();
    agree("mount options", &rt_plan::mount_option_names().map(str::to_owned).collect(), &listed);
}

/// The test that a row names must be there, in the file that it names; and a row without one is no
/// coverage.
#[test]
fn every_row_names_tests_that_exist() {
    let tests = tests();
    for heading in ["Fields", "Mount options", "Annotations and the environment"] {
        let rows = rows(heading);
        assert!(!rows.is_empty(), "{heading}");
        for row in rows {
            assert!(!row.tests.is_empty(), "{:?} has no test", row.subjects);
            assert!(!row.kernel.is_empty(), "{:?} says nothing of the kernel", row.subjects);
            for test in &row.tests {
                assert!(tests.contains(test), "{:?}: there is no test `{test}`", row.subjects);
            }
        }
    }
}

/// `rt check` calls no key unknown that rt reads.
#[test]
fn every_field_is_a_known_key() {
    for field in fields() {
        let document =
            field.rsplit('/').filter(|segment| !segment.is_empty()).fold("0".to_owned(), |inner, segment| {
                if segment == "*" { format!("[{inner}]") } else { format!("{{\"{segment}\": {inner}}}") }
            });
        let found = unknown_keys(&Document::new("config.json", document.clone().into_bytes())).unwrap();
        assert_eq!(found, [], "{document}");
    }
}
