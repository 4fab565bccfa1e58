//! A JSON object that knows its members: each at most once, and no others. What else it holds is a fault with a
//! pointer, and never stops the reading.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::fault::{Fault, Faults, step};
use crate::domain::Malformed;

const NOT_AN_OBJECT: Malformed = Malformed("must be an object");
const UNKNOWN: Malformed = Malformed("is not a known member");
const TWICE: Malformed = Malformed("must be given only once");

/// An object whose members are the fields of `T`.
#[derive(Debug)]
pub(super) struct Object<T> {
    /// None if it is absent (or `null`), or not an object.
    members: Option<T>,
    /// Their pointers start at this object.
    faults: Vec<Fault>,
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self { members: None, faults: Vec::new() }
    }
}

impl<T> Object<T> {
    pub(super) fn optional(self, pointer: &str, faults: &mut Faults) -> Option<T> {
        faults.all_within(pointer, self.faults);
        self.members
    }

    pub(super) fn required(mut self, pointer: &str, faults: &mut Faults) -> Option<T> {
        if self.members.is_none() && self.faults.is_empty() {
            self.faults.push(Fault::at("", Malformed("must be given, as an object")));
        }
        self.optional(pointer, faults)
    }

    fn another_kind() -> Self {
        Self { members: None, faults: vec![Fault::at("", NOT_AN_OBJECT)] }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        let mut faults = Vec::new();
        let members = T::deserialize(Watched { map, faults: &mut faults })?;
        Ok(Object { members: Some(members), faults })
    }

    /// `null`, or no such member.
    fn visit_none<E: Error>(self) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Object<T>, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Object<T>, E> {
        Ok(Object::another_kind())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Object<T>, E> {
        Ok(Object::another_kind())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Object<T>, E> {
        Ok(Object::another_kind())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Object<T>, E> {
        Ok(Object::another_kind())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Object<T>, E> {
        Ok(Object::another_kind())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Object<T>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::another_kind())
    }
}

/// Stands between a map and the struct that is read from it. The struct's derived `Deserialize` says which fields
/// it has; only those, and each only once, get through to it.
struct Watched<'f, A> {
    map: A,
    faults: &'f mut Vec<Fault>,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Known { map: self.map, faults: self.faults, fields, seen: 0 })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        self.deserialize_struct("", &[], visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Known<'f, A> {
    map: A,
    faults: &'f mut Vec<Fault>,
    fields: &'static [&'static str],
    /// One bit for each of the fields.
    seen: u32,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Known<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key_seed(KeyOf(self.fields))? {
            match key {
                Key::Field(index) if self.seen & (1 << index) == 0 => {
                    self.seen |= 1 << index;
                    return seed.deserialize(self.fields[index].into_deserializer()).map(Some);
                }
                Key::Field(index) => self.faults.push(Fault::at(step(self.fields[index]), TWICE)),
                Key::Unknown(name) => self.faults.push(Fault::at(step(&name), UNKNOWN)),
            }
            self.map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

enum Key {
    Field(usize),
    Unknown(String),
}

struct KeyOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KeyOf {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        match self.0.iter().position(|field| *field == name) {
            Some(index) => Ok(Key::Field(index)),
            None => Ok(Key::Unknown(name.to_owned())),
        }
    }
}
