//! From values to columns, and from rows to values: the database is a door like any other, and what comes in is parsed.

use crate::domain::{FeedbackState, Malformed};

/// One column of what a statement is told.
pub(super) fn column<'a, I, T, C>(rows: I, pick: impl Fn(T) -> C) -> Vec<C>
where
    I: IntoIterator<Item = T> + 'a,
{
    rows.into_iter().map(pick).collect()
}

/// A word of the domain, as it was stored.
pub(super) fn parsed<T: TryFrom<String, Error = Malformed>>(text: String) -> Result<T, sqlx::Error> {
    T::try_from(text).map_err(|fault| sqlx::Error::Decode(Box::new(fault)))
}

pub(super) fn parsed_if_any<T: TryFrom<String, Error = Malformed>>(
    text: Option<String>,
) -> Result<Option<T>, sqlx::Error> {
    text.map(parsed).transpose()
}

/// A count, which is never negative.
pub(super) fn count(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or_default()
}

pub(super) fn small(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// A word that this binary does not know (a newer one wrote it) counts as pending: nothing is concluded from it.
pub(super) fn feedback_state(word: &str) -> FeedbackState {
    match word {
        "none" => FeedbackState::None,
        "confirmed" => FeedbackState::Confirmed,
        "dead" => FeedbackState::Dead,
        _ => FeedbackState::Pending,
    }
}
