//! A request's query: each parameter at most once, and no others.

use super::{fault::Faults, field::Field};
use crate::domain::Malformed;

pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// Takes a parameter out.
    pub(super) fn take<T: TryFrom<String, Error = Malformed>>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<T> {
        let mut told = self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value);
        let field: Field<T> = match (told.next(), told.next()) {
            (None, _) => Field::Absent,
            (Some(_), Some(_)) => Field::Faulty(Malformed("must be given only once")),
            (Some(value), None) => T::try_from(value).into(),
        };
        drop(told);
        match field {
            Field::Absent => None,
            Field::Given(value) => Some(value),
            Field::Faulty(fault) => {
                faults.parameter(name, fault);
                None
            }
        }
    }

    /// Whatever was not taken is not known here.
    pub(super) fn nothing_else(self, faults: &mut Faults) {
        for (name, _) in self.0 {
            faults.parameter(name, Malformed("is not a known parameter"));
        }
    }
}
