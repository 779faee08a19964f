//! What Go's flag package lets pass, for callers that were written against it.

use std::ffi::{OsStr, OsString};

use crate::commands;
use crate::parse::GLOBAL;

/// Go's flag package takes `-long` for `--long`, and containerd's restore relies on it.
pub fn with_two_dashes(arguments: Vec<OsString>) -> Vec<OsString> {
    let single_dash = |a: &OsStr| a.to_str().is_some_and(|a| a.len() > 2 && a.starts_with('-') && !a.starts_with("--"));
    if !arguments.iter().any(|a| single_dash(a)) {
        return arguments;
    }
    let called = |name: &str| arguments.iter().skip(1).any(|a| a == name);
    let command = commands::ALL.iter().map(|(grammar, _)| *grammar).find(|grammar| called(grammar.name));
    let longs: Vec<&str> = GLOBAL.options().chain(command.iter().flat_map(|c| c.options())).map(|o| o.long).collect();
    // What follows the program of exec, or the id of ps, is not ours.
    let foreign = command.is_some_and(|c| c.rest.is_some_and(|rest| rest.foreign));
    let mut own = true;
    let mut positionals = 0;
    arguments
        .into_iter()
        .enumerate()
        .map(|(i, a)| {
            if a == "--" {
                own = false;
            }
            let Some(text) = a.to_str().filter(|_| own && i > 0) else { return a };
            if !text.starts_with('-') {
                positionals += 1;
                // The command, the id, and then the program's own words.
                if foreign && positionals > 2 {
                    own = false;
                }
            }
            let name = text.trim_start_matches('-').split('=').next().unwrap_or_default();
            if single_dash(&a) && longs.contains(&name) {
                return OsString::from(format!("-{text}"));
            }
            a
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        let words = line.split(' ').map(OsString::from).collect();
        with_two_dashes(words).into_iter().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    /// Callers written against Go's flag package.
    #[test]
    fn single_dashes_are_read_as_go_reads_them() {
        assert_eq!(read("rt -root /x create -bundle /b c"), ["rt", "--root", "/x", "create", "--bundle", "/b", "c"]);
        assert_eq!(read("rt exec -it c sh -c -user"), ["rt", "exec", "-it", "c", "sh", "-c", "-user"]);
        assert_eq!(read("rt kill c -all"), ["rt", "kill", "c", "--all"]);
    }
}
