//! The parts of the state that few commands need.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A part of `state.json` that is read when it is asked for. Most commands want to know where init and the cgroup are, and what they
/// do not want costs them neither time nor stack.
#[derive(Clone, Debug)]
pub enum Later<T: 'static> {
    /// As made by this process.
    Known(Box<T>),
    /// As it is in the file.
    Unread(&'static RawValue),
}

impl<T> From<T> for Later<T> {
    fn from(value: T) -> Self {
        Later::Known(Box::new(value))
    }
}

impl<T: Default> Default for Later<T> {
    fn default() -> Self {
        Later::from(T::default())
    }
}

impl<T: Clone + Deserialize<'static>> Later<T> {
    /// Reads it.
    pub fn read(&self) -> Result<T, serde_json::Error> {
        match self {
            Later::Known(value) => Ok(T::clone(value)),
            // As bytes, like all other files: a parser of text would be a second one in the program.
            Later::Unread(text) => serde_json::from_slice(text.get().as_bytes()),
        }
    }
}

impl<T: Serialize> Serialize for Later<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Later::Known(value) => value.serialize(serializer),
            Later::Unread(text) => text.serialize(serializer),
        }
    }
}

impl<'de: 'static, T> Deserialize<'de> for Later<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'static RawValue>::deserialize(deserializer).map(Later::Unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `update` writes the whole state again, with parts that it has not looked at.
    #[test]
    fn what_was_not_read_is_written_as_it_was() {
        let unread: Later<Vec<u32>> = serde_json::from_str("[1, 2]").unwrap();
        assert_eq!(unread.read().unwrap(), [1, 2]);
        assert_eq!(serde_json::to_string(&unread).unwrap(), "[1, 2]");
        assert_eq!(serde_json::to_string(&Later::from(vec![3])).unwrap(), "[3]");
        let wrong: Later<Vec<u32>> = serde_json::from_str("[true]").unwrap();
        assert!(wrong.read().is_err());
    }
}
