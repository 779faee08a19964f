//! `null` as Go reads it: the zero value, wherever a value may stand.

use serde_json::{Map, Value};

/// Objects whose keys are names of the config's author: there a null value leaves the key, and for
/// the first ones it is an empty text, for the others an empty object. In all other objects the key
/// is a field, and null is the same as no field.
const TEXTS: [&str; 3] = ["annotations", "sysctl", "unified"];
const OBJECTS: [&str; 3] = ["netDevices", "timeOffsets", "rdma"];

/// Lists of objects; the other lists hold texts or numbers.
const LISTS_OF_OBJECTS: [&str; 20] = [
    "mounts",
    "rlimits",
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
    "namespaces",
    "devices",
    "uidMappings",
    "gidMappings",
    "syscalls",
    "hugepageLimits",
    "priorities",
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
];

/// The document without nulls; None if it has none, or is no JSON.
pub fn without_nulls(document: &[u8]) -> Option<Vec<u8>> {
    if !document.windows(4).any(|window| window == b"null") {
        return None;
    }
    let mut value: Value = serde_json::from_slice(document).ok()?;
    fill("", &mut value);
    serde_json::to_vec(&value).ok()
}

/// Puts zero values in the place of nulls below the value of the field `name`.
fn fill(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if TEXTS.contains(&name) {
                replace(fields, &Value::String(String::new()));
            } else if OBJECTS.contains(&name) {
                replace(fields, &Value::Object(Map::new()));
            } else {
                fields.retain(|_, value| !value.is_null());
            }
            for (name, value) in fields {
                fill(name, value);
            }
        }
        Value::Array(items) => {
            let zero = zero_of(name, items);
            for item in items {
                if item.is_null() {
                    *item = zero.clone();
                }
                fill("", item);
            }
        }
        _ => {}
    }
}

fn replace(fields: &mut Map<String, Value>, zero: &Value) {
    for value in fields.values_mut().filter(|value| value.is_null()) {
        value.clone_from(zero);
    }
}

/// What null stands for in a list: judged by what else is in it, or by its name.
fn zero_of(name: &str, items: &[Value]) -> Value {
    match items.iter().find(|item| !item.is_null()) {
        Some(Value::Object(_)) => Value::Object(Map::new()),
        Some(Value::Number(_)) => 0.into(),
        None if LISTS_OF_OBJECTS.contains(&name) => Value::Object(Map::new()),
        None if name == "additionalGids" => 0.into(),
        _ => Value::String(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Value {
        serde_json::from_slice(&without_nulls(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn null_is_the_zero_value_of_what_may_stand_there() {
        let cases = [
            (r#"{"annotations":{"a":null}}"#, r#"{"annotations":{"a":""}}"#),
            (r#"{"linux":{"sysctl":null,"netDevices":{"e":null}}}"#, r#"{"linux":{"netDevices":{"e":{}}}}"#),
            (r#"{"process":{"args":["a",null],"user":null}}"#, r#"{"process":{"args":["a",""]}}"#),
            (r#"{"mounts":[null],"x":[null,3]}"#, r#"{"mounts":[{}],"x":[0,3]}"#),
            (
                r#"{"linux":{"uidMappings":[{"containerID":null,"size":1}]}}"#,
                r#"{"linux":{"uidMappings":[{"size":1}]}}"#,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(filled(text), serde_json::from_str::<Value>(expected).unwrap(), "{text}");
        }
        assert_eq!(without_nulls(b"{}"), None);
        assert_eq!(without_nulls(b"{null"), None);
    }
}
