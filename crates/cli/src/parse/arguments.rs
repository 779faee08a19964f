//! What a command line said, and the quick reader of those that engines write.
//!
//! Building clap's definition costs as much as all else that `rt state` does. So a command line is
//! first read by the tables alone. The reader knows what it is sure of; whatever is unusual, wrong
//! or asks for help it leaves to clap.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::context::absolute;
use crate::parse::grammar::{Grammar, Opt, Takes};

/// The values of options and words by their names. Options without a value have an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Vec<(&'static str, OsString)>);

impl Arguments {
    /// Every value of `name`.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a OsStr> {
        self.0.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_os_str())
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.all(name).last()
    }

    /// Whether `name` was given.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option that takes text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(OsStr::to_str)
    }

    /// Every value of an option that takes text.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).filter_map(OsStr::to_str).map(str::to_owned).collect()
    }

    /// A path, made absolute.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(|path| absolute(path.as_ref()))
    }

    /// A number, 0 if it was not given.
    pub fn number(&self, name: &str) -> u32 {
        self.text(name).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The container's id. An id that is not UTF-8 is the id of no container.
    pub fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// What clap has read by the same table.
    pub fn of(grammar: &Grammar, matches: &ArgMatches) -> Arguments {
        let mut all = Vec::new();
        for option in grammar.options() {
            match option.takes {
                Takes::Nothing if matches.get_flag(option.long) => all.push((option.long, OsString::new())),
                Takes::Nothing => {}
                _ => {
                    all.extend(matches.get_raw(option.long).into_iter().flatten().map(|v| (option.long, v.to_owned())))
                }
            }
        }
        let names = grammar.words.iter().map(|word| word.name).chain(grammar.rest.iter().map(|rest| rest.name));
        for name in names {
            all.extend(matches.get_raw(name).into_iter().flatten().map(|v| (name, v.to_owned())));
        }
        Arguments(all)
    }
}

/// A command line as read.
#[derive(Debug)]
pub struct Line {
    /// The options before the command.
    pub global: Arguments,
    /// The command and what comes with it.
    pub command: Option<(&'static Grammar, Arguments)>,
}

/// Reads `words`, which come after the program's name. None leaves them to clap.
pub fn read(global: &Grammar, commands: &[&'static Grammar], words: &[OsString]) -> Option<Line> {
    let mut words = words.iter().map(OsString::as_os_str);
    let mut before = Reader::new(global);
    let command = loop {
        let word = words.next()?;
        if !before.option(word, &mut words)? {
            break word;
        }
    };
    let command = commands.iter().find(|c| command == c.name)?;
    let mut inside = Reader::new(command);
    while let Some(word) = words.next() {
        if inside.foreign() {
            inside.rest(word);
        } else if !inside.option(word, &mut words)? {
            inside.word(word)?;
        }
    }
    Some(Line { global: before.finish()?, command: Some((command, inside.finish()?)) })
}

struct Reader<'g> {
    grammar: &'g Grammar,
    found: Vec<(&'static str, OsString)>,
    words: usize,
}

impl<'g> Reader<'g> {
    fn new(grammar: &'g Grammar) -> Reader<'g> {
        Reader { grammar, found: Vec::with_capacity(16), words: 0 }
    }

    /// Whether what comes now belongs to another program.
    fn foreign(&self) -> bool {
        self.words > self.grammar.words.len() && self.grammar.rest.is_some_and(|rest| rest.foreign)
    }

    /// Reads an option with its value; false if `word` is none, None if clap has to look at it.
    fn option<'w>(&mut self, word: &'w OsStr, words: &mut impl Iterator<Item = &'w OsStr>) -> Option<bool> {
        let bytes = word.as_bytes();
        if !bytes.starts_with(b"-") {
            return Some(false);
        }
        let text = word.to_str()?;
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let option = match name.strip_prefix("--") {
            Some(long) => self.grammar.options().find(|o| o.long == long)?,
            None => {
                let mut letters = name.chars().skip(1);
                let letter = letters.next()?;
                // Letters in a row, and values that follow theirs at once.
                if letters.next().is_some() || inline.is_some() {
                    return None;
                }
                self.grammar.options().find(|o| o.short == Some(letter))?
            }
        };
        let value = match (option.takes, inline) {
            (Takes::Nothing, None) => OsStr::new(""),
            (Takes::Nothing, Some(_)) => return None,
            (_, Some(value)) => OsStr::new(value),
            // A word that looks like an option may stand where the value of the option before it
            // was forgotten.
            (_, None) => words.next().filter(|value| !value.as_bytes().starts_with(b"-"))?,
        };
        self.take(option, value)?;
        Some(true)
    }

    fn take(&mut self, option: &'static Opt, value: &OsStr) -> Option<()> {
        let again = !option.many && self.found.iter().any(|(name, _)| *name == option.long);
        if again || (option.takes != Takes::Nothing && !option.allows(value)) {
            return None;
        }
        self.found.push((option.long, value.to_owned()));
        Some(())
    }

    fn word(&mut self, word: &OsStr) -> Option<()> {
        match self.grammar.words.get(self.words) {
            Some(known) if known.values.is_empty() || known.values.iter().any(|v| word == *v) => {
                self.found.push((known.name, word.to_owned()));
                self.words += 1;
            }
            Some(_) => return None,
            None => {
                self.grammar.rest?;
                self.rest(word);
            }
        }
        Some(())
    }

    fn rest(&mut self, word: &OsStr) {
        if let Some(rest) = self.grammar.rest {
            self.found.push((rest.name, word.to_owned()));
            self.words += 1;
        }
    }

    /// The same order as [`Arguments::of`] has, with defaults. None if something is missing.
    fn finish(mut self) -> Option<Arguments> {
        let has = |found: &[(&str, OsString)], name: &str| found.iter().any(|(n, _)| *n == name);
        for word in self.grammar.words {
            if !has(&self.found, word.name) {
                match word.default {
                    Some(value) => self.found.push((word.name, value.into())),
                    None if word.required => return None,
                    None => {}
                }
            }
        }
        let least = self.grammar.words.len() + self.grammar.rest.map_or(0, |rest| rest.least);
        if self.grammar.rest.is_some_and(|rest| rest.least > 0) && self.words < least {
            return None;
        }
        for option in self.grammar.options() {
            if let Some(value) = option.default.filter(|_| !has(&self.found, option.long)) {
                self.found.push((option.long, value.into()));
            }
        }
        Some(Arguments(self.found))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commands;
    use crate::parse::{GLOBAL, definition};

    fn grammars() -> Vec<&'static Grammar> {
        commands::ALL.iter().map(|(grammar, _)| *grammar).collect()
    }

    fn quick(line: &[&str]) -> Option<Line> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        read(&GLOBAL, &grammars(), &words)
    }

    /// Values by name; the order among names means nothing.
    fn sorted(arguments: &Arguments) -> Vec<(&'static str, OsString)> {
        let mut all = arguments.0.clone();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// The command lines of containerd's shim, conmon and people: if these went to clap, each would
    /// cost 140 µs.
    #[test]
    fn everyday_command_lines_are_read_quickly() {
        let shim = ["--root", "/run/x", "--log", "/l.json", "--log-format", "json", "--systemd-cgroup"];
        let commands: [&[&str]; 12] = [
            &["create", "--bundle", "/b", "--pid-file", "/p", "--console-socket", "/s", "abc"],
            &["start", "abc"],
            &["state", "abc"],
            &["kill", "--all", "abc", "9"],
            &["delete", "--force", "abc"],
            &["exec", "--process", "/p", "--detach", "--pid-file", "/p", "abc"],
            &["exec", "-e", "A=b", "-e", "C=d", "-u", "1:2", "abc", "sh", "-c", "ls -l"],
            &["run", "-b", "/b", "-d", "--keep", "abc"],
            &["run", "--bundle=/b", "abc", "--detach"],
            &["pause", "abc"],
            &["update", "--memory", "1g", "abc"],
            &["list", "--format", "json"],
        ];
        for command in commands {
            let line: Vec<&str> = shim.iter().chain(command).copied().collect();
            let called = quick(&line).and_then(|line| line.command).map(|(grammar, _)| grammar.name);
            assert_eq!(called, Some(command[0]), "{line:?}");
        }
    }

    /// Command lines that are left to clap, because a person has to get its help or its error
    /// message.
    #[test]
    fn what_is_unusual_is_left_to_clap() {
        let lines: [&[&str]; 12] = [
            &[],
            &["--help"],
            &["-v"],
            &["nope"],
            &["create"],
            &["create", "--nope", "c"],
            &["create", "c", "d"],
            &["create", "--bundle"],
            &["create", "--bundle", "--pid-file", "c"],
            &["create", "--preserve-fds", "x", "c"],
            &["--log-format", "xml", "state", "c"],
            &["exec"],
        ];
        for line in lines {
            assert!(quick(line).is_none(), "{line:?}");
        }
    }

    /// Words that a command line of `grammar` may be made of, and some that are wrong there.
    fn word(grammar: &'static Grammar) -> impl Strategy<Value = String> + use<> {
        let wrong = ["-", "--", "", "-x", "--no", "-it", "--memory", "-f"];
        let values = ["a", "b", "7", "json", "/p", "A=b", "explain"];
        let mut known: Vec<String> = wrong.iter().chain(&values).chain(&values).map(|w| (*w).to_owned()).collect();
        for option in grammar.options() {
            known.push(format!("--{}", option.long));
            known.extend(values.iter().take(4).map(|value| format!("--{}={value}", option.long)));
            known.extend(option.short.map(|letter| format!("-{letter}")));
        }
        proptest::sample::select(known)
    }

    fn line() -> impl Strategy<Value = Vec<String>> {
        let before = proptest::collection::vec(word(&GLOBAL), 0..3);
        let inside = proptest::sample::select(grammars()).prop_flat_map(|grammar| {
            proptest::collection::vec(word(grammar), 0..6).prop_map(|words| (grammar.name.to_owned(), words))
        });
        (before, inside).prop_map(|(before, (name, inside))| before.into_iter().chain([name]).chain(inside).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

        /// Two readers of one line must never understand it differently.
        #[test]
        fn the_quick_reader_agrees_with_clap(line in line()) {
            let words: Vec<&str> = line.iter().map(String::as_str).collect();
            let found = quick(&words);
            prop_assume!(found.is_some());
            let Line { global, command } = found.unwrap();
            let (grammar, inside) = command.unwrap();
            let matches = definition().try_get_matches_from(["rt"].iter().chain(&words));
            let matches = matches.map_err(|e| TestCaseError::fail(format!("{line:?}: {e}")))?;
            prop_assert_eq!(sorted(&global), sorted(&Arguments::of(&GLOBAL, &matches)), "{:?}", line);
            let (name, theirs) = matches.subcommand().unwrap();
            prop_assert_eq!(name, grammar.name, "{:?}", line);
            prop_assert_eq!(sorted(&inside), sorted(&Arguments::of(grammar, theirs)), "{:?}", line);
        }
    }
}
