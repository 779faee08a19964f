//! Mount options: the words of `mounts[].options` (config.md "Mounts", config-linux.md "Mount
//! options").

use rt_protocol::flags::{attr, propagation};

/// What the options of one mount come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Attribute bits to set and clear on the mount, those of access times excepted.
    set: u64,
    clear: u64,
    /// The words about access times that are in force ([`Time`]).
    times: u8,
    /// A word was given that mount(8) knows as a mount flag. A bind mount then gets exactly the
    /// flags asked for, and none of its source's. Access times stay as they are at the source,
    /// unless a word about them is given.
    pub exact: bool,
    /// The same for the mount and all below it.
    pub below_set: u64,
    /// See `below_set`.
    pub below_clear: u64,
    /// Propagation, and whether it goes to all mounts below.
    pub propagation: u64,
    /// See `propagation`.
    pub propagation_recursive: bool,
    /// A bind mount, and whether it takes the mounts below the source.
    pub bind: Option<bool>,
    /// An id-mapped mount, and whether that goes to all mounts below.
    pub idmap: Option<bool>,
    /// Maps given inline with `idmap=`.
    pub idmap_text: Option<String>,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `copy-symlink`.
    pub copy_symlink: bool,
    /// `src-nofollow`.
    pub source_nofollow: bool,
    /// `dest-nofollow`.
    pub target_nofollow: bool,
    /// What the filesystem itself gets: flags and key=value pairs.
    pub data: Vec<(String, Option<String>)>,
}

/// Bits of access times, as mount(2) has them: each is a word of its own, and together they name
/// one behaviour.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Time {
    None = 1,
    NoneOfDirectories = 2,
    Relative = 4,
    Strict = 8,
}

/// What one word does.
#[derive(Clone, Copy)]
enum Word {
    /// Sets these bits and clears those.
    Attribute(u64, u64),
    /// Sets or clears one of the access times.
    Access(Time, bool),
    /// The same, for all mounts below as well.
    Below(u64, u64),
    Propagation(u64, bool),
    Bind(bool),
    Idmap(bool),
    CopyUp,
    CopySymlink,
    SourceNofollow,
    TargetNofollow,
    /// A superblock flag that fsconfig knows by this name (fs/fs_context.c).
    Superblock,
    /// A mount flag without effect on a new mount.
    Flag,
    /// Has no effect on a new mount.
    Nothing,
}

const WORDS: &[(&str, Word)] = {
    use Word::{Access as T, Attribute as A, Below as B, Bind, CopySymlink, CopyUp, Flag, Idmap, Nothing};
    use Word::{Propagation as P, SourceNofollow, Superblock as S, TargetNofollow};
    const TIMES: u64 = attr::ATIME;
    &[
        ("async", S),
        ("atime", T(Time::None, false)),
        ("bind", Bind(false)),
        ("copy-symlink", CopySymlink),
        ("defaults", Nothing),
        ("dest-nofollow", TargetNofollow),
        ("dev", A(0, attr::NODEV)),
        ("diratime", T(Time::NoneOfDirectories, false)),
        ("dirsync", S),
        ("exec", A(0, attr::NOEXEC)),
        ("idmap", Idmap(false)),
        ("iversion", Flag),
        ("lazytime", S),
        ("loud", Flag),
        ("mand", S),
        ("noatime", T(Time::None, true)),
        ("nodev", A(attr::NODEV, 0)),
        ("nodiratime", T(Time::NoneOfDirectories, true)),
        ("noexec", A(attr::NOEXEC, 0)),
        ("noiversion", Flag),
        ("nolazytime", S),
        ("nomand", S),
        ("norelatime", T(Time::Relative, false)),
        ("nostrictatime", T(Time::Strict, false)),
        ("nosuid", A(attr::NOSUID, 0)),
        ("nosymfollow", A(attr::NOSYMFOLLOW, 0)),
        ("private", P(propagation::PRIVATE, false)),
        ("ratime", B(0, TIMES)),
        ("rbind", Bind(true)),
        ("rdev", B(0, attr::NODEV)),
        ("rdiratime", B(0, attr::NODIRATIME)),
        ("relatime", T(Time::Relative, true)),
        ("remount", Nothing),
        ("rexec", B(0, attr::NOEXEC)),
        ("ridmap", Idmap(true)),
        ("rnoatime", B(attr::NOATIME, TIMES)),
        ("rnodev", B(attr::NODEV, 0)),
        ("rnodiratime", B(attr::NODIRATIME, 0)),
        ("rnoexec", B(attr::NOEXEC, 0)),
        ("rnorelatime", B(0, TIMES)),
        ("rnostrictatime", B(0, TIMES)),
        ("rnosuid", B(attr::NOSUID, 0)),
        ("rnosymfollow", B(attr::NOSYMFOLLOW, 0)),
        ("ro", A(attr::RDONLY, 0)),
        ("rprivate", P(propagation::PRIVATE, true)),
        ("rrelatime", B(attr::RELATIME, TIMES)),
        ("rro", B(attr::RDONLY, 0)),
        ("rrw", B(0, attr::RDONLY)),
        ("rshared", P(propagation::SHARED, true)),
        ("rslave", P(propagation::SLAVE, true)),
        ("rstrictatime", B(attr::STRICTATIME, TIMES)),
        ("rsuid", B(0, attr::NOSUID)),
        ("rsymfollow", B(0, attr::NOSYMFOLLOW)),
        ("runbindable", P(propagation::UNBINDABLE, true)),
        ("rw", A(0, attr::RDONLY)),
        ("shared", P(propagation::SHARED, false)),
        ("silent", Flag),
        ("slave", P(propagation::SLAVE, false)),
        ("src-nofollow", SourceNofollow),
        ("strictatime", T(Time::Strict, true)),
        ("suid", A(0, attr::NOSUID)),
        ("symfollow", A(0, attr::NOSYMFOLLOW)),
        ("sync", S),
        ("tmpcopyup", CopyUp),
        ("unbindable", P(propagation::UNBINDABLE, false)),
    ]
};

/// All words known, sorted; for `rt features`.
pub fn known() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}

impl Options {
    /// Reads the words in order; of two that contradict each other the later counts.
    pub fn parse<'t>(words: impl Iterator<Item = &'t str>) -> Options {
        let mut options = Options::default();
        for word in words {
            match WORDS.binary_search_by_key(&word, |(name, _)| name) {
                Ok(at) => options.apply(word, WORDS[at].1),
                Err(_) if word.starts_with("idmap=") || word.starts_with("ridmap=") => {
                    let (name, maps) = word.split_once('=').unwrap_or_default();
                    options.idmap = Some(name == "ridmap");
                    options.idmap_text = Some(maps.to_owned());
                }
                Err(_) => split_data(word, &mut options.data),
            }
        }
        options
    }

    /// Attribute bits to set on the mount.
    pub fn attributes(&self) -> u64 {
        let has = |time: Time| self.times & time as u8 != 0;
        // The kernel's order of precedence (path_mount in fs/namespace.c).
        let access = match () {
            () if has(Time::Strict) => attr::STRICTATIME,
            () if has(Time::None) => attr::NOATIME,
            () => attr::RELATIME,
        };
        self.set | access | if has(Time::NoneOfDirectories) { attr::NODIRATIME } else { 0 }
    }

    /// Attribute bits to clear on the mount.
    pub fn cleared(&self) -> u64 {
        if self.times == 0 {
            return self.clear;
        }
        // An access time can only be changed together with all the others.
        self.clear | attr::ATIME | (attr::NODIRATIME & !self.attributes())
    }

    fn apply(&mut self, name: &str, word: Word) {
        self.exact |= matches!(word, Word::Attribute(..) | Word::Access(..) | Word::Superblock | Word::Flag);
        match word {
            Word::Access(time, true) => self.times |= time as u8,
            Word::Access(time, false) => self.times &= !(time as u8),
            Word::Attribute(set, clear) => {
                self.set = (self.set & !clear) | set;
                self.clear = (self.clear & !set) | clear;
            }
            Word::Below(set, clear) => {
                self.below_set = (self.below_set & !clear) | set;
                self.below_clear = (self.below_clear & !set) | clear;
            }
            Word::Propagation(value, recursive) => {
                self.propagation = value;
                self.propagation_recursive = recursive;
            }
            Word::Bind(recursive) => self.bind = Some(recursive),
            Word::Idmap(recursive) => self.idmap = Some(recursive),
            Word::CopyUp => self.copy_up = true,
            Word::CopySymlink => self.copy_symlink = true,
            Word::SourceNofollow => self.source_nofollow = true,
            Word::TargetNofollow => self.target_nofollow = true,
            Word::Superblock => self.data.push((name.to_owned(), None)),
            Word::Flag | Word::Nothing => {}
        }
    }
}

/// One entry may hold several options with commas, as the mount command takes them; a comma in
/// quotes or after a backslash belongs to the value.
fn split_data(entry: &str, data: &mut Vec<(String, Option<String>)>) {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    let mut push = |part: &str| {
        if part.is_empty() {
            return;
        }
        data.push(match part.split_once('=') {
            Some((key, value)) => {
                let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                (key.to_owned(), Some(bare.to_owned()))
            }
            None => (part.to_owned(), None),
        });
    };
    for (i, c) in entry.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                push(&entry[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    push(&entry[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is searched by halves.
    #[test]
    fn the_words_are_sorted_and_unique() {
        assert!(WORDS.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn later_words_win_and_data_is_split() {
        let words = ["ro", "rw", "nosuid", "mode=755,size=64k", "context=\"a,b\"", "newinstance", "rslave"];
        let options = Options::parse(words.into_iter());
        assert_eq!((options.attributes(), options.cleared()), (attr::NOSUID, attr::RDONLY));
        let data: Vec<_> = options.data.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        let expected = [("mode", Some("755")), ("size", Some("64k")), ("context", Some("a,b")), ("newinstance", None)];
        assert_eq!(data, expected);
        assert_eq!((options.propagation, options.propagation_recursive), (propagation::SLAVE, true));
    }

    /// mount_setattr refuses a change of access time that does not clear the old one.
    #[test]
    fn access_time_words_clear_the_mask() {
        for word in ["noatime", "relatime", "strictatime", "nodiratime"] {
            assert_eq!(Options::parse([word].into_iter()).cleared() & attr::ATIME, attr::ATIME, "{word}");
        }
        // A word that only takes another back leaves the source's.
        for words in [&["atime"][..], &["noatime", "atime"], &["norelatime", "diratime"]] {
            let options = Options::parse(words.iter().copied());
            assert_eq!((options.attributes(), options.cleared()), (0, 0), "{words:?}");
        }
    }

    /// What mount(8) takes for a flag makes the flags of a bind mount exact; propagation, data and
    /// what is below do not.
    #[test]
    fn flags_make_a_bind_mount_exact() {
        for (words, exact) in [
            (&["rbind", "rprivate"][..], false),
            (&["bind", "rro", "mode=755", "defaults", "remount"], false),
            (&["bind", "rw"], true),
            (&["bind", "sync"], true),
            (&["bind", "noiversion"], true),
            (&["bind", "atime"], true),
        ] {
            assert_eq!(Options::parse(words.iter().copied()).exact, exact, "{words:?}");
        }
    }
}
