//! Links between the documents lead somewhere: to a file of the project, and to a heading of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All documents: those at the top, and all below docs.
fn documents() -> Vec<PathBuf> {
    let is_document = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut found: Vec<PathBuf> = entries(&top()).into_iter().filter(is_document).collect();
    let mut todo = vec![top().join("docs")];
    while let Some(dir) = todo.pop() {
        let (dirs, files): (Vec<_>, Vec<_>) = entries(&dir).into_iter().partition(|path| path.is_dir());
        todo.extend(dirs);
        found.extend(files.into_iter().filter(is_document));
    }
    found
}

/// The targets of links and pictures, but for the web's.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.contains("://"))
}

/// What a heading is called in a link: lower case, words joined by hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in targets(&text) {
            count += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let there = file.exists();
            let found = heading.is_empty() || (there && anchors(&fs::read_to_string(&file).unwrap()).contains(heading));
            if !there || !found {
                broken.push(format!("{}: {target}", document.strip_prefix(top()).unwrap().display()));
            }
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Every document is reached from the README, in any number of steps.
#[test]
fn every_document_can_be_found() {
    let mut reached = BTreeSet::new();
    let mut todo = vec![top().join("README.md")];
    while let Some(document) = todo.pop() {
        let document = document.canonicalize().unwrap();
        let text = fs::read_to_string(&document).unwrap();
        let parent = document.parent().unwrap().to_owned();
        if reached.insert(document) {
            let paths = targets(&text).map(|target| target.split('#').next().unwrap_or_default());
            todo.extend(paths.filter(|path| path.ends_with(".md")).map(|path| parent.join(path)));
        }
    }
    let lost: Vec<_> = documents().into_iter().filter(|document| !reached.contains(document)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

/// A document that is not listed is missing in the site (`hack/site`).
#[test]
fn every_document_is_a_chapter() {
    let summary = top().join("docs/SUMMARY.md");
    let text = fs::read_to_string(&summary).unwrap();
    let chapters: BTreeSet<_> =
        targets(&text).map(|path| top().join("docs").join(path).canonicalize().unwrap()).collect();
    let missing: Vec<_> = documents().into_iter().filter(|d| *d != summary && !chapters.contains(d)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn headings_as_anchors() {
    assert_eq!(anchor(" What it costs, `rt run --from`"), "what-it-costs-rt-run---from");
    assert_eq!(targets("[a](b.md#c) ![d](e.svg) [f](https://g)").collect::<Vec<_>>(), ["b.md#c", "e.svg"]);
}
