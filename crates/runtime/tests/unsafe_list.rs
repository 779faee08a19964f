//! docs/security.md lists every file with unsafe code; code that nobody has read must not slip in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All Rust sources below `dir`.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Unsafe blocks in code: not in comments, not the functions that are unsafe to call.
fn blocks(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.map(|line| line.matches("unsafe {").count()).sum()
}

#[test]
fn every_unsafe_block_is_listed() {
    let mut found = BTreeMap::new();
    for part in fs::read_dir(root().join("crates")).unwrap() {
        let mut files = Vec::new();
        sources(&part.unwrap().path().join("src"), &mut files);
        for file in files {
            let count = blocks(&fs::read_to_string(&file).unwrap());
            if count > 0 {
                found.insert(file.strip_prefix(root()).unwrap().display().to_string(), count);
            }
        }
    }
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `crates/"));
    let listed: BTreeMap<String, usize> = rows
        .filter_map(|row| {
            let (file, rest) = row.split_once("` | ")?;
            Some((format!("crates/{file}"), rest.split(' ').next()?.parse().ok()?))
        })
        .collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(listed, found, "read what is new, and put it into docs/security.md");
}
