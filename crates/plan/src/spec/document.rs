//! config.json as a document: parsed at once, and a second time only to explain a failure.

use std::cell::OnceCell;
use std::path::PathBuf;

use serde::Deserialize;

use super::SpecError;

/// The bytes of a JSON file, from which what is parsed borrows.
pub struct Document {
    path: PathBuf,
    bytes: Vec<u8>,
    /// The same without nulls, made when it is needed.
    filled: OnceCell<Option<Vec<u8>>>,
}

impl Document {
    /// The document with these bytes; errors call it `path`.
    pub fn new(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Document {
        Document { path: path.into(), bytes, filled: OnceCell::new() }
    }

    /// Parses the document. Only after a failure is it parsed again: with zero values for nulls,
    /// and then to learn which field it was.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, SpecError> {
        serde_json::from_slice(&self.bytes).or_else(|_| {
            let filled = self.filled.get_or_init(|| super::null::without_nulls(&self.bytes));
            let parsed = filled.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
            parsed.ok_or_else(|| self.explain::<T>())
        })
    }

    fn explain<'a, T: Deserialize<'a>>(&'a self) -> SpecError {
        let mut parser = serde_json::Deserializer::from_slice(&self.bytes);
        let (pointer, message) = match serde_path_to_error::deserialize::<_, T>(&mut parser) {
            Err(e) => {
                let mut pointer = String::new();
                for segment in e.path() {
                    use serde_path_to_error::Segment;
                    match segment {
                        Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                        Segment::Map { key } => {
                            pointer.push('/');
                            pointer.push_str(&super::escape(key));
                        }
                        Segment::Enum { .. } | Segment::Unknown => {}
                    }
                }
                (pointer, e.inner().to_string())
            }
            // The value is right; what follows it is not.
            Ok(_) => (String::new(), "text after the end of the document".to_owned()),
        };
        SpecError::Json {
            path: self.path.clone(),
            pointer: if pointer.is_empty() { "/".to_owned() } else { pointer },
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    /// The person at 3 a.m. must learn which field is wrong, not just which column.
    #[test]
    fn a_wrong_type_is_reported_with_its_pointer() {
        let document = Document::new("config.json", br#"{"process":{"args":["a",5]}}"#.to_vec());
        let error = document.parse::<Spec<'_>>().unwrap_err();
        assert_eq!(error.pointer(), Some("/process/args/1"));
        assert!(error.to_string().starts_with("config.json: /process/args/1: invalid type"), "{error}");
    }

    /// Go writes null for empty lists, and engines are written in Go.
    #[test]
    fn null_is_absent_and_unknown_fields_are_ignored() {
        let document = Document::new("x", br#"{"mounts":null,"process":{"args":null,"x":1},"windows":{}}"#.to_vec());
        let spec: Spec<'_> = document.parse().unwrap();
        assert!(spec.mounts.is_none() && spec.process.unwrap().args.is_none());
    }

    /// `"user": [0]` is not the user 0: a list of a struct's values is no object.
    #[test]
    fn a_list_is_no_object() {
        let pointers = "root mounts/0 mounts/0/uidMappings/0 process process/user process/consoleSize process/capabilities \
            process/rlimits/0 process/scheduler process/ioPriority process/execCPUAffinity hooks hooks/poststop/0 linux \
            linux/uidMappings/0 linux/namespaces/0 linux/devices/0 linux/netDevices/a linux/intelRdt linux/memoryPolicy \
            linux/personality linux/timeOffsets/boottime linux/seccomp linux/seccomp/syscalls/0 \
            linux/seccomp/syscalls/0/args/0 linux/resources linux/resources/devices/0 linux/resources/memory \
            linux/resources/cpu linux/resources/pids linux/resources/blockIO linux/resources/blockIO/weightDevice/0 \
            linux/resources/blockIO/throttleReadBpsDevice/0 linux/resources/hugepageLimits/0 linux/resources/network \
            linux/resources/network/priorities/0 linux/resources/rdma/a";
        for pointer in pointers.split_whitespace() {
            let config = |value: &str| {
                pointer.rsplit('/').fold(value.to_owned(), |inner, name| match name {
                    "0" => format!("[{inner}]"),
                    name => format!("{{\"{name}\":{inner}}}"),
                })
            };
            let parse = |value| Document::new("x", config(value).into_bytes()).parse::<Spec<'_>>().map(drop);
            parse("{}").unwrap_or_else(|e| assert!(e.to_string().contains("missing field"), "{e}"));
            let error = parse("[]").unwrap_err();
            assert_eq!(error.pointer(), Some(&*format!("/{pointer}")), "{error}");
            assert!(error.to_string().contains("sequence"), "{error}");
        }
        assert!(Document::new("x", b"[]".to_vec()).parse::<Spec<'_>>().is_err());
    }
}
