//! Mount options: the words of `mounts[].options` (config.md "Mounts", config-linux.md "Mount options").

use rt_sys::mount::{attr, propagation};

/// What the options of one mount come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Attribute bits to set and clear on the mount.
    pub set: u64,
    /// See `set`.
    pub clear: u64,
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

/// What one word does.
#[derive(Clone, Copy)]
enum Word {
    /// Sets these bits and clears those.
    Attribute(u64, u64),
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
    /// Has no effect on a new mount.
    Nothing,
}

const WORDS: &[(&str, Word)] = {
    use Word::{Attribute as A, Below as B, Bind, CopySymlink, CopyUp, Idmap, Nothing, Propagation as P};
    use Word::{SourceNofollow, Superblock as S, TargetNofollow};
    const TIMES: u64 = attr::ATIME;
    &[
        ("async", S),
        ("atime", A(0, TIMES)),
        ("bind", Bind(false)),
        ("copy-symlink", CopySymlink),
        ("defaults", Nothing),
        ("dest-nofollow", TargetNofollow),
        ("dev", A(0, attr::NODEV)),
        ("diratime", A(0, attr::NODIRATIME)),
        ("dirsync", S),
        ("exec", A(0, attr::NOEXEC)),
        ("idmap", Idmap(false)),
        ("iversion", Nothing),
        ("lazytime", S),
        ("loud", Nothing),
        ("mand", S),
        ("noatime", A(attr::NOATIME, TIMES)),
        ("nodev", A(attr::NODEV, 0)),
        ("nodiratime", A(attr::NODIRATIME, 0)),
        ("noexec", A(attr::NOEXEC, 0)),
        ("noiversion", Nothing),
        ("nolazytime", S),
        ("nomand", S),
        ("norelatime", A(0, 0)),
        ("nostrictatime", A(0, TIMES)),
        ("nosuid", A(attr::NOSUID, 0)),
        ("nosymfollow", A(attr::NOSYMFOLLOW, 0)),
        ("private", P(propagation::PRIVATE, false)),
        ("ratime", B(0, TIMES)),
        ("rbind", Bind(true)),
        ("rdev", B(0, attr::NODEV)),
        ("rdiratime", B(0, attr::NODIRATIME)),
        ("relatime", A(attr::RELATIME, TIMES)),
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
        ("silent", Nothing),
        ("slave", P(propagation::SLAVE, false)),
        ("src-nofollow", SourceNofollow),
        ("strictatime", A(attr::STRICTATIME, TIMES)),
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

    fn apply(&mut self, name: &str, word: Word) {
        match word {
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
            Word::Nothing => {}
        }
    }
}

/// One entry may hold several options with commas, as the mount command takes them; a comma in quotes or after a
/// backslash belongs to the value.
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
        assert_eq!((options.set, options.clear), (attr::NOSUID, attr::RDONLY));
        let data: Vec<_> = options.data.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        let expected = [("mode", Some("755")), ("size", Some("64k")), ("context", Some("a,b")), ("newinstance", None)];
        assert_eq!(data, expected);
        assert_eq!((options.propagation, options.propagation_recursive), (propagation::SLAVE, true));
    }

    /// mount_setattr refuses a change of access time that does not clear the old one.
    #[test]
    fn access_time_words_clear_the_mask() {
        for word in ["noatime", "relatime", "strictatime"] {
            assert_eq!(Options::parse([word].into_iter()).clear, attr::ATIME, "{word}");
        }
    }
}
