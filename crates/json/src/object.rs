//! Structs of a config that are read from objects and from nothing else.

use serde::Deserializer;
use serde::de::Visitor;
use serde::forward_to_deserialize_any;

/// Reads a struct from an object. What serde derives takes a list of the fields' values, too, and
/// `"user": [0]` would be root.
#[derive(Debug)]
pub struct ObjectOnly<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Makes structs with `#[serde(remote = "Self")]` readable from objects only; what stands after
/// `write` can be written, too.
#[macro_export]
macro_rules! objects {
    ($($name:ident $(<$life:lifetime>)?),+ $(,)?; write $($written:ident $(<$written_life:lifetime>)?),* $(,)?) => {
        $(impl<'de $(: $life, $life)?> serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize($crate::ObjectOnly(deserializer))
            }
        })+
        $(impl $(<$written_life>)? serde::Serialize for $written $(<$written_life>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        })*
    };
}
