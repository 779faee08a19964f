//! What a command line may look like, as plain tables: the reader of everyday command lines, clap,
//! and with it the help come from the same ones.

use std::ffi::OsStr;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// Text, which may begin with a dash.
    Text,
    /// Any bytes.
    Path,
    /// A number from 0 to 2^32-1.
    Number,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name, without dashes.
    pub long: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// What comes with it.
    pub takes: Takes,
    /// How the help calls what comes with it.
    pub value: &'static str,
    /// The only values there are; empty if there are others.
    pub values: &'static [&'static str],
    /// The value when it is not given.
    pub default: Option<&'static str>,
    /// It may be given several times, and all count.
    pub many: bool,
    /// Not in the help.
    pub hidden: bool,
    /// What the command does, for the help.
    pub help: &'static str,
}

/// A word of the command line that is no option.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Its name.
    pub name: &'static str,
    /// How the help calls it.
    pub value: &'static str,
    /// The only values there are; empty if there are others.
    pub values: &'static [&'static str],
    /// The value when it is not given.
    pub default: Option<&'static str>,
    /// Without it the command line is wrong.
    pub required: bool,
    /// What it is.
    pub help: &'static str,
}

/// All words from some point on.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Their name.
    pub name: &'static str,
    /// How the help calls them.
    pub values: &'static [&'static str],
    /// How many there are at least.
    pub least: usize,
    /// Options end at the first of them: what follows belongs to another program.
    pub foreign: bool,
    /// The first of them may look like an option.
    pub dashes: bool,
    /// What they are.
    pub help: &'static str,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its options.
    pub options: &'static [&'static [Opt]],
    /// Its words, the required ones first.
    pub words: &'static [Word],
    /// What comes after them.
    pub rest: Option<Rest>,
}

const fn option(long: &'static str, takes: Takes, value: &'static str, help: &'static str) -> Opt {
    Opt { long, short: None, takes, value, values: &[], default: None, many: false, hidden: false, help }
}

/// An option that is there or not.
pub const fn flag(long: &'static str, help: &'static str) -> Opt {
    option(long, Takes::Nothing, "", help)
}

/// An option with text.
pub const fn text(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    option(long, Takes::Text, value, help)
}

/// An option with a path.
pub const fn path(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    option(long, Takes::Path, value, help)
}

/// An option with a number.
pub const fn number(long: &'static str, help: &'static str) -> Opt {
    option(long, Takes::Number, "N", help)
}

impl Opt {
    /// With a letter.
    pub const fn short(self, letter: char) -> Opt {
        Opt { short: Some(letter), ..self }
    }

    /// May be given several times.
    pub const fn many(self) -> Opt {
        Opt { many: true, ..self }
    }

    /// Not in the help.
    pub const fn hidden(self) -> Opt {
        Opt { hidden: true, ..self }
    }

    /// With a default.
    pub const fn default(self, value: &'static str) -> Opt {
        Opt { default: Some(value), ..self }
    }

    /// With these values only.
    pub const fn one_of(self, values: &'static [&'static str]) -> Opt {
        Opt { values, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long).hide(self.hidden).help(self.help);
        let arg = if let Some(letter) = self.short { arg.short(letter) } else { arg };
        let arg = if self.value.is_empty() { arg } else { arg.value_name(self.value) };
        let arg = match self.takes {
            Takes::Nothing => return arg.action(ArgAction::SetTrue),
            Takes::Text if self.values.is_empty() => arg.allow_hyphen_values(true),
            Takes::Text => arg.value_parser(PossibleValuesParser::new(self.values)),
            Takes::Path => arg.value_parser(value_parser!(std::ffi::OsString)),
            Takes::Number => arg.value_parser(value_parser!(u32)),
        };
        let arg = if let Some(value) = self.default { arg.default_value(value) } else { arg };
        arg.num_args(1).action(if self.many { ArgAction::Append } else { ArgAction::Set })
    }

    /// Whether the option takes `value`.
    pub fn allows(&self, value: &OsStr) -> bool {
        match self.takes {
            Takes::Nothing => false,
            Takes::Path => true,
            Takes::Text => value.to_str().is_some_and(|v| self.values.is_empty() || self.values.contains(&v)),
            Takes::Number => value.to_str().is_some_and(|v| v.parse::<u32>().is_ok()),
        }
    }
}

/// A required word.
pub const fn word(name: &'static str, value: &'static str, help: &'static str) -> Word {
    Word { name, value, values: &[], default: None, required: true, help }
}

impl Word {
    /// Not required.
    pub const fn optional(self) -> Word {
        Word { required: false, ..self }
    }

    /// With a default, and so not required.
    pub const fn default(self, value: &'static str) -> Word {
        Word { default: Some(value), required: false, ..self }
    }

    /// With these values only.
    pub const fn one_of(self, values: &'static [&'static str]) -> Word {
        Word { values, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).value_name(self.value).required(self.required).help(self.help);
        let arg = if let Some(value) = self.default { arg.default_value(value) } else { arg };
        match self.values {
            [] => arg.value_parser(value_parser!(std::ffi::OsString)),
            values => arg.value_parser(PossibleValuesParser::new(values)),
        }
    }
}

impl Rest {
    fn arg(&self) -> Arg {
        Arg::new(self.name)
            .value_names(self.values)
            .num_args(self.least..)
            .required(self.least > 0)
            .trailing_var_arg(self.foreign)
            .allow_hyphen_values(self.dashes)
            .value_parser(value_parser!(std::ffi::OsString))
            .help(self.help)
    }
}

impl Grammar {
    /// All options.
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }

    /// The same for clap.
    pub fn command(&self) -> Command {
        let args = self.words.iter().map(Word::arg).chain(self.rest.iter().map(Rest::arg));
        Command::new(self.name).about(self.about).args(self.options().map(Opt::arg)).args(args)
    }
}
