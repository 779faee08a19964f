//! The corpora through the functions that were fuzzed with them: what was once found stays fixed,
//! on every toolchain.

use std::fs;
use std::path::{Path, PathBuf};

/// Feeds a target with its corpus, and with each input cut short: that is how a crash leaves a
/// file. Seeds have a meaning, but for those named bad-*; else a change of format has made the
/// corpus worthless.
fn replay(target: &str, run: fn(&[u8]) -> bool) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{} has seeds", corpus.display());
    for file in files {
        println!("{}", file.display());
        let bytes = fs::read(&file).unwrap();
        let bad = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bad-"));
        assert_eq!(run(&bytes), !bad, "{}: should it have a meaning? See examples/seeds.rs", file.display());
        for part in 1..8 {
            run(&bytes[..bytes.len() * part / 8]);
        }
    }
}

/// Any config gives a plan or an error that names a field.
#[test]
fn config() {
    replay("config", rt_fuzz::config::run);
}

/// Any bytes are a plan to init, or none.
#[test]
fn plan() {
    replay("plan", rt_fuzz::plan::run);
}

/// Any state file is read, or refused.
#[test]
fn state() {
    replay("state", rt_fuzz::state::run);
}

/// Any profile compiles to what its rules say, or is refused.
#[test]
fn seccomp() {
    replay("seccomp", rt_fuzz::seccomp::run);
}

/// Any message from systemd is read, or refused.
#[test]
fn dbus() {
    replay("dbus", rt_fuzz::dbus::run);
}
