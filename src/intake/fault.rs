//! What is wrong with a request, and where: the lines of a problem's `errors`.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::domain::Malformed;

/// More than these are not told: whoever makes a hundred faults is not reading them one by one.
const MOST_FAULTS: usize = 100;

/// One fault, and the place of it: a `pointer`, a `header` or a `parameter`.
///
/// Holds no part of the faulty value, so that it may be shown and logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Fault {
    /// Where in the body, as a JSON pointer (RFC 6901). Empty means the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("/message_sid"))]
    pointer: Option<String>,
    /// The name of the faulty header.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    /// The name of the faulty query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// The end of the sentence "this value …"; never the value itself.
    #[schema(examples("must be SM or MM, then 32 hex digits"))]
    detail: &'static str,
}

impl Fault {
    pub(super) fn at(pointer: impl Into<String>, Malformed(detail): Malformed) -> Self {
        Self { pointer: Some(pointer.into()), header: None, parameter: None, detail }
    }

    /// The place as a path without its first slash, and what is wrong there. A body has nothing but pointers.
    pub(super) fn field_and_detail(self) -> (String, &'static str) {
        (self.pointer.unwrap_or_default().trim_start_matches('/').to_owned(), self.detail)
    }

    fn within(self, pointer: &str) -> Self {
        Self { pointer: self.pointer.map(|inner| format!("{pointer}{inner}")), ..self }
    }
}

/// Gathers what is wrong, so that a caller learns all of it at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn at(&mut self, pointer: impl Into<String>, detail: &'static str) {
        self.push(Fault::at(pointer, Malformed(detail)));
    }

    pub(super) fn header(&mut self, name: &'static str, Malformed(detail): Malformed) {
        self.push(Fault { pointer: None, header: Some(name), parameter: None, detail });
    }

    pub(super) fn parameter(&mut self, name: impl Into<String>, Malformed(detail): Malformed) {
        self.push(Fault { pointer: None, header: None, parameter: Some(name.into()), detail });
    }

    /// Takes over the faults of a nested object, whose pointers start at itself.
    pub(super) fn all_within(&mut self, pointer: &str, faults: Vec<Fault>) {
        faults.into_iter().for_each(|fault| self.push(fault.within(pointer)));
    }

    /// What was parsed, if nothing was wrong with it.
    pub(super) fn or<T>(self, parsed: Option<T>) -> Result<T, Problem> {
        match parsed {
            Some(parsed) if self.0.is_empty() => Ok(parsed),
            _ => Err(Problem::Invalid(self.0)),
        }
    }

    fn push(&mut self, fault: Fault) {
        if self.0.len() < MOST_FAULTS {
            self.0.push(fault);
        }
    }
}

/// A member's name as a step of a JSON pointer: RFC 6901, section 3.
pub(super) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_what_would_split_it() {
        assert_eq!(step("a/b~c"), "/a~1b~0c");
        assert_eq!(step(""), "/");
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let mut faults = Faults::default();
        (0..1000).for_each(|_| faults.at("/x", "must not be"));
        assert!(matches!(faults.or(Some(())), Err(Problem::Invalid(told)) if told.len() == MOST_FAULTS));
    }
}
