//! The manual pages and the completions come from the same definition as the help, and lack nothing
//! of it.

#[path = "../examples/manual/completions.rs"]
mod completions;
#[path = "../examples/manual/pages.rs"]
mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn texts(files: Vec<(String, Vec<u8>)>) -> BTreeMap<String, String> {
    files.into_iter().map(|(path, text)| (path, String::from_utf8(text).unwrap())).collect()
}

/// An option that nobody can find does not exist.
#[test]
fn every_option_is_in_all_of_them() {
    let (pages, completions) = (texts(pages::all()), texts(completions::all()));
    let mut definition = rt_cli::definition();
    definition.build();
    let mut options = 0;
    for command in std::iter::once(&definition).chain(definition.get_subcommands()) {
        if command.get_name() == "help" {
            continue;
        }
        let name = if command.get_name() == "rt" { "rt".to_owned() } else { format!("rt-{}", command.get_name()) };
        let page = &pages[&format!("man/man8/{name}.8")];
        for option in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            options += 1;
            let dashes = long.replace('-', "\\-");
            assert!(page.contains(&format!("\\-\\-{dashes}")), "{name}: --{long} is not in the manual page");
            for (path, text) in &completions {
                let form = if path.ends_with(".fish") { format!("-l {long}") } else { format!("--{long}") };
                assert!(text.contains(&form), "{name}: --{long} is not in {path}");
            }
        }
    }
    assert!(options > 100, "{options}");
}

/// An example that is refused teaches nothing.
#[test]
fn examples_are_command_lines() {
    for (_, line) in pages::EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
        let words = line.split(" | ").next().unwrap_or_default().split(' ');
        let parsed = rt_cli::definition().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{line}: {parsed:?}");
    }
}

/// What man(1) complains about is shown wrongly.
#[test]
fn pages_are_shown_without_complaint() {
    if Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: needs groff");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in pages::all() {
        let file = directory.path().join(Path::new(&path).file_name().unwrap());
        fs::write(&file, text).unwrap();
        let shown = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{path}");
    }
}

/// Where a command takes a container, its id is completed; where it takes a new one, none is.
#[test]
fn ids_are_completed_in_bash() {
    let directory = tempfile::tempdir().unwrap();
    let rt = directory.path().join("rt");
    fs::write(&rt, "#!/bin/sh\n[ \"$*\" = \"list --quiet\" ] && printf 'web\\nworker\\ndb\\n'\n[ \"$1\" = --root ] && echo of-$2\n").unwrap();
    fs::set_permissions(&rt, fs::Permissions::from_mode(0o755)).unwrap();
    let script = directory.path().join("completion");
    fs::write(&script, &texts(completions::all())["bash-completion/completions/rt"]).unwrap();
    let complete = |line: &str| {
        let words = line.split(' ').count();
        let test = format!(
            "complete() {{ :; }}; . {}; COMP_WORDS=({line}); [[ '{line}' != *' ' ]] || COMP_WORDS+=(''); COMP_CWORD=$(({words} - 1))
             _rt_with_ids rt \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash").args(["-c", &test]).env("PATH", path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("rt start w"), "web worker");
    assert_eq!(complete("rt delete --force d"), "db");
    assert_eq!(complete("rt --root /x kill o"), "of-/x");
    assert_eq!(complete("rt exec we"), "web");
    assert_eq!(complete("rt run w"), "");
    assert_eq!(complete("rt checkpoint --image-path w"), "");
    assert!(complete("rt start --h").contains("--help"));
    assert!(complete("rt che").contains("checkpoint"));
}
