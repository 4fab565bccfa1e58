//! One member of a JSON object: not given, given, or given as something else. Reading it never fails, so that
//! all that is wrong with a body is found in one go.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::fault::Faults;
use crate::domain::Malformed;

/// `null` is the same as not given: many clients write it for what they leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Given(T),
    Faulty(Malformed),
}

impl<T> Field<T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn optional(self, pointer: &str, faults: &mut Faults) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Given(value) => Some(value),
            Self::Faulty(Malformed(detail)) => {
                faults.at(pointer, detail);
                None
            }
        }
    }

    pub(super) fn required(self, pointer: &str, faults: &mut Faults) -> Option<T> {
        if self.is_absent() {
            faults.at(pointer, "must be given");
        }
        self.optional(pointer, faults)
    }
}

impl<T> From<Result<T, Malformed>> for Field<T> {
    fn from(parsed: Result<T, Malformed>) -> Self {
        parsed.map_or_else(Self::Faulty, Self::Given)
    }
}

/// A JSON value that stands for itself.
pub(super) enum Scalar {
    Text(String),
    Whole(u64),
    Flag(bool),
    /// An object, an array, or a number that is negative or not whole.
    Other,
}

/// What can be a member of a request.
pub(super) trait Member: Sized {
    fn parse(scalar: Scalar) -> Result<Self, Malformed>;
}

impl<T: TryFrom<String, Error = Malformed>> Member for T {
    fn parse(scalar: Scalar) -> Result<Self, Malformed> {
        match scalar {
            Scalar::Text(text) => text.try_into(),
            Scalar::Whole(_) | Scalar::Flag(_) | Scalar::Other => Err(Malformed("must be a string")),
        }
    }
}

impl<'de, T: Member> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Member> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// `null`, or no such member.
    fn visit_none<E: Error>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Field<T>, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<T>, E> {
        Ok(T::parse(Scalar::Text(text.to_owned())).into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<T>, E> {
        Ok(T::parse(Scalar::Whole(number)).into())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field<T>, E> {
        Ok(T::parse(Scalar::Other).into())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field<T>, E> {
        Ok(T::parse(Scalar::Other).into())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Field<T>, E> {
        Ok(T::parse(Scalar::Flag(flag)).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<T>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::parse(Scalar::Other).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<T>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(T::parse(Scalar::Other).into())
    }
}
