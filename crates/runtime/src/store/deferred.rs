//! The parts of the state that few commands need.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A part of `state.json` that is read when it is asked for. Most commands want to know where init
/// and the cgroup are, and what they do not want costs them neither time nor stack.
#[derive(Clone, Debug)]
pub enum Deferred<T: 'static> {
    /// As made by this process.
    Known(Box<T>),
    /// As it is in the file.
    Unread(&'static RawValue),
}

impl<T> From<T> for Deferred<T> {
    fn from(value: T) -> Self {
        Deferred::Known(Box::new(value))
    }
}

impl<T: Default> Default for Deferred<T> {
    fn default() -> Self {
        Deferred::from(T::default())
    }
}

impl<T: Clone + Deserialize<'static>> Deferred<T> {
    /// Reads it.
    pub fn read(&self) -> Result<T, serde_json::Error> {
        match self {
            Deferred::Known(value) => Ok(T::clone(value)),
            // As bytes, like all other files: a parser of text would be a second one in the
            // program.
            Deferred::Unread(text) => serde_json::from_slice(text.get().as_bytes()),
        }
    }
}

impl<T: Serialize> Serialize for Deferred<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Deferred::Known(value) => value.serialize(serializer),
            Deferred::Unread(text) => text.serialize(serializer),
        }
    }
}

impl<'de: 'static, T> Deserialize<'de> for Deferred<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'static RawValue>::deserialize(deserializer).map(Deferred::Unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `update` writes the whole state again, with parts that it has not looked at.
    #[test]
    fn what_was_not_read_is_written_as_it_was() {
        let unread: Deferred<Vec<u32>> = serde_json::from_str("[1, 2]").unwrap();
        assert_eq!(unread.read().unwrap(), [1, 2]);
        assert_eq!(serde_json::to_string(&unread).unwrap(), "[1, 2]");
        assert_eq!(serde_json::to_string(&Deferred::from(vec![3])).unwrap(), "[3]");
        let wrong: Deferred<Vec<u32>> = serde_json::from_str("[true]").unwrap();
        assert!(wrong.read().is_err());
    }
}
