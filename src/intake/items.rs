//! The items of a batch, each as it stands: one that cannot be read takes no other with it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::field::Field;
use crate::domain::Malformed;

/// The most events of a batch.
const MOST: usize = 1000;

/// Invariant: 1 to 1,000 of them.
#[derive(Debug)]
pub(super) struct Items(pub(super) Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Field<Items> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(ItemsVisitor)
    }
}

struct ItemsVisitor;

const NOT_AN_ARRAY: Malformed = Malformed("must be an array of events");

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Field<Items>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<Items>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST {
            match items.next_element::<Box<RawValue>>()? {
                Some(item) => kept.push(item),
                None if kept.is_empty() => return Ok(Field::Faulty(Malformed("must hold an event"))),
                None => return Ok(Field::Given(Items(kept))),
            }
        }
        let mut more = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        match more {
            0 => Ok(Field::Given(Items(kept))),
            _ => Ok(Field::Faulty(Malformed("must hold at most 1000 events"))),
        }
    }

    /// `null`, or no such member.
    fn visit_none<E: Error>(self) -> Result<Field<Items>, E> {
        Ok(Field::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Field<Items>, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Field<Items>, E> {
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field<Items>, E> {
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field<Items>, E> {
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field<Items>, E> {
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<Items>, E> {
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<Items>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Faulty(NOT_AN_ARRAY))
    }
}
